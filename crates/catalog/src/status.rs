//! Sets of HTTP statuses as `destination.toml` writes them: `409`, `"4xx"`, `[200, "5xx"]`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Statuses, each given alone or by its class. Default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusSet(Vec<Pattern>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    One(u16),
    /// The first digit.
    Class(u16),
}

impl StatusSet {
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|pattern| match *pattern {
            Pattern::One(one) => one == status,
            Pattern::Class(digit) => status / 100 == digit,
        })
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(SetVisitor)
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = StatusSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 409 or \"4xx\", or a list of them")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<StatusSet, E> {
        match u16::try_from(value) {
            Ok(status @ 100..=599) => Ok(StatusSet(vec![Pattern::One(status)])),
            _ => Err(E::custom(format_args!(
                "{value} is no HTTP status: use 100 to 599"
            ))),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<StatusSet, E> {
        let digit = value
            .strip_suffix("xx")
            .and_then(|digit| digit.parse().ok());
        match digit {
            Some(digit @ 1..=5) => Ok(StatusSet(vec![Pattern::Class(digit)])),
            _ => Err(E::custom(format_args!(
                "{value:?} is no class of statuses: use \"4xx\""
            ))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StatusSet, A::Error> {
        let mut all = Vec::new();
        while let Some(StatusSet(patterns)) = items.next_element()? {
            all.extend(patterns);
        }
        if all.is_empty() {
            return Err(A::Error::custom("a list without a status holds for none"));
        }
        Ok(StatusSet(all))
    }
}
