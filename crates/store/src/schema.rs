//! The database's file: how it is told from others, and how its schema grows.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use model::UnixMillis;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;
use crate::number::to_sql;
use crate::options::Options;

/// In the file's header, so that another program's database is never taken for ours: "FLN1".
pub(crate) const APPLICATION_ID: i32 = 0x464c_4e31;

/// The n-th brings a database from version n to n + 1. Never change one that was released.
const MIGRATIONS: [&str; 3] = [
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
];

/// Pages in the write-ahead file before they are moved into the database (32 MiB): rarely, because
/// it is then that the writer waits for the disk.
const CHECKPOINT_PAGES: i32 = 8_192;

/// Statements that each connection keeps prepared: more than there are.
const STATEMENTS_KEPT: usize = 64;

/// Opens `path` for writing, makes it if it is absent, and brings its schema up to date.
///
/// # Errors
/// Another program's file, a newer schema, damage: then nothing in it was changed.
pub(crate) fn open_writer(
    path: &Path,
    options: &Options,
    now: UnixMillis,
) -> Result<Connection, Error> {
    make_private(path)?;
    let mut connection = open(path, options)?;
    // Before anything writes: what is newer, foreign or damaged stays as it is.
    let version = version_of(&connection, path)?;
    if version > 0 {
        check_pages(&connection, path)?;
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    migrate(&mut connection, version, now)?;
    Ok(connection)
}

/// Only its owner may read the database, and what SQLite puts beside it, which takes after it.
fn make_private(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        // What is wrong with one that is there, opening it says.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::io(path, source)),
    }
}

/// Opens `path`, which [`open_writer`] has made ready, for reading only.
pub(crate) fn open_reader(path: &Path, options: &Options) -> Result<Connection, Error> {
    let connection = open(path, options)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, options: &Options) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_millis(options.busy_timeout_ms))?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// The schema's version: 0 for a new file.
fn version_of(connection: &Connection, path: &Path) -> Result<usize, Error> {
    let integer = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, version) = (integer("application_id")?, integer("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(Error::Foreign {
            path: path.to_owned(),
            found: application,
        });
    }
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(Error::TooNew {
            path: path.to_owned(),
            found: version.unsigned_abs(),
            known: u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX),
        }),
    }
}

fn migrate(connection: &mut Connection, from: usize, now: UnixMillis) -> Result<(), Error> {
    for (version, migration) in (1..).zip(MIGRATIONS).skip(from) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(migration)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
        tracing::info!(version, "brought the store's schema up to date");
    }
    // Written at every start: a directory that cannot be written to is found now, not later.
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('opened_at', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [to_sql(now.0)],
    )?;
    Ok(())
}

/// Looks over the tables without which nothing can be delivered. The large ones are left to be
/// found out when they are read: going over gigabytes would keep every start waiting.
fn check_pages(connection: &Connection, path: &Path) -> Result<(), Error> {
    for table in ["names", "lanes", "meta", "secrets"] {
        let mut what = None;
        connection.pragma(None, "quick_check", table, |row| {
            what = Some(row.get::<_, String>(0)?);
            Ok(())
        })?;
        match what {
            Some(what) if what != "ok" => {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                    what,
                });
            }
            _ => {}
        }
    }
    Ok(())
}
