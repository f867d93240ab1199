//! Finding an event's id without building a tree.

use proptest::prelude::*;

use super::message_id;

#[test]
fn only_the_events_own_member_counts() {
    for (event, expected) in [
        (r#"{"messageId":"m1"}"#, Some("m1")),
        (r#"{"type":"track","messageId" : "m1","x":1}"#, Some("m1")),
        (
            r#"{"properties":{"messageId":"inner"},"messageId":"outer"}"#,
            Some("outer"),
        ),
        (
            r#"{"list":[{"messageId":"inner"}],"messageId":"outer"}"#,
            Some("outer"),
        ),
        (r#"{"name":"messageId","messageId":"m"}"#, Some("m")),
        (
            r#"{"a":"\"messageId\":\"no\"","messageId":"yes"}"#,
            Some("yes"),
        ),
        (r#"{"messageId":"a\"b\u00e9"}"#, Some("a\"bé")),
        (r#"{"messageId":7}"#, None),
        (r#"{"messageId":"#, None),
        (r#"{"messageId":"open"#, None),
        ("{}", None),
        ("", None),
    ] {
        assert_eq!(message_id(event.as_bytes()).as_deref(), expected, "{event}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = message_id(&bytes);
    }

    #[test]
    fn it_says_what_a_parser_says(id in "\\PC{0,20}", before in "\\PC{0,20}") {
        let event = serde_json::json!({"a": before, "b": {"messageId": "x"}, "messageId": id});
        let text = event.to_string();
        let found = message_id(text.as_bytes());
        prop_assert_eq!(found.as_deref(), event["messageId"].as_str());
    }
}
