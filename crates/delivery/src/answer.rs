//! An answer as the catalog sees it: texts and bytes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use catalog::Sender;

use crate::http::send;

/// See the module.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// The body went on.
    pub(crate) truncated: bool,
}

/// Characters of a service's own words that are told beside the status.
const WORDS_MAX: usize = 200;

impl Answer {
    /// In words, for a person. A wish to be left alone is told as it came, as the scheduler may
    /// not grant it. `body` is without secrets.
    pub(crate) fn described(&self, sender: Sender, body: &[u8]) -> String {
        if sender != Sender::Http {
            // Its status is ours: what the service said is in the body alone.
            return match words(&String::from_utf8_lossy(body)) {
                said if said.is_empty() => format!("answer {}", self.status),
                said => format!("answer {}: {said}", self.status),
            };
        }
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

/// What a service says in its JSON's `message`, in the texts of its XML, or as it is: the beginning of it.
fn words(body: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(body).ok();
    let message = message.and_then(|said| Some(said.get("message")?.as_str()?.to_owned()));
    let text = message.unwrap_or_else(|| {
        let mut in_tag = false;
        let text = body.chars().map(|c| {
            let is_text = !in_tag && c != '<';
            in_tag = (in_tag || c == '<') && c != '>';
            if is_text { c } else { ' ' }
        });
        text.collect()
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(WORDS_MAX).collect()
}

/// Headers as texts, with lower-case names.
pub(crate) fn header_texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}
