//! JSON bytes to a program's value, in one pass and with a limit of depth; and back, with a limit of
//! length.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use vrl::value::{KeyString, ObjectMap, Value};

/// # Errors
/// It is no JSON, or nested deeper than [`model::limits::JSON_DEPTH_MAX`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    match parse_strictly(bytes) {
        Ok(value) => Ok(value),
        // Clients cut strings in the middle of an emoji, and what remains is half a surrogate pair:
        // JSON's grammar lets it in, no text can hold it.
        Err(problem) => match mend_surrogates(bytes) {
            Some(mended) => parse_strictly(&mended).map_err(|problem| problem.to_string()),
            None => Err(problem.to_string()),
        },
    }
}

fn parse_strictly(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Tree {
        depth_left: model::limits::JSON_DEPTH_MAX,
    }
    .deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// The text of JSON that [`parse`] takes, half surrogate pairs mended as there.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mended = mend_surrogates(bytes);
    String::from_utf8_lossy(mended.as_deref().unwrap_or(bytes)).into_owned()
}

/// JSON without its author's line breaks and spaces, as ingest would have stored it.
#[must_use]
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut quoted = false;
    let mut escaped = false;
    for c in json.chars() {
        if !quoted && c.is_ascii_whitespace() {
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// The value as JSON.
///
/// # Errors
/// It is longer than `bytes_max`: text that is shared many times in memory is written many times.
pub(crate) fn write(value: &Value, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut out = Limited {
        bytes: Vec::with_capacity(512),
        bytes_max,
    };
    match serde_json::to_writer(&mut out, value) {
        Ok(()) => Ok(out.bytes),
        Err(_) => Err(format!("longer than {bytes_max} bytes as JSON")),
    }
}

struct Limited {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Limited {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Tree {
    depth_left: usize,
}

impl Tree {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!(
                "nested deeper than {}",
                model::limits::JSON_DEPTH_MAX
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Value::Integer(value)),
            // VRL has no larger integers: keep the magnitude, as JavaScript would. The text of a u64
            // always parses as a float.
            Err(_) => Ok(Value::from_f64_or_zero(
                value.to_string().parse().unwrap_or(0.0),
            )),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from_f64_or_zero(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = ObjectMap::new();
        while let Some(key) = items.next_key::<KeyString>()? {
            let value = items.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// `bytes` with every half surrogate pair (`\ud83d` alone) written as `\ufffd`, or `None` if there is
/// none.
fn mend_surrogates(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte != b'\\' {
            at += 1;
            continue;
        }
        match unit_at(bytes, at) {
            Some(0xd800..=0xdbff) if matches!(unit_at(bytes, at + 6), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => {
                let out = mended.get_or_insert_with(|| bytes.to_vec());
                if let Some(digits) = out.get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(b"fffd");
                }
                at += 6;
            }
            Some(_) => at += 6,
            // Another escape: skip the character behind the backslash, it may be a backslash.
            None => at += 2,
        }
    }
    mended
}

/// The code unit of the escape `\uXXXX` at `at`.
fn unit_at(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A JSON tree as a program's value.
///
/// # Errors
/// It is nested deeper than [`model::limits::JSON_DEPTH_MAX`].
pub(crate) fn from_tree(tree: &serde_json::Value) -> Result<Value, String> {
    Tree {
        depth_left: model::limits::JSON_DEPTH_MAX,
    }
    .deserialize(tree)
    .map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests;
