//! What can go wrong, by what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use model::Offset;

/// Why the log could not be opened, read or trimmed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the event log in {} is in use by another process: stop that one, or set another directory",
        .0.display()
    )]
    Locked(PathBuf),
    #[error("{} is not a directory: name one that the event log may use alone", .0.display())]
    NotADirectory(PathBuf),
    #[error(
        "cannot write in {}: make it writable for this user, or set another directory ({source})",
        path.display()
    )]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("option {name} is {value}: it must be {must}")]
    Option {
        name: &'static str,
        value: u64,
        must: &'static str,
    },
    #[error(
        "{} has format version {version}, this program reads up to {version_max}: \
         start a newer fairlane (the file is untouched)",
        path.display()
    )]
    TooNew {
        path: PathBuf,
        version: u32,
        version_max: u32,
    },
    /// The record's bytes are not what was written. Others are not affected.
    #[error("record {offset} is damaged (segment {segment}): it cannot be delivered")]
    Damaged { offset: Offset, segment: Offset },
    /// Retention has removed the record.
    #[error("the record was removed by retention: the first record kept is {first}")]
    Trimmed { first: Offset },
    /// Nobody has appended it yet.
    #[error("record {offset} does not exist yet: the log ends at {end}")]
    Beyond { offset: Offset, end: Offset },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was being done to which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// Why a batch was not appended. In every case none of its records was promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk, or the log's own byte limit, is full, and nothing settled can be removed.
    #[error("the event log is full: try again in {retry_after_s} s")]
    Full { retry_after_s: u32 },
    /// Too many bytes wait for durability already.
    #[error("the event log is overloaded: try again in {retry_after_s} s")]
    Overloaded { retry_after_s: u32 },
    /// The batch can never be appended: it is larger than a segment.
    #[error("a batch of {bytes} bytes is larger than a segment takes ({bytes_max} bytes)")]
    TooLarge { bytes: u64, bytes_max: u64 },
    /// A write or `fdatasync` failed; the process is about to end. The batch may or may not be
    /// found in the log afterwards.
    #[error("the event log failed to write: the process ends and restarts")]
    Failed,
    #[error("the event log is closed")]
    Closed,
}
