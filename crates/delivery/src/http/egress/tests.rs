//! Which addresses may be dialled, range by range.

use std::net::{IpAddr, SocketAddr};

use super::{EgressPolicy, Refusal};

fn judge(policy: &EgressPolicy, address: &str) -> Result<(), Refusal> {
    policy.judge(
        SocketAddr::new(address.parse::<IpAddr>().unwrap(), 443),
        true,
    )
}

#[test]
fn only_global_addresses_pass() {
    let policy = EgressPolicy::default();
    for denied in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.254",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2600:1f18::5efe:7f00:1",
        "2600:1f18::200:5efe:a00:1",
        "4000::1",
        "e000::1",
    ] {
        assert!(
            judge(&policy, denied).is_err(),
            "{denied} must not be dialled"
        );
    }
    for allowed in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
    ] {
        assert_eq!(judge(&policy, allowed), Ok(()), "{allowed}");
    }
}

#[test]
fn an_allowed_range_opens_that_range_alone() {
    let policy = EgressPolicy {
        allow: vec!["10.1.0.0/16".parse().unwrap()],
        ..Default::default()
    };
    assert_eq!(judge(&policy, "10.1.2.3"), Ok(()));
    assert_eq!(judge(&policy, "::ffff:10.1.2.3"), Ok(()));
    assert!(judge(&policy, "10.2.0.1").is_err());
    assert!(judge(&policy, "127.0.0.1").is_err());
}

#[test]
fn metadata_needs_a_second_flag() {
    let allow = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    let policy = EgressPolicy {
        allow,
        ..Default::default()
    };
    assert_eq!(judge(&policy, "127.0.0.1"), Ok(()));
    for address in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "168.63.129.16",
    ] {
        assert!(
            matches!(judge(&policy, address), Err(Refusal::Metadata(_))),
            "{address}"
        );
        let both = EgressPolicy {
            allow_metadata: true,
            ..policy.clone()
        };
        assert_eq!(judge(&both, address), Ok(()), "{address}");
    }
}

#[test]
fn ports_below_1024_are_for_the_web_alone() {
    let policy = EgressPolicy {
        allow_http: true,
        ..Default::default()
    };
    let at = |port| policy.judge(SocketAddr::new("8.8.8.8".parse().unwrap(), port), true);
    for port in [80, 443, 1024, 8080, 8443, 65_535] {
        assert_eq!(at(port), Ok(()));
    }
    for port in [0, 1, 22, 25, 53, 81, 442, 1023] {
        assert_eq!(at(port), Err(Refusal::Port(port)));
    }
}

#[test]
fn plain_http_is_for_allowed_ranges_unless_opted_in() {
    let plain = |policy: &EgressPolicy, ip: &str| {
        policy.judge(SocketAddr::new(ip.parse().unwrap(), 80), false)
    };
    let strict = EgressPolicy {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        ..Default::default()
    };
    assert!(matches!(
        plain(&strict, "8.8.8.8"),
        Err(Refusal::PlainHttp(_))
    ));
    assert_eq!(plain(&strict, "10.0.0.1"), Ok(()));
    let open = EgressPolicy {
        allow_http: true,
        ..Default::default()
    };
    assert_eq!(plain(&open, "8.8.8.8"), Ok(()));
    assert!(plain(&open, "10.0.0.1").is_err());
}

#[test]
fn a_denied_range_wins_over_an_allowed_one() {
    let policy = EgressPolicy {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        deny: vec![
            "10.9.0.0/16".parse().unwrap(),
            "8.8.8.0/24".parse().unwrap(),
        ],
        ..Default::default()
    };
    assert!(matches!(
        judge(&policy, "10.9.0.1"),
        Err(Refusal::Denied(_))
    ));
    assert!(matches!(judge(&policy, "8.8.8.8"), Err(Refusal::Denied(_))));
    assert_eq!(judge(&policy, "10.8.0.1"), Ok(()));
}
