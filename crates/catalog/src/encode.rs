//! Percent-encoding, and the encoding of form bodies and query strings.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use vrl::value::Value;

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// One path segment, query value or form value.
pub(crate) fn component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// A scalar as text: strings as they are, numbers and booleans as JSON writes them, times as RFC 3339.
/// `None` for null and for containers.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) | Value::Array(_) => None,
        other => Some(other.to_string_lossy().into_owned()),
    }
}

/// `key=value&..` of an object's [`pairs`].
///
/// # Errors
/// As theirs.
pub(crate) fn form(what: &str, value: &Value, bytes_max: usize) -> Result<String, String> {
    let mut out = String::new();
    for (key, value) in pairs(what, value, bytes_max)? {
        push_pair(&mut out, &key, &value);
    }
    if out.len() > bytes_max {
        return Err(too_long(what, bytes_max));
    }
    Ok(out)
}

/// An object's members as texts: a list repeats its key, a nested object becomes `key[inner]`, null
/// is left out.
///
/// # Errors
/// The value is no object, or its texts are longer than that: a few bytes of an event may make many.
pub(crate) fn pairs(
    what: &str,
    value: &Value,
    bytes_max: usize,
) -> Result<Vec<(String, String)>, String> {
    let Value::Object(map) = value else {
        return Err(format!(
            "{what} must be an object, not {}",
            value.kind_str()
        ));
    };
    let mut pairs = Pairs {
        out: Vec::new(),
        room: bytes_max,
    };
    let fit = map
        .iter()
        .all(|(key, value)| pairs.push(key.as_str(), value));
    fit.then_some(pairs.out)
        .ok_or_else(|| too_long(what, bytes_max))
}

fn too_long(what: &str, bytes_max: usize) -> String {
    format!("{what} is longer than its limit of {bytes_max} bytes")
}

struct Pairs {
    out: Vec<(String, String)>,
    /// Bytes that are left.
    room: usize,
}

impl Pairs {
    /// Whether there was room for it.
    fn push(&mut self, key: &str, value: &Value) -> bool {
        match value {
            Value::Object(map) => map
                .iter()
                .all(|(inner, value)| self.push(&format!("{key}[{inner}]"), value)),
            Value::Array(list) => list.iter().all(|value| self.push(key, value)),
            scalar => {
                let Some(text) = scalar_text(scalar) else {
                    return true;
                };
                // With the `=` and the `&`.
                let Some(room) = self.room.checked_sub(key.len() + text.len() + 2) else {
                    return false;
                };
                self.room = room;
                self.out.push((key.to_owned(), text));
                true
            }
        }
    }
}

/// The parts of `multipart/form-data` (RFC 7578), between lines of `boundary`.
pub(crate) fn multipart(pairs: &[(String, String)], boundary: &str) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        // As browsers do it: a name can end neither its quotes nor its line.
        let name = name
            .replace('"', "%22")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        out.push_str(&format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    out
}

/// A text as it stands in an element or attribute of XML 1.0. Characters that XML cannot hold are
/// left out.
pub(crate) fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // As they are, a parser would make spaces of them in an attribute, and line feeds elsewhere.
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// Appends `key=value`, with `&` before it where something stands there already.
pub(crate) fn push_pair(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    out.push_str(&component(key));
    out.push('=');
    out.push_str(&component(value));
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
