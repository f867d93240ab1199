//! The words that two or more crates speak.
//!
//! ```text
//!   source --- stream of records ---> lane (one per connection) ---> destination
//!      |                                |
//!   write key                        jobs: one event for one connection,
//!                                    each ends in exactly one outcome
//! ```
//!
//! Nothing here does anything: no clocks, no files, no sockets. Read [`id`] first, then
//! [`registry`], [`outcome`] and [`lane`].

pub mod id;
pub mod lane;
pub mod limits;
pub mod outcome;
pub mod registry;
pub mod secret;
pub mod time;

pub use id::{AttemptId, ConnectionId, DestinationId, LaneId, Name, Offset, Position, SourceId};
pub use lane::{LaneProgress, LaneState, OutcomeCounts, ParkedJob, SettledSpan};
pub use outcome::{Failure, FilterReason, HoldReason, JobResult, Outcome, RejectReason};
pub use registry::{Connection, Destination, Ordering, Policy, Registry, Settings, Source};
pub use secret::Secret;
pub use time::{MonoMicros, UnixMillis};
