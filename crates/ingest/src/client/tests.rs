//! Headers as clients and proxies write them.

use super::*;

fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, http::HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn write_keys_as_clients_send_them() {
    let of = |value| header_key(&headers("authorization", &[value]));
    let key = Some("key".to_owned());
    assert_eq!(of("Basic a2V5Og=="), key, "key:");
    assert_eq!(of("Basic a2V5"), key, "no colon");
    assert_eq!(of("basic a2V5Og"), key, "no padding");
    assert_eq!(of("Basic a2V5OnBhc3M="), key, "key:pass");
    assert_eq!(of("Bearer key"), key);
    assert_eq!(of("Basic Og=="), None, "only a colon");
    assert_eq!(of("Basic !!"), None);
    assert_eq!(of("Digest a2V5Og=="), None);
    assert_eq!(of("Basic"), None);
    assert_eq!(header_key(&HeaderMap::new()), None);
}

#[test]
fn only_trusted_entries_of_x_forwarded_for_count() {
    let peer: SocketAddr = "10.0.0.1:5".parse().unwrap();
    let ip = |values: &[&'static str], trusted| {
        client_ip(peer, &headers("x-forwarded-for", values), trusted).to_string()
    };
    let forged = &["6.6.6.6, 203.0.113.7"][..];
    assert_eq!(ip(forged, 0), "10.0.0.1");
    assert_eq!(ip(forged, 1), "203.0.113.7");
    assert_eq!(ip(&["6.6.6.6, 203.0.113.7", "10.0.0.9"], 2), "203.0.113.7");
    assert_eq!(ip(&["203.0.113.7:4711"], 1), "203.0.113.7");
    assert_eq!(ip(&["::ffff:203.0.113.7"], 1), "203.0.113.7");
    assert_eq!(ip(&["[2001:db8::1]:80"], 1), "2001:db8::1");
    assert_eq!(ip(&["garbage"], 1), "10.0.0.1");
    assert_eq!(ip(&[], 1), "10.0.0.1");
    assert_eq!(ip(&["203.0.113.7"], 2), "10.0.0.1");
}
