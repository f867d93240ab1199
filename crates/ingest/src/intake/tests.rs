//! Bodies, whole and broken, up to what would be stored.

use proptest::prelude::*;

use super::*;

const BODY: &str = r#"{"batch":[{"type":"track","event":"a\ud83d","userId":"u","messageId":"m",
    "context":{"ip":null,"direct":true,"x":[1,{"y":-2.5e-3}]},"integrations":{"All":false},
    "timestamp":"2026-11-23T09:00:00Z","\u0074ype":"page"},{"type":"page","anonymousId":7}],
    "context":{"library":{"name":"é😀"}},"sentAt":"2026-11-23T09:00:01Z","writeKey":"k"}"#;

#[test]
fn a_byte_order_mark_is_no_harm() {
    let body = format!("\u{feff}{BODY}");
    let plain = preview(BODY.as_bytes(), BodyKind::Batch, UnixMillis(0)).unwrap();
    assert_eq!(
        preview(body.as_bytes(), BodyKind::Batch, UnixMillis(0))
            .unwrap()
            .len(),
        plain.len()
    );
}

proptest! {
    /// However a body is broken: it is refused, or what would be stored can be read again.
    #[test]
    fn what_is_stored_can_be_read(
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let mut body = BODY.as_bytes().to_vec();
        for (at, byte, how) in breaks {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, b"\"\\{}[],:0nu"[usize::from(byte) % 11]),
                _ => drop(body.remove(at)),
            }
        }
        for kind in [BodyKind::Batch, BodyKind::Event(crate::EventType::Page)] {
            for event in preview(&body, kind, UnixMillis(0)).into_iter().flatten().flatten() {
                let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
                prop_assert!(event["messageId"].is_string() && event["type"].is_string());
            }
        }
    }
}
