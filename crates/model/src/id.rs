//! Ids, offsets and positions: numbers that must not be mistaken for one another.
//!
//! Users name things by [`Name`]; the store gives every name a small number that it keeps for
//! ever, and inside the program only the number travels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A source's number. It is also the number of the source's stream in the event log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub u32);

/// A destination's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DestinationId(pub u32);

/// A connection's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u32);

/// A lane's number. Every connection has one live lane; a replay and a redelivery get a lane of
/// their own beside it, so that old events never stand in front of new ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u32);

/// One attempt to deliver one job, or one batch of jobs. Never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AttemptId(pub u64);

/// Which record of the event log: counts records from 0, over all streams.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The first record that a log can hold.
    pub const ZERO: Self = Self(0);
    /// No record has this offset: an open end.
    pub const MAX: Self = Self(u64::MAX);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record's bytes begin in its segment: counts bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Position(pub u32);

/// What a person calls a source, destination or connection: 1 to 64 of `a-z 0-9 _ - . :`, beginning
/// with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

/// Why a text is no [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name: use 1 to 64 of a-z, 0-9, '_', '-', '.', ':', beginning with a letter or digit"
)]
pub struct BadName(pub String);

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// # Errors
    /// The text breaks the rule above: show the error to whoever wrote it.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let first_ok = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let all_ok = text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b':')
        });
        if first_ok && all_ok && text.len() <= Self::BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
