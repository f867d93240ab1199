//! Opening the store: each step refuses before it changes anything that it does not understand.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use model::UnixMillis;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::commit::Committer;
use crate::error::Error;
use crate::key::{Key, KeySource};
use crate::names;
use crate::names::file::NamesFile;
use crate::options::Options;
use crate::readers::Readers;
use crate::schema;
use crate::seal::{Place, Sealer};
use crate::writer::Writer;

/// What the handle stands for.
pub(crate) struct Opened {
    // Dropped in this order: the writer closes the database last, and who closes it last moves the
    // write-ahead file into it.
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) names: NamesFile,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) options: Options,
    /// Of the options at first; it may be changed while the store is open.
    pub(crate) dead_letters_bytes_max: Arc<AtomicU64>,
    /// The database's file.
    pub(crate) path: PathBuf,
}

const DATABASE: &str = "state.db";
const NAMES: &str = "names.txt";

/// Whether a store was ever made in `dir`. What cannot be looked at is taken to be there, so that
/// opening it says why.
pub(crate) fn exists_in(dir: &Path) -> bool {
    [DATABASE, NAMES]
        .iter()
        .any(|file| dir.join(file).try_exists().unwrap_or(true))
}

/// Opens what is in `options.dir`, or makes it.
pub(crate) fn open(options: Options, now: UnixMillis) -> Result<Opened, Error> {
    let options = options.within_limits();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(&options.dir)
        .map_err(|source| Error::io(&options.dir, source))?;
    let path = options.dir.join(DATABASE);
    let busy_timeout_ms = options.busy_timeout_ms;
    let opened = open_file(options, path.clone(), now);
    opened.map_err(|error| error.at(&path, busy_timeout_ms))
}

fn open_file(options: Options, path: PathBuf, now: UnixMillis) -> Result<Opened, Error> {
    let names_path = options.dir.join(NAMES);
    refuse_emptied(&path, &names_path)?;
    let key = options.key.load()?;
    let mut connection = schema::open_writer(&path, &options, now)?;
    connection.pragma_update(None, "synchronous", "full")?;
    let sealer = Arc::new(sealer_of(&connection, &options.key, key)?);
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let names = names::reconcile(&tx, &names_path)?;
    tx.commit()?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let readers: Result<Vec<Connection>, Error> = (0..options.readers)
        .map(|_| schema::open_reader(&path, &options))
        .collect();
    let bytes_max = Arc::new(AtomicU64::new(options.dead_letters_bytes_max));
    let committer = Committer::new(&connection, &options, Arc::clone(&bytes_max))?;
    let writer = Writer::start(connection, committer, path.clone(), &options)?;
    tracing::info!(path = %path.display(), "opened the store");
    Ok(Opened {
        readers: Readers::new(readers?),
        writer,
        names,
        sealer,
        options,
        dead_letters_bytes_max: bytes_max,
        path,
    })
}

/// SQLite takes an empty file for a new database. Where names were given numbers already it is
/// none: something emptied it, and nobody may find that out by repeated deliveries.
fn refuse_emptied(path: &Path, names_path: &Path) -> Result<(), Error> {
    let bytes = |path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    if bytes(path) == Some(0) && bytes(names_path).is_some_and(|bytes| bytes > 0) {
        return Err(Error::Damaged {
            path: path.to_owned(),
            what: "it is empty".to_owned(),
        });
    }
    Ok(())
}

/// The value that shows whether the key is the right one.
const KEY_CHECK: Place<'static> = Place {
    kind: "key",
    name: "check",
    field: "value",
};

/// The sealer for this database's key, which is generated if nothing was sealed yet.
fn sealer_of(
    connection: &Connection,
    source: &KeySource,
    key: Option<Key>,
) -> Result<Sealer, Error> {
    let check: Option<Vec<u8>> = connection
        .query_row(
            "SELECT value FROM meta WHERE name = 'key_check'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    match (check, key) {
        (Some(check), Some(key)) => {
            let sealer = Sealer::new(&key);
            match sealer.open(KEY_CHECK, &check) {
                Ok(_) => Ok(sealer),
                Err(_) => Err(Error::WrongKey {
                    read_from: source.describe(),
                }),
            }
        }
        (Some(_), None) => Err(Error::KeyMissing {
            read_from: source.describe(),
        }),
        (None, key) => {
            let sealer = Sealer::new(&key.map_or_else(|| source.generate(), Ok)?);
            let check = sealer.seal(KEY_CHECK, b"fairlane")?;
            connection.execute(
                "INSERT INTO meta (name, value) VALUES ('key_check', ?1)",
                [check],
            )?;
            Ok(sealer)
        }
    }
}
