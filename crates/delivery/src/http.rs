//! The sender that carries almost everything: HTTP/1.1 over Fairlane's own pool of connections.
//!
//! ```text
//!   strings of a definition -> request -> pool: an idle connection of this destination
//!                                           | none
//!                                           v
//!                             resolver -> egress guard -> dial (TCP, TLS) -> egress guard
//!                                           |
//!                                           v
//!                                         send -> answer, or how it failed
//! ```
//!
//! Read [`egress`] first: no socket is opened that it has not judged. Then [`request`], [`pool`],
//! [`dial`] and [`send`]. All of it lives on one shard's thread and holds no lock.

pub mod dial;
pub mod egress;
pub mod pool;
pub mod request;
pub mod resolver;
pub mod send;

use model::Failure;

/// An attempt that got no usable answer: which line of the classification table it is, and what a
/// person needs to know. Never holds a URL's path or query, or a header: they may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub failure: Failure,
    pub detail: String,
}

impl Failed {
    #[must_use]
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self {
            failure,
            detail: detail.into(),
        }
    }

    /// An I/O error before or while connecting.
    #[must_use]
    pub fn connecting(error: &std::io::Error, to: &str) -> Self {
        let failure = if is_our_fault(error) {
            Failure::Ours
        } else if error.kind() == std::io::ErrorKind::TimedOut {
            Failure::ConnectTimeout
        } else {
            Failure::Connect
        };
        Self::new(failure, format!("connecting to {to}: {error}"))
    }
}

/// No file descriptor, memory, buffer or local port left: nothing that the destination did.
#[must_use]
pub fn is_our_fault(error: &std::io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    matches!(
        error.raw_os_error(),
        Some(ENOMEM | ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS)
    )
}
