//! How two JSON values differ, place by place: for cases that fail, and for what a changed definition
//! would send differently.

use std::fmt;

use serde_json::Value;

use crate::error::shorten;

/// Differences of one pair of values that are told. More say no more.
pub const DIFFERENCES_MAX: usize = 40;
/// How much is shown of a value that differs.
const SHOWN_BYTES_MAX: usize = 300;

/// One place at which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `body.events[0].user_id`; empty for the values themselves.
    pub place: String,
    /// `None` where only the other has something at this place.
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match shorten(&text, SHOWN_BYTES_MAX) {
                    short if short.len() < text.len() => format!("{short}.."),
                    whole => whole.to_owned(),
                }
            }
        };
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{} -> {}", shown(&self.before), shown(&self.after))
    }
}

/// Where two values differ, at most [`DIFFERENCES_MAX`] places, in the order of the values. The order
/// of an object's members does not matter.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(
    place: String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    if before == after || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let only_there = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(only_there) {
                let inside = if place.is_empty() {
                    key.clone()
                } else {
                    format!("{place}.{key}")
                };
                compare(inside, one.get(key), other.get(key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                let inside = format!("{place}[{index}]");
                compare(inside, one.get(index), other.get(index), found);
            }
        }
        _ => found.push(Difference {
            place,
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(before: Value, after: Value) -> Vec<String> {
        let all = differences(&before, &after);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_place_is_told() {
        let before = json!({"url": "a", "body": {"list": [1, 2], "same": {}, "gone": null}});
        let after = json!({"url": "b", "body": {"same": {}, "list": [1, 3, 4], "new": true}});
        assert_eq!(
            told(before, after),
            [
                "body.gone: null -> nothing",
                "body.list[1]: 2 -> 3",
                "body.list[2]: nothing -> 4",
                "body.new: nothing -> true",
                "url: \"a\" -> \"b\"",
            ]
        );
        assert_eq!(told(json!(1), json!("1")), ["1 -> \"1\""]);
        assert_eq!(
            told(json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1})),
            [""; 0]
        );
    }

    #[test]
    fn what_is_told_is_bounded() {
        let long = "x".repeat(10_000);
        let many: Vec<&str> = vec![&long; 1_000];
        let all = told(json!(many), json!([]));
        assert_eq!(all.len(), DIFFERENCES_MAX);
        assert!(all.iter().all(|one| one.len() < 400), "{}", all[0]);
    }
}
