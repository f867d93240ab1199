//! Which events are of one key.

use super::*;
use crate::definition::tests::define;

fn definition() -> Definition {
    let hosts = "hosts = [\"a.example.com\"]";
    define(hosts, r#"{"url": "https://a.example.com/"}"#).unwrap()
}

fn keys(expression: Option<&str>, events: &[&str]) -> Vec<Option<NonZeroU64>> {
    let definition = definition();
    let mut key = OrderKey::new(&definition, expression).unwrap();
    events
        .iter()
        .map(|event| key.of(event.as_bytes()))
        .collect()
}

#[test]
fn the_user_else_the_anonymous_id() {
    let keys = keys(
        None,
        &[
            r#"{"userId":"u","anonymousId":"a"}"#,
            r#"{"anonymousId":"b","userId":"u"}"#,
            r#"{"userId":"","anonymousId":"a"}"#,
            r#"{"userId":null,"anonymousId":"a","properties":{"userId":"u"}}"#,
            r#"{"type":"track"}"#,
            "no json",
        ],
    );
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[2], keys[3]);
    assert_ne!(keys[0], keys[2]);
    assert_eq!((keys[4], keys[5]), (None, None));
}

#[test]
fn or_what_an_expression_says() {
    let event = |account: &str| format!(r#"{{"userId":"u","properties":{{"account":{account}}}}}"#);
    let events = [
        event("1"),
        event("2"),
        event("1"),
        event("null"),
        event(r#""""#),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let keys = keys(Some(".properties.account"), &events);
    assert_eq!(keys[0], keys[2]);
    assert_ne!(keys[0], keys[1]);
    assert_eq!((keys[3], keys[4]), (None, None));
}

#[test]
fn an_expression_that_does_not_compile_is_named() {
    let definition = definition();
    let error = OrderKey::new(&definition, Some(".a +")).err().unwrap();
    assert!(error.to_string().contains("ordering_key"), "{error}");
}
