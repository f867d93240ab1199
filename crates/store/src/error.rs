//! What can go wrong with the store, by what its caller can do.

use std::path::{Path, PathBuf};

use model::ConnectionId;
use rusqlite::ErrorCode;

use crate::batch::CommitBatch;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot write {path}: {why}; give it a directory that this user may write to",
        path = path.display()
    )]
    NotWritable { path: PathBuf, why: String },

    #[error(
        "{path} is damaged ({what}); restore it from a backup, or move {path} and its -wal and \
         -shm files away: lanes then begin again at the oldest retained record, so everything the \
         log retains is delivered again, and secrets must be set again",
        path = path.display()
    )]
    Damaged { path: PathBuf, what: String },

    #[error(
        "{path} disagrees with the database or cannot be read ({what}); restore {path} and \
         state.db from one backup: the log's records name their source by these numbers",
        path = path.display()
    )]
    NamesDamaged { path: PathBuf, what: String },

    #[error(
        "{path} is another program's database (application id {found:#010x}); choose another \
         directory, it was not touched",
        path = path.display()
    )]
    Foreign { path: PathBuf, found: i32 },

    #[error(
        "{path} has schema {found} and this program knows schemas up to {known}; run the newer \
         fairlane, the data was not touched",
        path = path.display()
    )]
    TooNew {
        path: PathBuf,
        found: u32,
        known: u32,
    },

    #[error(
        "the key from {read_from} is not the key that sealed this store's secrets; give the \
         right key"
    )]
    WrongKey { read_from: String },

    #[error(
        "the key from {read_from} is missing, and this store's secrets are sealed with it; restore \
         it from a backup"
    )]
    KeyMissing { read_from: String },

    #[error(
        "the key file {path} has mode {mode:o}, so that others can read it; run chmod 600 {path}",
        path = path.display()
    )]
    KeyExposed { path: PathBuf, mode: u32 },

    #[error(
        "the key from {read_from} is no key: give 32 random bytes as 64 hex digits or as base64"
    )]
    BadKey { read_from: String },

    #[error("the operating system gave no random bytes")]
    NoRandomness,

    #[error("a sealed value does not open: {kind} {name:?}, field {field:?}; set it again")]
    Unsealable {
        kind: &'static str,
        name: String,
        field: String,
    },

    #[error("connection {} has a live lane already; finish that one first", .0.0)]
    LaneExists(ConnectionId),

    #[error("{0:?} is no secret's name: use 1 to 128 of A-Z, a-z, 0-9, '_', '-', '.'")]
    BadSecretName(String),

    #[error("the secret has {bytes} bytes, at most {bytes_max} are kept")]
    SecretTooLarge { bytes: usize, bytes_max: usize },

    #[error("no space left for {path}; free some disk space", path = path.display())]
    Full { path: PathBuf },

    #[error(
        "{path} was held by another process for {waited_ms} ms; try again",
        path = path.display()
    )]
    Busy { path: PathBuf, waited_ms: u64 },

    #[error("{queue_max} batches wait for the writer already; hand the batch in again later")]
    Overloaded { queue_max: usize },

    /// The batch was not committed, no part of it. It comes back whole, to be handed in again.
    #[error("not committed: {cause}")]
    NotCommitted {
        cause: Box<Error>,
        batch: Box<CommitBatch>,
    },

    #[error("the store is closed: its writer has ended")]
    Closed,

    #[error("{path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },

    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory => Self::NotWritable {
                path,
                why: source.to_string(),
            },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    /// Turns what SQLite says into what a caller can do about it. `path` is the database's file.
    pub(crate) fn at(self, path: &Path, busy_timeout_ms: u64) -> Self {
        let Self::Sqlite(source) = self else {
            return self;
        };
        let path = path.to_owned();
        let damaged = matches!(
            source,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
        );
        if damaged {
            return Self::Damaged {
                path,
                what: source.to_string(),
            };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                what: source.to_string(),
            },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable {
                    path,
                    why: source.to_string(),
                }
            }
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy {
                path,
                waited_ms: busy_timeout_ms,
            },
            _ => Self::Sqlite(source),
        }
    }
}
