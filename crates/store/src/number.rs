//! SQLite's integers are signed; ours are not. The one place where they meet.
//!
//! Everything from `i64::MAX` up is kept as `i64::MAX` and read back as `u64::MAX`: an open end
//! stays an open end, and no real offset, time or count comes near.

use rusqlite::Row;

pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn from_sql(number: i64) -> u64 {
    if number == i64::MAX {
        u64::MAX
    } else {
        u64::try_from(number).unwrap_or(0)
    }
}

pub(crate) fn u64_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(from_sql)
}

/// A length in bytes as a number of the database.
pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
