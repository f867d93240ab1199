//! The numbers of names. A name gets its number once and keeps it for ever, because the log's
//! records and the lanes know only the number: a number that came to mean another source would
//! send one customer's events to another's destinations.
//!
//! Therefore they are kept twice: in the database, and as lines of text in `names.txt` beside it.
//! Whoever must throw a damaged database away keeps the numbers.

use std::path::Path;

use model::{ConnectionId, Name};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;

pub(crate) mod file;

use file::NamesFile;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum NameKind {
    Source,
    Destination,
    Connection,
}

impl NameKind {
    const ALL: [Self; 3] = [Self::Source, Self::Destination, Self::Connection];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Source => 0,
            Self::Destination => 1,
            Self::Connection => 2,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Connection => "connection",
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A name and its number.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Numbered {
    pub(crate) kind: NameKind,
    pub(crate) id: u32,
    pub(crate) name: String,
}

/// The numbers of `names`, in their order; those without one get the next. Returns beside them
/// what was added, which must go to the file once the transaction is durable.
pub(crate) fn assign(
    tx: &Connection,
    kind: NameKind,
    names: &[Name],
) -> Result<(Vec<u32>, Vec<Numbered>), Error> {
    let last: u32 = tx.query_row(
        "SELECT coalesce(max(id), 0) FROM names WHERE kind = ?1",
        [kind.code()],
        |row| row.get(0),
    )?;
    let mut find = tx.prepare_cached("SELECT id FROM names WHERE kind = ?1 AND name = ?2")?;
    let mut next = last;
    let mut ids = Vec::with_capacity(names.len());
    let mut added = Vec::new();
    for name in names {
        let known = find.query_row(params![kind.code(), name.as_str()], |row| row.get(0));
        let id = match known.optional()? {
            Some(id) => id,
            None => {
                next = next
                    .checked_add(1)
                    .expect("fewer than 2^32 names were ever configured");
                let numbered = Numbered {
                    kind,
                    id: next,
                    name: name.as_str().to_owned(),
                };
                insert(tx, &numbered, false)?;
                added.push(numbered);
                next
            }
        };
        ids.push(id);
    }
    Ok((ids, added))
}

/// Connections whose lanes were lost with the database: known from the file alone, and without a
/// live lane since.
pub(crate) fn lost_connections(connection: &Connection) -> Result<Vec<ConnectionId>, Error> {
    let mut rows = connection
        .prepare_cached("SELECT id FROM names WHERE kind = ?1 AND restored = 1 ORDER BY id")?;
    let ids = rows.query_map([NameKind::Connection.code()], |row| {
        row.get(0).map(ConnectionId)
    })?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// A live lane was added: the connection is no longer lost.
pub(crate) fn found_again(tx: &Connection, connection: ConnectionId) -> Result<(), Error> {
    tx.prepare_cached(
        "UPDATE names SET restored = 0 WHERE kind = ?1 AND id = ?2 AND restored = 1",
    )?
    .execute(params![NameKind::Connection.code(), connection.0])?;
    Ok(())
}

/// Makes database and file say the same, and returns the file, ready to be appended to. Names that
/// only the file knows mean that the database was thrown away (or is an old backup).
///
/// # Errors
/// They contradict one another, or the file is needed and damaged.
pub(crate) fn reconcile(tx: &Connection, path: &Path) -> Result<NamesFile, Error> {
    let in_file = file::read(path)?;
    let in_database = all(tx)?;
    let damaged = |what| Error::NamesDamaged {
        path: path.to_owned(),
        what,
    };
    if let Some(line) = in_file.bad_line {
        if in_database.is_empty() {
            return Err(damaged(format!("line {line} is no name")));
        }
        tracing::warn!(path = %path.display(), line, "names.txt was damaged: written anew");
    }
    let merged = merge(&in_database, &in_file.names).map_err(damaged)?;
    let restored = merged.len() - in_database.len();
    for numbered in merged.iter().skip(in_database.len()) {
        insert(tx, numbered, true)?;
    }
    if restored > 0 {
        tracing::warn!(
            restored,
            "names.txt knows names that the database does not: the database was lost or is an \
             old backup; the lanes of these connections begin again at the oldest retained record"
        );
    }
    let file = NamesFile::new(path);
    if in_file.bad_line.is_some() || in_file.torn || merged.len() != in_file.names.len() {
        file.write(&merged)?;
    }
    Ok(file)
}

/// All of `database`, then what only `file` has; or the contradiction in words.
fn merge(database: &[Numbered], file: &[Numbered]) -> Result<Vec<Numbered>, String> {
    use std::collections::HashMap;
    let mut merged = database.to_vec();
    let mut by_id: HashMap<_, &str> = database
        .iter()
        .map(|n| ((n.kind, n.id), n.name.as_str()))
        .collect();
    let mut by_name: HashMap<_, u32> = database
        .iter()
        .map(|n| ((n.kind, n.name.as_str()), n.id))
        .collect();
    for numbered in file {
        let Numbered { kind, id, name } = numbered;
        let known_name = by_id.get(&(*kind, *id));
        let known_id = by_name.get(&(*kind, name.as_str()));
        match (known_name, known_id) {
            (Some(known), Some(_)) if *known == name => {}
            (None, None) => {
                by_id.insert((*kind, *id), name);
                by_name.insert((*kind, name), *id);
                merged.push(numbered.clone());
            }
            (Some(known), _) => {
                let kind = kind.as_str();
                return Err(format!("{kind} {id} is {name} here and {known} elsewhere"));
            }
            (None, Some(known)) => {
                let kind = kind.as_str();
                return Err(format!("{kind} {name} is {id} here and {known} elsewhere"));
            }
        }
    }
    Ok(merged)
}

fn all(connection: &Connection) -> Result<Vec<Numbered>, Error> {
    let mut rows = connection.prepare("SELECT kind, id, name FROM names ORDER BY kind, id")?;
    let names = rows.query_map([], |row| {
        let code = row.get(0)?;
        let kind = NameKind::of_code(code)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, i64::from(code)))?;
        Ok(Numbered {
            kind,
            id: row.get(1)?,
            name: row.get(2)?,
        })
    })?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn insert(tx: &Connection, numbered: &Numbered, restored: bool) -> Result<(), Error> {
    tx.prepare_cached("INSERT INTO names (kind, id, name, restored) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            numbered.kind.code(),
            numbered.id,
            numbered.name,
            restored
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests;
