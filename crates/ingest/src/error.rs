//! Why ingest does not start.

use std::io;

/// What keeps [`crate::start`] from starting. What clients do wrong is no error of ours: they get
/// an answer, and it is counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("option {name} is {value}: it must {must}")]
    Option {
        name: &'static str,
        value: usize,
        must: &'static str,
    },
    #[error("cannot {doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
    /// The log could not be read for the message ids of the last hours.
    #[error("cannot rebuild the window of message ids: {0}")]
    Log(#[from] eventlog::Error),
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
