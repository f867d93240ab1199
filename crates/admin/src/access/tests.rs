//! Who may ask, and who may not.

use super::*;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TOKEN: &str = "0123456789abcdef";

fn guard(token: Option<&str>) -> Guard {
    let token = token.map(Secret::new);
    Guard::new(token.as_ref(), SocketAddr::new(LOCAL, 0)).unwrap()
}

fn ask(guard: &Guard, peer: IpAddr, method: Method, headers: &[(&str, &str)]) -> &'static str {
    let headers: HeaderMap = headers
        .iter()
        .map(|(k, v)| (k.parse::<header::HeaderName>().unwrap(), v.parse().unwrap()))
        .collect();
    match guard.check(Access::Guarded, peer, &method, &headers) {
        Ok(()) => "ok",
        Err(refusal) => refusal.code,
    }
}

#[test]
fn a_network_address_needs_a_token() {
    for address in ["0.0.0.0:9080", "[::]:9080", "10.1.2.3:9080"] {
        let address: SocketAddr = address.parse().unwrap();
        let error = Guard::new(None, address)
            .err()
            .expect("is refused")
            .to_string();
        assert!(
            error.contains("admin_token") && error.contains("127.0.0.1"),
            "{error}"
        );
        assert!(Guard::new(Some(&Secret::new(TOKEN)), address).is_ok());
    }
    for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        assert!(Guard::new(None, address.parse().unwrap()).is_ok());
    }
    assert!(Guard::new(Some(&Secret::new("short")), "127.0.0.1:0".parse().unwrap()).is_err());
}

#[test]
fn the_token_decides_where_there_is_one() {
    let guard = guard(Some(TOKEN));
    let far: IpAddr = "203.0.113.9".parse().unwrap();
    let bearer = format!("Bearer {TOKEN}");
    for (header, want) in [
        (None, "token_missing"),
        (Some("Basic MDEyMzQ1Njc4OWFiY2RlZjo="), "token_missing"),
        (Some("Bearer"), "token_missing"),
        (Some("Bearer "), "token_wrong"),
        (Some("Bearer 0123456789abcdeF"), "token_wrong"),
        (Some("Bearer 0123456789abcdef "), "token_wrong"),
        (Some("bearer 0123456789abcdef"), "ok"),
        (Some(bearer.as_str()), "ok"),
    ] {
        let headers: Vec<_> = header
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        assert_eq!(ask(&guard, far, Method::GET, &headers), want, "{header:?}");
    }
}

#[test]
fn without_a_token_only_this_machine_under_its_own_name() {
    let guard = guard(None);
    for (host, want) in [
        ("localhost:9080", "ok"),
        ("LOCALHOST", "ok"),
        ("127.0.0.1:9080", "ok"),
        ("127.1", "ok"),
        ("[::1]:9080", "ok"),
        ("evil.example", "wrong_host"),
        ("localhost.evil.example", "wrong_host"),
        ("localhost@evil.example", "wrong_host"),
        ("evil.example/localhost", "wrong_host"),
        ("10.0.0.1", "wrong_host"),
        ("", "wrong_host"),
    ] {
        assert_eq!(
            ask(&guard, LOCAL, Method::GET, &[("host", host)]),
            want,
            "{host}"
        );
    }
    let far: IpAddr = "10.0.0.7".parse().unwrap();
    assert_eq!(
        ask(&guard, far, Method::GET, &[("host", "localhost")]),
        "not_local"
    );
}

#[test]
fn another_site_may_not_write() {
    let guard = guard(None);
    let host = ("host", "localhost:9080");
    for (headers, want) in [
        (vec![host], "ok"),
        (vec![host, ("sec-fetch-site", "same-origin")], "ok"),
        (vec![host, ("sec-fetch-site", "none")], "ok"),
        (vec![host, ("sec-fetch-site", "same-site")], "cross_site"),
        (vec![host, ("sec-fetch-site", "cross-site")], "cross_site"),
        (vec![host, ("origin", "http://localhost:9080")], "ok"),
        (
            vec![host, ("origin", "http://localhost:3000")],
            "cross_site",
        ),
        (vec![host, ("origin", "null")], "cross_site"),
        (vec![host, ("origin", "https://evil.example")], "cross_site"),
    ] {
        assert_eq!(
            ask(&guard, LOCAL, Method::POST, &headers),
            want,
            "{headers:?}"
        );
        assert_eq!(
            ask(&guard, LOCAL, Method::GET, &headers),
            "ok",
            "{headers:?}"
        );
    }
}
