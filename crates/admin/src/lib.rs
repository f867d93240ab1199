//! The management API: shows and steers what the other parts do, on a listener of its own.
//!
//! ```text
//!   browser, curl, `fairlane lanes`, Prometheus
//!              |
//!        server (connections, time limits)
//!              |
//!        access (who may: token, loopback, no cross-site writes)
//!              |
//!        routes (one table of paths) ----> metrics (one table of names)
//!              |                                |
//!        trait Control  <-----------------------+
//!              |
//!        the binary, over delivery, ingest, store and log
//! ```
//!
//! This crate knows no lane, no log and no store: it asks [`Control`], which the binary implements.
//! It runs on a thread of its own, so that a scrape never stands in front of an event.
//!
//! Read [`control`] first (what can be asked), then [`routes`] (how it is asked), [`access`] and
//! [`metrics`].

pub mod access;
mod answer;
pub mod control;
pub mod metrics;
pub mod routes;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use model::Secret;

pub use answer::Refusal;
pub use control::{Answer, Control, ControlError};
pub use server::{Admin, start};

/// What the management API is allowed to do, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bearer token that every request must carry, except those for `/health` and `/ready`.
    /// Default: none, and then only peers on this machine are served.
    pub token: Option<Secret>,
    /// Connections held open at once; more wait to be accepted. Default: 64.
    pub connections_max: usize,
    /// Time within which a client must have sent its request's head. Default: 10 s.
    pub header_timeout_ms: u64,
    /// Time within which a request must have been read and answered. Default: 30 s.
    pub request_timeout_ms: u64,
    /// Largest request body. Default: 1 MiB.
    pub body_bytes_max: usize,
    /// Most dead letters of one answer, and of one list of ids. Default: 1,000.
    pub dead_letters_page_max: usize,
    /// Most lanes of one answer. Default: 10,000.
    pub lanes_page_max: usize,
    /// Most lanes that `/metrics` shows one by one; the others are only counted. Default: 10,000.
    pub metrics_lanes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            connections_max: 64,
            header_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            body_bytes_max: 1024 * 1024,
            dead_letters_page_max: 1_000,
            lanes_page_max: 10_000,
            metrics_lanes_max: 10_000,
        }
    }
}

impl Options {
    fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// Why the management API did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Anyone on the network could steer this process.
    #[error(
        "the management API would listen on {0}, which other machines can reach, without a token: \
         set admin_token under [server] (or FAIRLANE__SERVER__ADMIN_TOKEN), or listen on 127.0.0.1"
    )]
    OpenToTheNetwork(SocketAddr),
    #[error(
        "the management API's token is empty or shorter than {min} bytes: use a long random one, such as that of `openssl rand -hex 32`"
    )]
    WeakToken { min: usize },
    #[error("the management API cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}
