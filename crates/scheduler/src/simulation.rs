//! The very scheduler under virtual time: modelled streams, destinations, store and crashes.
//!
//! ```text
//!   Scenario --> World: arrivals --> streams --> Scheduler --> destinations (models)
//!                          ^                        |  ^            |
//!                       crashes <--- saved progress +  +-- results -+
//!                                        |
//!                                     Checker: conservation, cursors, windows, limits
//! ```
//!
//! A scenario and its seed determine every step. The [`checker`] holds the promises of the
//! delivery engine at each of them: every job ends once in each life of the process and is never
//! lost across lives, no cursor passes an unsettled job, windows and slots stay bounded. A day of
//! outage takes a second. Records are counted, not kept, so a hundred million of them fit. Read
//! [`Scenario`], then [`destination`], then [`world`].

use std::sync::Arc;

use crate::options::Options;
use crate::policy::LanePolicy;

pub mod checker;
pub mod destination;
mod events;
mod random;
pub mod report;
mod stream;
mod world;

pub use checker::Violation;
pub use destination::{Fault, FaultKind, Model};
pub use report::{CohortReport, Delays, LaneReport, Report, Series};

/// All that determines a simulation.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub options: Options,
    /// Events arrive, and the process may crash, for this long; then arrivals stop and held lanes
    /// are resumed, once a minute.
    pub duration_us: u64,
    /// Everything must be settled within this time after that.
    pub settle_us_max: u64,
    /// When the process is killed; it is back after `restart_us`.
    pub crashes_us: Vec<u64>,
    pub restart_us: u64,
    /// How often progress is taken, and how long it takes to be durable.
    pub flush_us: u64,
    pub commit_us: u64,
    /// The log tells of a stream's growth at most so often. 0: of each record.
    pub growth_us: u64,
    /// Of so many fetches one fails.
    pub fetch_fails_one_in: Option<u64>,
    /// How long the slots are by which the report says what happened when.
    pub slot_us: u64,
    pub streams: Vec<StreamModel>,
    pub destinations: Vec<Model>,
    pub lanes: Vec<LaneModel>,
}

/// How events arrive at one source.
#[derive(Clone, Debug)]
pub struct StreamModel {
    pub events_per_s: f64,
    /// Events that come at once, beside those.
    pub bursts: Vec<Burst>,
    pub event_bytes_min: u32,
    pub event_bytes_max: u32,
    /// As many keys do the events have, at random; 0: none.
    pub keys: u32,
    /// Offsets count the records of all streams: one record of this stream is among so many.
    pub offsets_apart: u64,
}

/// Many events at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub at_us: u64,
    pub events: u64,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct LaneModel {
    /// Which of the scenario's streams.
    pub stream: usize,
    /// Which of its destinations; lanes may share one.
    pub destination: usize,
    pub group: u32,
    /// The queue that it shares; `None`: it is its own.
    pub queue: Option<u32>,
    /// Lanes that the report looks at together.
    pub cohort: usize,
    pub policy: Arc<LanePolicy>,
}

impl Scenario {
    /// A scenario with defaults for all but what takes part in it.
    #[must_use]
    pub fn new(
        seed: u64,
        streams: Vec<StreamModel>,
        destinations: Vec<Model>,
        lanes: Vec<LaneModel>,
    ) -> Self {
        Self {
            seed,
            options: Options::default(),
            duration_us: 60_000_000,
            settle_us_max: 48 * 3_600_000_000,
            crashes_us: Vec::new(),
            restart_us: 1_000_000,
            flush_us: 20_000,
            commit_us: 5_000,
            growth_us: 0,
            fetch_fails_one_in: None,
            slot_us: 60_000_000,
            streams,
            destinations,
            lanes,
        }
    }
}

impl StreamModel {
    /// Events of about a kilobyte at an even pace.
    #[must_use]
    pub fn steady(events_per_s: f64) -> Self {
        Self {
            events_per_s,
            bursts: Vec::new(),
            event_bytes_min: 500,
            event_bytes_max: 1_500,
            keys: 0,
            offsets_apart: 1,
        }
    }

    #[must_use]
    pub fn with_burst(mut self, at_us: u64, events: u64) -> Self {
        self.bursts.push(Burst { at_us, events });
        self
    }
}

impl LaneModel {
    /// A lane from the stream to the destination with the default policy. Its cohort is that of
    /// all lanes to this destination.
    #[must_use]
    pub fn of(stream: usize, group: u32, destination: usize) -> Self {
        Self {
            stream,
            destination,
            group,
            queue: None,
            cohort: destination,
            policy: Arc::default(),
        }
    }

    /// The same lane with a policy that differs so from what it has.
    #[must_use]
    pub fn with_policy(mut self, change: impl FnOnce(&mut LanePolicy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

/// Runs a scenario to its end.
///
/// # Errors
/// The first promise that was broken, and when: a bug in the scheduler.
pub fn run(scenario: &Scenario) -> Result<Report, Violation> {
    world::World::new(scenario).run()
}
