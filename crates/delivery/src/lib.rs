//! Jobs out: feeds the scheduler, fetches events, turns them into requests, sends them, settles.
//!
//! ```text
//!   Delivery (handle, any thread)
//!      | commands                       a shard: one thread, no locks
//!      v                   +----------------------------------------------------+
//!   event log --growth---> | scheduler -> fetch, start, settle                  |
//!   event log <--read----- |    | start                                         |
//!   catalog  <--transform- |    v                                               |
//!                          | attempt -> senders (egress guard) ----> destination|
//!                          |    | done                                          |
//!                          |    v                                               |
//!   store    <--commit---- | ledger: progress, dead letters, samples, counters  |
//!                          +----------------------------------------------------+
//! ```
//!
//! The scheduler decides, and this crate does. Nothing of what it does blocks another lane: a
//! destination that hangs costs its own slots. No socket is opened that the egress guard has not
//! judged.
//!
//! Reading order: [`delivery`] (the handle), then `shard` and its parts, `attempt`, `tokens`, `senders`, `ledger`;
//! [`http`] stands apart and knows nothing of lanes; [`trial`] sends without one.

mod answer;
mod attempt;
mod clock;
pub mod delivery;
pub mod error;
pub mod http;
mod lane;
mod ledger;
mod message_id;
pub mod options;
mod plan;
mod retention;
pub mod senders;
mod shard;
mod tokens;
pub mod trial;

pub use delivery::{ApplyReport, Balance, Delivery, start};
pub use error::Error;
pub use http::egress::EgressPolicy;
pub use options::{ATTEMPT_TIMEOUT_MS, Options, Queues};
