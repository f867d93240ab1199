//! An answer as the catalog sees it: texts and bytes.

use bytes::Bytes;
use catalog::Sender;
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

/// Characters of a service's own words that are told beside the status.
const WORDS_MAX: usize = 200;

impl Answer {
    /// In words, for a person. A wish to be left alone is told as it came, as the scheduler may
    /// not grant it. `body` is without secrets.
    pub(crate) fn described(&self, sender: Sender, body: &[u8]) -> String {
        let mut told = format!("answer {}", self.status);
        let wish = self.headers.iter().find(|(name, _)| name == "retry-after");
        if let Some((_, wish)) = wish {
            told.push_str(&format!(", retry-after {wish:.64}"));
        }
        // Of most services the status says enough; of these it may be ours.
        let said = match sender {
            Sender::Http => String::new(),
            _ => words(&String::from_utf8_lossy(body)),
        };
        if !said.is_empty() {
            told.push_str(": ");
            told.push_str(&said);
        }
        told
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_http_is_quoted() {
        let answer = Answer {
            status: 503,
            headers: vec![("retry-after".to_owned(), "7".to_owned())],
            body: Bytes::new(),
            truncated: false,
        };
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Less, please</Message></Error>";
        for (sender, body, told) in [
            (Sender::Http, xml, "answer 503, retry-after 7"),
            (
                Sender::ObjectStorage,
                xml,
                "answer 503, retry-after 7: SlowDown Less, please",
            ),
            (
                Sender::Postgres,
                r#"{"message": "too many connections", "sqlstate": "53300"}"#,
                "answer 503, retry-after 7: too many connections",
            ),
            (Sender::Postgres, "", "answer 503, retry-after 7"),
        ] {
            assert_eq!(answer.described(sender, body.as_bytes()), told);
        }
        let long = "a".repeat(1_000);
        let told = answer.described(Sender::Kafka, long.as_bytes());
        assert!(told.ends_with(&"a".repeat(WORDS_MAX)) && told.len() < 2 * WORDS_MAX);
    }
}
