//! Functions for addresses: each part in the one form in which services compare hashes of it. It is
//! Meta's: lower case, nothing but letters and digits.

use std::collections::HashMap;
use std::sync::LazyLock;

use vrl::prelude::*;

use super::{Arguments, Own, VALUE, text};

mod countries;

pub(super) const TABLE: &[Own] = &[
    Own {
        name: "normalize_city",
        usage: "A city in lower case, letters and digits only.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| Ok(plain(&arguments.take_short_text(0)?).into()),
    },
    Own {
        name: "normalize_postal_code",
        usage: "A postal code in lower case, letters and digits; of the US the first five digits.",
        parameters: &[
            VALUE,
            Parameter::optional("country", kind::BYTES, "As `normalize_country` takes it."),
        ],
        kind: kind::BYTES,
        result: text,
        call: |arguments| {
            let code = arguments.take_short_text(0)?;
            let country = take_optional(arguments, 1)?;
            Ok(postal_code(&code, &country).into())
        },
    },
    Own {
        name: "normalize_country",
        usage: "A country's two letters of ISO 3166-1 in lower case; null where it is none.",
        parameters: &[VALUE],
        kind: kind::BYTES | kind::NULL,
        result: || TypeDef::bytes().or_null().infallible(),
        call: |arguments| {
            let name = arguments.take_short_text(0)?;
            Ok(country(&name).map_or(Value::Null, Value::from))
        },
    },
    Own {
        name: "normalize_state",
        usage: "A state of the US as its two letters, another in lower case, letters and digits only.",
        parameters: &[VALUE],
        kind: kind::BYTES,
        result: text,
        call: |arguments| Ok(state(&arguments.take_short_text(0)?).into()),
    },
];

fn take_optional(
    arguments: &mut Arguments<'_, '_>,
    index: usize,
) -> Result<String, ExpressionError> {
    match arguments.take(index) {
        Value::Null => Ok(String::new()),
        value => Ok(value.try_bytes_utf8_lossy()?.into_owned()),
    }
}

/// In lower case, without what is neither letter nor digit.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    lower.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The digits of a ZIP code that are no add-on.
const ZIP_DIGITS: usize = 5;

fn postal_code(code: &str, of: &str) -> String {
    let is_us = match of {
        "" => is_zip_plus_4(code.trim()),
        name => country(name) == Some("us"),
    };
    let plain = plain(code);
    if is_us {
        return plain.chars().take(ZIP_DIGITS).collect();
    }
    plain
}

/// `94105-1234`, which says by itself where it belongs.
fn is_zip_plus_4(code: &str) -> bool {
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    code.split_once('-').is_some_and(|(zip, more)| {
        zip.len() == ZIP_DIGITS && more.len() == 4 && all_digits(zip) && all_digits(more)
    })
}

fn country(name: &str) -> Option<&'static str> {
    /// By codes, by the words of names, and by names as one word.
    static KNOWN: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
        // Not of ISO, but of the EU.
        let mut known = HashMap::from([("uk".to_owned(), "gb"), ("el".to_owned(), "gr")]);
        for (two, three, names) in countries::COUNTRIES {
            known.insert(two.to_owned(), two);
            known.insert(three.to_owned(), two);
            for name in names.split(';') {
                known.insert(words(name), two);
                known.insert(plain(name), two);
            }
        }
        known
    });
    // A code first: Andorra's three letters are AND.
    let code = name.trim().to_lowercase();
    KNOWN
        .get(&code)
        .or_else(|| KNOWN.get(&words(name)))
        .or_else(|| {
            // No code: "N/A" is not Namibia.
            let one_word = Some(plain(name)).filter(|word| word.chars().count() > 3);
            KNOWN.get(&one_word?)
        })
        .copied()
}

/// A name's words in an order of their own, as `Korea, Republic of` is the Republic of Korea.
fn words(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !matches!(*word, "" | "and" | "of" | "the"))
        .map(|word| if word == "st" { "saint" } else { word })
        .collect();
    words.sort_unstable();
    words.join(" ")
}

/// Of the US, with its district and its territories; names as letters only.
const STATES: [(&str, &str); 58] = [
    ("al", "alabama"),
    ("ak", "alaska"),
    ("as", "americansamoa"),
    ("az", "arizona"),
    ("ar", "arkansas"),
    ("ca", "california"),
    ("co", "colorado"),
    ("ct", "connecticut"),
    ("de", "delaware"),
    ("dc", "districtofcolumbia"),
    ("dc", "washingtondc"),
    ("fl", "florida"),
    ("ga", "georgia"),
    ("gu", "guam"),
    ("hi", "hawaii"),
    ("id", "idaho"),
    ("il", "illinois"),
    ("in", "indiana"),
    ("ia", "iowa"),
    ("ks", "kansas"),
    ("ky", "kentucky"),
    ("la", "louisiana"),
    ("me", "maine"),
    ("md", "maryland"),
    ("ma", "massachusetts"),
    ("mi", "michigan"),
    ("mn", "minnesota"),
    ("ms", "mississippi"),
    ("mo", "missouri"),
    ("mt", "montana"),
    ("ne", "nebraska"),
    ("nv", "nevada"),
    ("nh", "newhampshire"),
    ("nj", "newjersey"),
    ("nm", "newmexico"),
    ("ny", "newyork"),
    ("nc", "northcarolina"),
    ("nd", "northdakota"),
    ("mp", "northernmarianaislands"),
    ("oh", "ohio"),
    ("ok", "oklahoma"),
    ("or", "oregon"),
    ("pa", "pennsylvania"),
    ("pr", "puertorico"),
    ("ri", "rhodeisland"),
    ("sc", "southcarolina"),
    ("sd", "southdakota"),
    ("tn", "tennessee"),
    ("tx", "texas"),
    ("vi", "usvirginislands"),
    ("ut", "utah"),
    ("vt", "vermont"),
    ("va", "virginia"),
    ("vi", "virginislands"),
    ("wa", "washington"),
    ("wv", "westvirginia"),
    ("wi", "wisconsin"),
    ("wy", "wyoming"),
];

fn state(name: &str) -> String {
    let name = plain(name);
    let known = STATES.iter().find(|(_, known)| *known == name);
    known.map_or(name, |(code, _)| (*code).to_owned())
}

#[cfg(test)]
mod tests;
