//! Events in a URL: what images in mails send.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::limits::JSON_DEPTH_MAX;
use serde_json::{Map, Value};

/// Both alphabets are read by this one, after `+` and `/` are replaced.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The event of a pixel's query, as JSON text: `data=<base64 of JSON>`, or flat members such as
/// `userId=u&properties.subject=hello`. `None` when it holds none. Other members beside `data`
/// (`writeKey`) count where the data does not say them.
pub(crate) fn event(query: &str) -> Option<String> {
    let mut event = Map::new();
    let mut data = None;
    for (name, value) in pairs(query) {
        if name == "data" {
            data = Some(value);
        } else {
            place(&mut event, &name, value);
        }
    }
    if let Some(data) = data {
        let text = String::from_utf8(decode(&data)?).ok()?;
        let Value::Object(decoded) = serde_json::from_str(&text).ok()? else {
            return None;
        };
        event.extend(decoded);
    }
    (!event.is_empty()).then(|| Value::Object(event).to_string())
}

fn decode(data: &str) -> Option<Vec<u8>> {
    // A `+` that was not percent-encoded has become a space on the way.
    let data = data.replace(['+', ' '], "-").replace('/', "_");
    BASE64.decode(data).ok()
}

/// Puts a value where its dotted name says; where that place is taken by a text, nowhere.
fn place(event: &mut Map<String, Value>, name: &str, value: String) {
    if name.split('.').count() > JSON_DEPTH_MAX {
        return;
    }
    let (mut object, mut name) = (event, name);
    while let Some((outer, inner)) = name.split_once('.') {
        let next = object
            .entry(outer)
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else { return };
        (object, name) = (next, inner);
    }
    object.insert(name.to_owned(), Value::String(value));
}

/// The pairs of a query, decoded as HTML forms are.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name), percent_decode(value))
        })
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, hex_pair(after)) {
            (b'%', Some(value)) => {
                decoded.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let [high, low] = bytes.first_chunk::<2>()?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests;
