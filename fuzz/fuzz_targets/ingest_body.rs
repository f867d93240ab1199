//! Any bytes as the body of a request: refused, or events that are sound JSON.

#![no_main]

use ingest::{BodyKind, EventType, preview};
use libfuzzer_sys::fuzz_target;
use model::UnixMillis;

fuzz_target!(|body: &[u8]| {
    let received_at = UnixMillis(1_795_428_000_000);
    for kind in [BodyKind::Batch, BodyKind::Event(EventType::Track)] {
        let Ok(events) = preview(body, kind, received_at) else { continue };
        for event in events.into_iter().flatten() {
            let event: serde_json::Value =
                serde_json::from_slice(&event).expect("what is stored can be read again");
            assert!(event["messageId"].is_string() && event["type"].is_string());
        }
    }
});
