//! Shapes of bodies.

use super::*;

const BATCH: BodyKind = BodyKind::Batch;

#[test]
fn a_batch_may_say_its_envelope_after_its_events() {
    let text = r#"{"batch":[{"type":"track"}, 7 ,{}],"writeKey":"k\u0031","sentAt":"s",
                   "context":{"a":1},"\u0069ntegrations":{"All":false}}"#;
    let shape = Shape::parse(text, BATCH, 1_000, 10).unwrap();
    assert_eq!(shape.events_count, 3);
    let events: Vec<_> = shape
        .events
        .iter()
        .map(|event| event.span.of(text))
        .collect();
    assert_eq!(events, [r#"{"type":"track"}"#, "7", "{}"]);
    assert!(shape.members(&shape.events[1]).is_none());
    assert_eq!(shape.members(&shape.events[2]), Some(&[][..]));
    assert_eq!(shape.write_key(text).as_deref(), Some("k1"));
    assert_eq!(shape.sent_at(text), Some(r#""s""#));
    assert_eq!(shape.context(text), Some(r#"{"a":1}"#));
    assert_eq!(shape.integrations(text), Some(r#"{"All":false}"#));
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let text = r#"{"writeKey":"a","batch":[{"x":1},{"x":2}],"batch":[{"x":3}],"writeKey":"b"}"#;
    let shape = Shape::parse(text, BATCH, 1_000, 10).unwrap();
    assert_eq!(shape.events_count, 1);
    assert_eq!(shape.events[0].span.of(text), r#"{"x":3}"#);
    assert_eq!(shape.members(&shape.events[0]).unwrap().len(), 1);
    assert_eq!(shape.write_key(text).as_deref(), Some("b"));
}

#[test]
fn events_beyond_the_limit_are_counted_and_checked_not_kept() {
    let shape = Shape::parse(r#"{"batch":[{},{},{}]}"#, BATCH, 1_000, 2).unwrap();
    assert_eq!((shape.events.len(), shape.events_count), (2, 3));
    assert!(Shape::parse(r#"{"batch":[{},{},{]]}"#, BATCH, 1_000, 2).is_err());
}

#[test]
fn what_is_no_batch_is_said_so() {
    let why = |text| Shape::parse(text, BATCH, 3, 10).unwrap_err().to_string();
    assert_eq!(why("{}"), "the body has no array \"batch\"");
    assert_eq!(why(r#"{"batch":{}}"#), "the body has no array \"batch\"");
    let prefix = "the body is not the JSON that is expected: ";
    assert_eq!(
        why("[]"),
        format!("{prefix}a JSON object is expected here at byte 0")
    );
    assert_eq!(
        why(""),
        format!("{prefix}the text ends too early at byte 0")
    );
    assert_eq!(
        why(r#"{"batch":[]} x"#),
        format!("{prefix}unexpected 'x' at byte 13")
    );
    assert_eq!(
        why(r#"{"a":1,"b":1,"c":1,"batch":[]}"#),
        format!("{prefix}an object with more than 3 keys at byte 19")
    );
}

#[test]
fn half_an_emoji_is_mended_in_place() {
    let text = r#"{"event":"a\ud83d","userId":"u","x":"\ud83d\ude00"}"#;
    let kind = BodyKind::Event(EventType::Track);
    let shape = Shape::parse(text, kind, 1_000, 1).unwrap();
    assert_eq!(
        shape.mend(text),
        r#"{"event":"a\ufffd","userId":"u","x":"\ud83d\ude00"}"#
    );
}
