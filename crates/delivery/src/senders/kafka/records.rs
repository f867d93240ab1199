//! The body of a request: a list of records.
//!
//! ```json
//! [{"key": "u-1", "value": {"type": "track"}, "headers": {"message_id": "m-1"}}]
//! ```

use std::collections::BTreeMap;

use rdkafka::message::{Header, OwnedHeaders};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<String>,
    /// `None`: a tombstone.
    pub(super) value: Option<String>,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    key: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// # Errors
/// It is no list of records: the definition's fault.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Record>, String> {
    let wrong = |error| format!("the body is no list of {{key, value, headers}}: {error}");
    let items: Vec<Item<'_>> = serde_json::from_slice(body).map_err(wrong)?;
    let record = |item: Item<'_>| {
        let value = match item.value.map(RawValue::get) {
            None | Some("null") => None,
            // A text is itself; anything else is sent as the JSON that it is.
            Some(text) if text.starts_with('"') => match serde_json::from_str(text) {
                Ok(Value::String(text)) => Some(text),
                _ => Some(text.to_owned()),
            },
            Some(json) => Some(json.to_owned()),
        };
        Record {
            key: item.key,
            value,
            headers: item.headers,
        }
    };
    Ok(items.into_iter().map(record).collect())
}

impl Record {
    pub(super) fn headers(&self) -> OwnedHeaders {
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(empty, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_value_is_sent_as_the_program_made_it() {
        let body = br#"[{"key":"k","value":{"b":1,"a":[2.50]},"headers":{"h":"v"}},
            {"value":"text \u00e4"},{"key":"k","value":null}]"#;
        let records = parse(body).unwrap();
        let values: Vec<_> = records
            .iter()
            .map(|record| record.value.as_deref())
            .collect();
        assert_eq!(
            values,
            [Some(r#"{"b":1,"a":[2.50]}"#), Some("text ä"), None]
        );
        assert_eq!(records[0].key.as_deref(), Some("k"));
        assert_eq!(records[0].headers["h"], "v");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for body in [
            "{}",
            r#"[{"values":1}]"#,
            r#"[{"key":1}]"#,
            r#"[{"headers":{"a":1}}]"#,
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert!(
                error.contains("no list of {key, value, headers}"),
                "{error}"
            );
        }
    }
}
