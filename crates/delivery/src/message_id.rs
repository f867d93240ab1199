//! An event's `messageId`, found without parsing the event.
//!
//! It goes out as the id of every attempt of the event, so it is read once an attempt: a scan
//! that builds nothing costs a tenth of a parser's work.

use std::borrow::Cow;

/// The text of the member `messageId` of the object `event`; `None` where there is no such text.
/// `event` is canonical JSON, as ingest stored it; other bytes give `None` or some text, and no
/// panic.
#[must_use]
pub fn message_id(event: &[u8]) -> Option<Cow<'_, str>> {
    let mut at = 0;
    let mut depth = 0_u32;
    while let Some(byte) = event.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(event, at + 1)?;
                let is_key = depth == 1 && event.get(at + 1..end) == Some(b"messageId");
                if let Some(value) = value_after(event, end + 1).filter(|_| is_key) {
                    return text_at(event, value);
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string that begins at `from` (behind its quote) ends: the index of its last quote.
fn string_end(event: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match event.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The index of the value behind the colon; `None` where no colon follows, as the string was a
/// value itself.
fn value_after(event: &[u8], from: usize) -> Option<usize> {
    let colon = skip_space(event, from);
    (event.get(colon) == Some(&b':')).then(|| skip_space(event, colon + 1))
}

fn skip_space(event: &[u8], mut at: usize) -> usize {
    while event.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

fn text_at(event: &[u8], at: usize) -> Option<Cow<'_, str>> {
    if event.get(at) != Some(&b'"') {
        return None;
    }
    let end = string_end(event, at + 1)?;
    let raw = event.get(at + 1..end)?;
    if raw.contains(&b'\\') {
        return serde_json::from_slice(event.get(at..=end)?)
            .ok()
            .map(Cow::Owned);
    }
    std::str::from_utf8(raw).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests;
