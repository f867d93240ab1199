//! The small durable state that is not the log: the registry's numbers, lane progress, dead
//! letters, samples of attempts, counters a minute, and sealed secrets.
//!
//! ```text
//!   delivery's shards          admin, start-up, configuration
//!        | commit                  |  writes          | reads
//!        v  (bounded queue)        v                  v
//!   +---------------------------------------+   +-----------+
//!   | writer thread: the one connection     |   |  readers  |
//!   | that writes; one batch = one          |   | (a few    |
//!   | transaction                           |   | connections)
//!   +---------------------------------------+   +-----------+
//!        |                                            |
//!        v                                            v
//!   DIR/state.db  (SQLite, WAL)            DIR/names.txt (the numbers of names, a second time)
//! ```
//!
//! What survives: a commit is written with `synchronous=NORMAL`, one a second with `FULL`. A killed
//! process loses nothing of what was acknowledged; a power cut may take the commits of the last
//! second back, each whole, which costs repeated deliveries and never an event. Everything else that writes (names, lanes, secrets,
//! the registry) is on the disk when the call returns.
//!
//! Everything except [`Store::commit`] blocks: call it from a thread that may wait.
//!
//! Read [`batch`] first (what delivery hands in), then [`progress`], [`lanes`], [`dead_letters`],
//! then `commit`, `writer` and
//! [`Store`]. Secrets: [`key`] and `seal`.

pub mod batch;
mod clip;
mod commit;
pub mod dead_letters;
pub mod error;
pub mod key;
pub mod lanes;
pub mod minutes;
mod names;
mod number;
mod open;
pub mod options;
pub mod progress;
mod readers;
pub mod registry;
mod samples;
mod schema;
mod seal;
mod secrets;
pub mod store;
mod writer;

pub use batch::{
    Answer, AttemptSample, CommitBatch, DeadLetter, FinishedLane, Held, HeldLane, MinuteDelta,
    Redelivered,
};
pub use dead_letters::{
    DeadLetterCount, DeadLetterDetail, DeadLetterFilter, DeadLetterSelection, DeadLetterState,
    DeadLetterSummary,
};
pub use error::Error;
pub use key::KeySource;
pub use lanes::{LaneKind, LaneRow, NewLane, ReplayTerms};
pub use minutes::MinuteRow;
pub use options::Options;
pub use registry::{Recorded, RecordedRegistry};
pub use store::Store;
