//! Functions for personal data: brought into the one form that services expect before they compare
//! hashes, and hashed.

use md5::{Digest, Md5};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use uuid::{Builder, Uuid};
use vrl::prelude::*;

use super::{Arguments, Own, VALUE, text};
use crate::encode::hex;

pub(super) const TABLE: &[Own] = &[
    Own {
        name: "normalize_email",
        usage: "An address without white space around it, in lower case.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| Ok(arguments.take_short_text(0)?.trim().to_lowercase().into()),
    },
    Own {
        name: "normalize_name",
        usage: "A name in lower case, with single spaces and none around it.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| {
            let name = arguments.take_short_text(0)?.to_lowercase();
            let words: Vec<&str> = name.split_whitespace().collect();
            Ok(words.join(" ").into())
        },
    },
    Own {
        name: "normalize_phone",
        usage: "A telephone number as E.164 writes it, `+` and digits; null where it is none.",
        parameters: &[
            VALUE,
            Parameter::optional(
                "country_code",
                kind::BYTES,
                "Of numbers that name none: `1`, `44`.",
            ),
        ],
        kind: kind::BYTES | kind::NULL,
        result: || TypeDef::bytes().or_null().infallible(),
        call: |arguments| {
            let number = arguments.take_short_text(0)?;
            let code = match arguments.take(1) {
                Value::Null => String::new(),
                code => code.try_bytes_utf8_lossy()?.into_owned(),
            };
            Ok(phone(&number, &code).map_or(Value::Null, Value::from))
        },
    },
    Own {
        name: "hash_personal",
        usage: "The SHA-256 of `value` in lower-case hex; a value that is one already stays it.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| {
            let value = arguments.take_short_text(0)?;
            if value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Ok(value.to_ascii_lowercase().into());
            }
            Ok(hex(digest(&SHA256, value.as_bytes()).as_ref()).into())
        },
    },
    Own {
        name: "md5",
        usage: "The MD5 of `value` in lower-case hex.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| {
            let value = arguments.take_short_text(0)?;
            Ok(hex(&Md5::digest(value.as_bytes())).into())
        },
    },
    Own {
        name: "uuid_from",
        usage: "The UUID that `value` is, or one that is made of it: always the same.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: uuid_from,
    },
];

/// The longest number that E.164 allows, and the shortest that anybody has.
const DIGITS_MAX: usize = 15;
const DIGITS_MIN: usize = 7;

/// `None` where it is no number, or does not say of which country and no code does.
fn phone(number: &str, country_code: &str) -> Option<String> {
    // The trunk prefix that is only dialled at home: +44 (0)20 ..
    let number = number.trim().replace("(0)", "");
    let separator = |c: char| c.is_whitespace() || "()-./".contains(c);
    let mut digits: String = number.chars().filter(|c| !separator(*c)).collect();
    let mut is_international = false;
    for prefix in ["+", "00"] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            digits = rest.to_owned();
            is_international = true;
            break;
        }
    }
    if !is_international {
        let code = country_code.trim().trim_start_matches('+');
        if code.is_empty() {
            return None;
        }
        digits = in_country(&digits, code);
    }
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    (plain && (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())).then(|| format!("+{digits}"))
}

/// A number as it is written within the country of `code`.
fn in_country(digits: &str, code: &str) -> String {
    // North America writes its own code before long numbers; Italy dials the 0 from abroad too.
    match code {
        "1" if digits.len() == 11 && digits.starts_with('1') => digits.to_owned(),
        "39" => format!("{code}{digits}"),
        _ => format!("{code}{}", digits.strip_prefix('0').unwrap_or(digits)),
    }
}

/// RFC 9562, version 5, in the namespace of object identifiers.
fn uuid_from(arguments: &mut Arguments<'_, '_>) -> Resolved {
    let value = arguments.take_short_text(0)?;
    let uuid = Uuid::try_parse(value.trim()).unwrap_or_else(|_| {
        let mut named = Uuid::NAMESPACE_OID.as_bytes().to_vec();
        named.extend_from_slice(value.as_bytes());
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &named);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(hash.as_ref().get(..16).unwrap_or(&[0; 16]));
        Builder::from_sha1_bytes(bytes).into_uuid()
    });
    Ok(uuid.hyphenated().to_string().into())
}

#[cfg(test)]
mod tests;
