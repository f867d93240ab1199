//! An answer as the catalog sees it: texts and bytes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::http::send;

/// See the module.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// The body went on.
    pub(crate) truncated: bool,
}

impl Answer {
    /// In words, for a person. A wish to be left alone is told as it came, as the scheduler may
    /// not grant it.
    pub(crate) fn described(&self) -> String {
        let wish = self.headers.iter().find(|(name, _)| name == "retry-after");
        match wish {
            Some((_, wish)) => format!("answer {}, retry-after {:.64}", self.status, wish),
            None => format!("answer {}", self.status),
        }
    }

    pub(crate) fn of(answer: send::Answer) -> Self {
        Self {
            status: answer.status,
            headers: header_texts(&answer.headers),
            body: answer.body,
            truncated: answer.truncated,
        }
    }
}

/// Headers as texts, with lower-case names.
pub(crate) fn header_texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}
