//! HTTP in: Segment's tracking API, in front of the event log.
//!
//! ```text
//!   SDK --> [server] connection, limits      one of a few threads, from first byte to answer
//!              |
//!           [handler] route, write key, rate
//!              |        200 only when durable
//!           [body] receive, unpack
//!              |
//!           [json] -> [envelope] -> [event]  one pass, no tree: spans in, canonical bytes out
//!              |
//!           [dedup] claim message ids
//!              |
//!           [commit] ----> event log (fdatasync) ----> settle claims, answer
//! ```
//!
//! What a client may rely on, and what of it is our own choice where the API's contract is silent:
//!
//! - 200 means that every event of the request is durable, a duplicate, or discarded and counted
//!   ([`Discard`]). As on the public API, an unknown, missing or disabled write key is no error.
//! - 413 for a body that is too large as sent, unpacked or merged; 400 for a single event over
//!   32 KiB, for what is not JSON, and for a batch without `batch`. SDKs drop events on these.
//! - 429 and 503 always carry Retry-After, and none of the request's events was taken.
//! - Inside a batch, an event that breaks the contract is discarded alone; a batch of more than
//!   2,500 events is discarded whole.
//! - Of equal keys in one object the last one counts. Half of a surrogate pair becomes U+FFFD.
//! - A message id longer than 100 characters is kept. One that is missing is assigned.
//! - A header's write key counts before the body's; one that is unknown falls back to the body's.
//!
//! Read `handler` first (one request from top to bottom), then `event` (what is kept),
//! `dedup` and `commit` (why nothing is doubled), `watch` and `admission` (what a hostile client
//! can hold), and `server` last.

mod admission;
mod answer;
mod body;
mod client;
mod clock;
mod commit;
mod dedup;
mod envelope;
mod error;
mod event;
mod handler;
mod intake;
mod json;
mod limiter;
mod notice;
mod options;
mod overload;
mod pixel;
mod rfc3339;
mod route;
mod server;
mod settings;
mod sources;
mod stats;
mod watch;

pub use clock::{Clock, system_clock};
pub use envelope::{BodyError, BodyKind};
pub use error::Error;
pub use intake::preview;
pub use json::{JsonError, Why};
pub use options::Options;
pub use route::{EventType, Label};
pub use server::{Ingest, start};
pub use sources::SourceTable;
pub use stats::{AckLatency, Cut, Discard, IngestStats, STATUSES};
