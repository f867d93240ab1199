//! An outcome as one line of JSON, its JSON bodies to the letter: a number keeps its digits, and a
//! printed signature is that of what is printed.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Outcome;
use crate::json::compact;
use crate::request::Body;

/// A body's own text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Exact {
    Json(String),
    /// Of a list that is shown for its lines.
    Lines(Vec<String>),
}

impl Exact {
    /// `None` where a text is shown as one: nothing of it can be lost.
    pub(super) fn of(kind: &Body, plain: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(plain).ok()?;
        match kind {
            Body::Json(_) | Body::Event(_) | Body::Events(_) => Some(Self::Json(text.to_owned())),
            Body::Ndjson(_) => Some(Self::Lines(text.lines().map(str::to_owned).collect())),
            _ => None,
        }
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(text) => Letters(text).serialize(serializer),
            Self::Lines(lines) => serializer.collect_seq(lines.iter().map(|line| Letters(line))),
        }
    }
}

/// JSON as it is written; any other text as a string.
struct Letters<'a>(&'a str);

impl Serialize for Letters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only between its parts: a line break within a string is escaped.
        let on_one_line = match self.0.contains(['\n', '\r']) {
            true => compact(self.0),
            false => self.0.to_owned(),
        };
        match RawValue::from_string(on_one_line) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl Outcome {
    /// As `fairlane destination transform` writes it: [`Outcome::to_value`] on one line, with JSON
    /// bodies to the letter.
    #[must_use]
    pub fn to_line(&self) -> String {
        // A tree of JSON values can always be written.
        serde_json::to_string(&Line(self)).unwrap_or_default()
    }
}

struct Line<'a>(&'a Outcome);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self.0.to_value();
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in told.as_object().into_iter().flatten() {
            if key == "requests" {
                let exact = self.0.exact.iter().map(Option::as_ref);
                let requests = self.0.requests.iter();
                let exact = exact.chain(std::iter::repeat(None));
                let requests: Vec<Request<'_>> = requests
                    .zip(exact)
                    .map(|(shown, exact)| Request { shown, exact })
                    .collect();
                map.serialize_entry(key, &requests)?;
            } else {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

struct Request<'a> {
    shown: &'a Value,
    exact: Option<&'a Exact>,
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.shown.as_object().into_iter().flatten() {
            match self.exact {
                Some(exact) if key == "body" => map.serialize_entry(key, exact)?,
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}
