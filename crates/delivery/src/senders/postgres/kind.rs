//! What a column can hold: chosen for a new column by its first values, and asked of an existing one
//! for each value.
//!
//! A value is turned into what PostgreSQL reads as exactly the same value, or it does not fit. Nothing
//! is rounded, cut or guessed: who reads a warehouse must be able to trust its columns.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde_json::Value;

/// The kinds of columns that are written to. Those that Fairlane makes itself are [`Kind::Boolean`],
/// [`Kind::BigInt`], [`Kind::Double`], [`Kind::Text`], [`Kind::Timestamp`] and [`Kind::Json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric,
    Text,
    /// `varchar(n)`: so many characters.
    Limited(u32),
    /// `timestamptz`
    Timestamp,
    /// `jsonb`
    Json,
    /// `json`
    JsonText,
    /// Anything else that somebody made: no value is known to fit.
    Other,
}

/// Whole numbers of this size are exact in a double.
const DOUBLE_EXACT_MAX: u64 = 1 << 53;

impl Kind {
    /// What a new column for this value should be; `None` for null, which needs no column.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::BigInt,
            // Larger than a bigint: a double would not be exact.
            Value::Number(number) if number.is_u64() => Self::Text,
            Value::Number(_) => Self::Double,
            Value::String(text) if timestamp(text).is_some() => Self::Timestamp,
            Value::String(_) => Self::Text,
            Value::Array(_) | Value::Object(_) => Self::Json,
        })
    }

    /// What holds the values of both, for a column that does not exist yet.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::BigInt, Self::Double) | (Self::Double, Self::BigInt) => Self::Double,
            (Self::Json, _) | (_, Self::Json) => Self::Json,
            _ => Self::Text,
        }
    }

    /// The kind of a column, by the name of its type and what modifies it.
    pub(super) fn named(name: &str, modifier: i32) -> Self {
        match name {
            "bool" => Self::Boolean,
            "int2" => Self::SmallInt,
            "int4" => Self::Integer,
            "int8" => Self::BigInt,
            "float4" => Self::Real,
            "float8" => Self::Double,
            // With a precision it would round, or refuse.
            "numeric" if modifier < 0 => Self::Numeric,
            "text" => Self::Text,
            // PostgreSQL counts four bytes of its own.
            "varchar" => match u32::try_from(modifier.saturating_sub(4)) {
                Ok(characters) => Self::Limited(characters),
                Err(_) => Self::Text,
            },
            "timestamptz" if modifier < 0 => Self::Timestamp,
            "jsonb" => Self::Json,
            "json" => Self::JsonText,
            _ => Self::Other,
        }
    }

    /// As it is written in SQL.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Text | Self::Limited(_) | Self::Other => "text",
            Self::Timestamp => "timestamptz",
            Self::Json => "jsonb",
            Self::JsonText => "json",
        }
    }

    /// The value as this column takes it, or back as it was where it does not fit.
    pub(super) fn fit(self, value: Value) -> Result<Value, Value> {
        let fits = match (self, &value) {
            (_, Value::Null) | (Self::Boolean, Value::Bool(_)) => true,
            (Self::Json | Self::JsonText, _) => true,
            (Self::SmallInt, Value::Number(_)) => {
                is_whole(&value, i16::MIN.into(), i16::MAX.into())
            }
            (Self::Integer, Value::Number(_)) => is_whole(&value, i32::MIN.into(), i32::MAX.into()),
            (Self::BigInt, Value::Number(_)) => is_whole(&value, i64::MIN, i64::MAX),
            (Self::Real, Value::Number(number)) => {
                #[allow(clippy::cast_possible_truncation)] // Who makes a `real` wants it rounded.
                let rounded = number.as_f64().map(|n| (n, n as f32));
                // But not to nothing, which PostgreSQL refuses.
                rounded.is_some_and(|(n, real)| real.is_finite() && (real != 0.0 || n == 0.0))
            }
            (Self::Double, Value::Number(number)) => is_exact_double(number),
            (Self::Numeric, Value::Number(_)) => true,
            (Self::Timestamp, Value::String(text)) => {
                return timestamp(text).map(Value::String).ok_or(value);
            }
            (Self::Text, _) => return Ok(Value::String(text_of(value))),
            (Self::Limited(characters), _) => {
                let text = text_of(value.clone());
                let fits =
                    text.chars().count() <= usize::try_from(characters).unwrap_or(usize::MAX);
                return if fits {
                    Ok(Value::String(text))
                } else {
                    Err(value)
                };
            }
            _ => false,
        };
        match (fits, self, value) {
            (false, _, value) => Err(value),
            // 3.0 is 3, but PostgreSQL does not read it as an integer.
            (true, Self::SmallInt | Self::Integer | Self::BigInt, Value::Number(number)) => {
                Ok(whole(&number).map_or(Value::Null, Value::from))
            }
            (true, _, value) => Ok(value),
        }
    }
}

fn is_whole(value: &Value, min: i64, max: i64) -> bool {
    let Value::Number(number) = value else {
        return false;
    };
    whole(number).is_some_and(|whole| (min..=max).contains(&whole))
}

/// The integer that a number is.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        let small = float.abs() <= exact_max();
        #[allow(clippy::cast_possible_truncation)] // It has no fraction, and is small enough.
        (small && float.fract() == 0.0 && !number.is_u64()).then_some(float as i64)
    })
}

fn is_exact_double(number: &serde_json::Number) -> bool {
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => whole.unsigned_abs() <= DOUBLE_EXACT_MAX,
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

#[allow(clippy::cast_precision_loss)] // It is exact: that is what the constant says.
const fn exact_max() -> f64 {
    DOUBLE_EXACT_MAX as f64
}

/// A text as it is; anything else as JSON writes it.
pub(super) fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// An RFC 3339 time as PostgreSQL reads it, in UTC, or `None` where the text is no such time.
fn timestamp(text: &str) -> Option<String> {
    // Cheaper than a parser for almost every text that is none.
    if text.len() < "2026-01-01T00:00:00Z".len() || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    // PostgreSQL knows no year 0, and writes those beyond 9999 otherwise.
    let known = (1..=9_999).contains(&time.year());
    known.then(|| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests;
