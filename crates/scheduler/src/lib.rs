//! Which job may run now: a pure state machine, `Input + now -> Actions`.
//!
//! ```text
//!   log grew ----+                                            +--> Fetch offsets
//!   fetched -----+   +---------- Scheduler ----------------+  +--> Start an attempt
//!   finished ----+-->| lane: window  breaker  concurrency  |--+--> Settled (outcome)
//!   hold, resume +   | lane: ...     retries  rate         |  +--> StateChanged
//!   timer due ---+   | turns: who goes next  wakes: when   |  +--> Completed
//!                    +-------------------------------------+
//!                        |                      |
//!                   take_progress()         next_wake()
//! ```
//!
//! It performs no I/O, reads no clock and draws no randomness but from its own seed: equal inputs
//! give equal actions, so the same code runs in production and, in virtual time, in
//! [`simulation`]. A lane holds offsets, never bodies: an idle lane costs less than 300 bytes, a
//! busy one less than a kilobyte, a job in a window 24 (and 16 more while it waits for a retry).
//!
//! Reading order: [`Input`] and [`Action`]; [`LanePolicy`] and [`Options`] for every setting and
//! its default; `lane` for the decision of one lane, with `windows` and `window` (what it knows of its jobs),
//! `verdict` (what a failure leads to), `breaker`, `concurrency`, `rate` and `backoff`; `turns` for
//! fairness among lanes; [`Scheduler`] last, which joins them. `docs/internals/scheduler.md` draws
//! the states and names each algorithm's source.

mod action;
mod backoff;
mod breaker;
mod concurrency;
mod error;
mod flights;
mod hash;
mod input;
mod lane;
mod options;
mod policy;
mod queues;
mod rate;
pub mod rng;
mod scheduler;
pub mod simulation;
mod turns;
mod verdict;
mod view;
mod wakes;
mod window;
mod windows;

pub use action::{Action, Job, JobList};
pub use error::Error;
pub use input::{Fetch, Input, Key, Results, StreamKey};
pub use options::Options;
pub use policy::LanePolicy;
pub use scheduler::Scheduler;
pub use view::{LaneView, Load};
