//! What PostgreSQL said, as the HTTP status that means the same.

use serde_json::json;
use tokio_postgres::Error;

/// The credentials are wrong.
pub(super) const UNAUTHORIZED: u16 = 401;
/// This row, or a batch with it, cannot be written.
pub(super) const REFUSED: u16 = 400;

/// Why rows were not written.
#[derive(Debug)]
pub(super) enum Problem {
    /// The server said so, or the connection broke.
    Server(Error),
    /// It cannot be, whatever the server says.
    Refused(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

/// The status for a SQLSTATE. A status of the event (400) splits a batch until the row is alone; one of
/// the destination holds its lanes (401, 403, 404) or lets them wait (503).
pub(super) fn status(sqlstate: &str) -> u16 {
    match sqlstate {
        "42501" => 403,
        // No such table or column although they were just made, no such database or schema; a table
        // without its key.
        "42P01" | "42703" | "42P10" => 404,
        // Raised by a trigger of the user's own; something that is no table has the name just now.
        "P0001" | "42809" => REFUSED,
        _ => match sqlstate.get(..2) {
            Some("28") => UNAUTHORIZED,
            Some("3D" | "3F") => 404,
            // A value, a constraint, a limit of rows and indexes, a view's check.
            Some("22" | "23" | "54" | "44") => REFUSED,
            // Overloaded, stopped, starting, disconnected, deadlocked, locked, read only, broken.
            Some("53" | "57" | "08" | "40" | "55" | "25" | "58" | "XX") => 503,
            _ => 500,
        },
    }
}

/// Whether it is likely to go well when it is tried again at once: the tables were not as they were
/// remembered, or two transactions stood in each other's way.
pub(super) fn passes_at_once(error: &Error) -> bool {
    let code = error.code().map(tokio_postgres::error::SqlState::code);
    // No such table, no such column, no table at all, another type than thought, or a narrower one; a
    // table or type that somebody makes at this very moment; deadlock, serialization.
    matches!(
        code,
        Some(
            "42P01"
                | "42703"
                | "42809"
                | "42804"
                | "22003"
                | "22001"
                | "22P02"
                | "42P07"
                | "42701"
                | "42710"
                | "40P01"
                | "40001"
        )
    )
}

/// What is told of an error: the server's words, and what they are about.
pub(super) fn told(error: &Error) -> String {
    let Some(said) = error.as_db_error() else {
        return json!({"message": error.to_string()}).to_string();
    };
    let mut told = json!({"message": said.message(), "sqlstate": said.code().code()});
    for (name, value) in [
        ("schema", said.schema()),
        ("table", said.table()),
        ("column", said.column()),
        ("constraint", said.constraint()),
        ("hint", said.hint()),
    ] {
        if let Some(value) = value {
            told[name] = value.into();
        }
    }
    told.to_string()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_status_says_whose_fault_it_is() {
        for (sqlstate, expected) in [
            ("28P01", 401),
            ("42501", 403),
            ("3D000", 404),
            ("3F000", 404),
            ("42P01", 404),
            ("42P10", 404),
            ("22P02", 400),
            ("23505", 400),
            ("54000", 400),
            ("42809", 400),
            ("53300", 503),
            ("57P03", 503),
            ("08006", 503),
            ("40P01", 503),
            ("55P03", 503),
            ("25006", 503),
            ("42601", 500),
            ("", 500),
        ] {
            assert_eq!(status(sqlstate), expected, "{sqlstate}");
        }
    }
}
