//! What can go wrong, by what a caller can do about it.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the options of the scheduler: {0}")]
    Scheduler(#[from] scheduler::Error),
    #[error("extra certificate authorities, {}: {source}", path.display())]
    Certificates { path: PathBuf, source: io::Error },
    #[error("cannot start a thread: {0}; allow this user more threads or memory")]
    Thread(io::Error),
    #[error("there is no connection {0:?}; `fairlane lanes` lists them")]
    NoSuchConnection(String),
    #[error(
        "nothing to replay: {from} is not below {to} (0 is the oldest that is kept, \"start\" where \
         the connection began)"
    )]
    EmptyRange {
        from: model::Offset,
        to: model::Offset,
    },
    #[error("{0} replays are running already: wait until some are done, or cancel them")]
    TooManyReplays(usize),
    #[error("{0}")]
    Trial(String),
    #[error("the store: {0}")]
    Store(#[from] store::Error),
    #[error("the event log: {0}")]
    Log(#[from] eventlog::Error),
    /// Asked after shutdown began.
    #[error("delivery has ended")]
    Ended,
}
