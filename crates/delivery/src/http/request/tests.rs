//! Requests as they go onto the wire, and those that are refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::{BadRequest, Prepared, prepare};

fn get(url: &str) -> Result<Prepared, BadRequest> {
    prepare("POST", url.to_owned(), Vec::new(), Bytes::new())
}

fn with_header(name: &str, value: &str) -> Result<Prepared, BadRequest> {
    let headers = vec![(name.to_owned(), value.to_owned())];
    prepare(
        "POST",
        "https://example.com/a?b=c".to_owned(),
        headers,
        Bytes::new(),
    )
}

#[test]
fn a_plain_request_goes_in_origin_form() {
    let prepared = with_header("X-Key", "v").unwrap();
    assert_eq!(prepared.request.uri(), "/a?b=c");
    assert_eq!(prepared.request.headers()["host"], "example.com");
    assert_eq!(prepared.request.headers()["x-key"], "v");
    assert!(prepared.place.tls);
    assert_eq!(prepared.place.port(), 443);
    assert_eq!(get("http://example.com:8080").unwrap().place.port(), 8080);
}

#[test]
fn what_is_no_plain_request_is_refused() {
    assert!(matches!(get("ftp://example.com/"), Err(BadRequest::Scheme)));
    assert!(matches!(
        get("https://a:b@example.com/"),
        Err(BadRequest::UserInfo)
    ));
    assert!(matches!(
        get("https://a@example.com/"),
        Err(BadRequest::UserInfo)
    ));
    assert!(get("/path").is_err());
    assert!(get("https://").is_err());
    assert!(get("").is_err());
    let connect = prepare(
        "CONNECT",
        "https://a.b/".to_owned(),
        Vec::new(),
        Bytes::new(),
    );
    assert!(matches!(connect, Err(BadRequest::Method)));
    for own in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "expect",
        "te",
    ] {
        assert!(
            matches!(with_header(own, "1"), Err(BadRequest::OwnHeader(_))),
            "{own}"
        );
    }
    assert!(matches!(
        with_header("x", "a\r\nb: c"),
        Err(BadRequest::Header(_))
    ));
    assert!(matches!(
        with_header("x\r\nb", "c"),
        Err(BadRequest::Header(_))
    ));
}

#[test]
fn hosts_come_out_canonical() {
    let host = |url: &str| get(url).unwrap().place.host().unwrap().to_string();
    assert_eq!(host("https://0x7f.1/"), "127.0.0.1");
    assert_eq!(host("https://2130706433/"), "127.0.0.1");
    assert_eq!(host("https://bücher.example/"), "xn--bcher-kva.example");
    assert_eq!(host("https://EXAMPLE.com/"), "example.com");
}

proptest! {
    /// No text in a header's value or in a path adds a header, a host or a line.
    #[test]
    fn values_cannot_escape_their_place(value in "\\PC*|(.|\r|\n|\0)*", path in "\\PC*") {
        if let Ok(prepared) = with_header("x-data", &value) {
            prop_assert_eq!(prepared.request.headers().len(), 4);
            prop_assert!(!value.contains(['\r', '\n', '\0']));
        }
        if let Ok(prepared) = get(&format!("https://example.com/{path}")) {
            prop_assert_eq!(prepared.place.authority.host(), "example.com");
        }
    }
}
