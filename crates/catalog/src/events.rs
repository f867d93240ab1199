//! What can be known of an event without a tree of its JSON: its type, its id, and whether its
//! `integrations` switch a destination off.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// All there are: ingest takes no others.
pub(crate) const EVENT_TYPES: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

/// The members that decide where an event goes. All others are skipped, not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
}

/// The messageId alone.
#[derive(Debug, Deserialize)]
pub(crate) struct Identity<'a> {
    #[serde(rename = "messageId", borrow, default)]
    pub(crate) message_id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Switches {
    #[serde(default)]
    integrations: BTreeMap<String, Value>,
}

/// Whether the event's `integrations` object switches off a destination that goes by any of `names`:
/// `{"Amplitude": false}`, or `{"All": false}` without a word for it. Options (an object) switch it
/// on, as `true` does. What cannot be read switches nothing off.
pub(crate) fn switched_off(event: &[u8], names: &[String]) -> bool {
    let Ok(Switches { integrations }) = serde_json::from_slice(event) else {
        return false;
    };
    let named = integrations
        .iter()
        .find(|(key, _)| names.iter().any(|name| name.eq_ignore_ascii_case(key)))
        .map(|(_, value)| value);
    let all = integrations.get("All").or_else(|| integrations.get("all"));
    let off = |value: &Value| *value == Value::Bool(false);
    named.map_or_else(|| all.is_some_and(off), off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(integrations: &str) -> bool {
        let event = format!(r#"{{"type":"track","integrations":{integrations}}}"#);
        switched_off(
            event.as_bytes(),
            &["my-amplitude".to_owned(), "Amplitude".to_owned()],
        )
    }

    #[test]
    fn integrations_switch_by_name_and_by_all() {
        assert!(!off("{}"));
        assert!(off(r#"{"Amplitude":false}"#));
        assert!(off(r#"{"amplitude":false}"#));
        assert!(off(r#"{"All":false}"#));
        assert!(off(r#"{"All":false,"Mixpanel":true}"#));
        assert!(!off(r#"{"All":false,"Amplitude":true}"#));
        assert!(!off(r#"{"All":false,"my-amplitude":{"session_id":1}}"#));
        assert!(!off(r#"{"All":true}"#));
        assert!(!off("[]"));
        assert!(!off("null"));
    }
}
