//! JSON as its author wrote it: a program's objects have their members in the order of the keys, a
//! text has them in its own.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use vrl::prelude::*;

use super::{Arguments, Own, VALUE, over};
use crate::limits::{ELEMENTS_MAX, PATH_SEGMENTS_MAX};

pub(super) const TABLE: &[Own] = &[Own {
    name: "json_entries",
    usage: "The members of an object, or the items of a list, that a JSON text holds (at a path), in \
            their order.",
    parameters: &[
        VALUE,
        Parameter::optional("path", kind::ARRAY, "Keys and indexes."),
    ],
    kind: kind::ARRAY,
    result: || {
        let entry: Collection<Field> = Collection::empty()
            .with_known("key", Kind::bytes().or_integer())
            .with_known("json", Kind::bytes())
            .with_known("type", Kind::bytes());
        TypeDef::array(Collection::from_unknown(Kind::object(entry))).infallible()
    },
    call: json_entries,
}];

/// The entries at a path; none where there is no object and no list.
fn json_entries(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let text = arguments.take_short_text(0)?;
    let path = match arguments.take(1) {
        Value::Null => Vec::new(),
        path => path.try_array()?,
    };
    if path.len() > PATH_SEGMENTS_MAX {
        return Err(over(
            "json_entries was given a path of more than 32 segments",
        ));
    }
    let mut at = text.as_str();
    for segment in &path {
        let found = entries(at)?.into_iter().find(|(key, _)| key == segment);
        let Some((_, json)) = found else {
            return Ok(Value::Array(Vec::new()));
        };
        at = json.get();
    }
    let shown = entries(at)?.into_iter().map(|(key, json)| {
        let members = [
            ("json", json.get().into()),
            ("key", key),
            ("type", type_of(json.get()).into()),
        ];
        let members = members.map(|(name, value)| (KeyString::from(name), value));
        Value::Object(members.into_iter().collect())
    });
    Ok(Value::Array(shown.collect()))
}

/// As JSON Schema calls it: 1.0 is an integer too.
fn type_of(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ if json
            .bytes()
            .all(|sign| sign == b'-' || sign.is_ascii_digit()) =>
        {
            "integer"
        }
        _ if json.parse().is_ok_and(|number: f64| number.fract() == 0.0) => "integer",
        _ => "number",
    }
}

type Entries<'a> = Vec<(Value, &'a RawValue)>;

/// A key that comes twice has its first place and its last value, as in JavaScript.
fn entries(text: &str) -> Result<Entries<'_>, ExpressionError> {
    // A text or a number has none, and what is no JSON has none.
    let found = serde_json::Deserializer::from_str(text)
        .deserialize_any(Written)
        .unwrap_or_default();
    if found.len() > ELEMENTS_MAX {
        return Err(over("json_entries was given more than 10,000"));
    }
    Ok(found)
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(json) = items.next_element()? {
            found.push((Value::from(found.len()), json));
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found: Entries<'de> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some((key, json)) = members.next_entry::<String, &RawValue>()? {
            match places.get(&key).and_then(|place| found.get_mut(*place)) {
                Some((_, known)) => *known = json,
                None => {
                    found.push((key.as_str().into(), json));
                    places.insert(key, found.len() - 1);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
