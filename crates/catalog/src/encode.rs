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
/// The value is no object.
pub(crate) fn form(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    for (key, value) in pairs(value)? {
        push_pair(&mut out, &key, &value);
    }
    Ok(out)
}

/// An object's members as texts: a list repeats its key, a nested object becomes `key[inner]`, null
/// is left out.
///
/// # Errors
/// The value is no object.
pub(crate) fn pairs(value: &Value) -> Result<Vec<(String, String)>, String> {
    let Value::Object(map) = value else {
        return Err(format!(
            "a form body must be an object, not {}",
            value.kind_str()
        ));
    };
    let mut out = Vec::new();
    for (key, value) in map {
        push_pairs(&mut out, key.as_str(), value);
    }
    Ok(out)
}

fn push_pairs(out: &mut Vec<(String, String)>, key: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            for (inner, value) in map {
                push_pairs(out, &format!("{key}[{inner}]"), value);
            }
        }
        Value::Array(list) => {
            for value in list {
                push_pairs(out, key, value);
            }
        }
        scalar => out.extend(scalar_text(scalar).map(|text| (key.to_owned(), text))),
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
            '\t' | '\n' | '\r' => out.push(c),
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
