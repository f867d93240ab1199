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
//! outage takes a second. Read [`Scenario`], then [`destination`], then [`world`].

use model::Failure;

use crate::options::Options;
use crate::policy::LanePolicy;
use crate::rng::Rng;

pub mod checker;
pub mod destination;
pub mod report;
mod stream;
mod world;

pub use checker::Violation;
pub use destination::{Fault, FaultKind, Model};
pub use report::{Delays, LaneReport, Report};

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
    /// Of so many fetches one fails.
    pub fetch_fails_one_in: Option<u64>,
    pub streams: Vec<StreamModel>,
    pub lanes: Vec<LaneModel>,
}

/// How events arrive at one source.
#[derive(Clone, Debug)]
pub struct StreamModel {
    pub events_per_s: f64,
    /// Events that are there when the simulation begins.
    pub events_at_once: u32,
    pub event_bytes_min: u32,
    pub event_bytes_max: u32,
    /// As many keys do the events have, at random; 0: none.
    pub keys: u32,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct LaneModel {
    /// Which of the scenario's streams.
    pub stream: usize,
    pub group: u32,
    pub policy: LanePolicy,
    pub destination: Model,
}

impl Scenario {
    /// A scenario with defaults for all but the streams and lanes.
    #[must_use]
    pub fn new(seed: u64, streams: Vec<StreamModel>, lanes: Vec<LaneModel>) -> Self {
        Self {
            seed,
            options: Options::default(),
            duration_us: 60_000_000,
            settle_us_max: 48 * 3_600_000_000,
            crashes_us: Vec::new(),
            restart_us: 1_000_000,
            flush_us: 20_000,
            commit_us: 5_000,
            fetch_fails_one_in: None,
            streams,
            lanes,
        }
    }

    /// Some lanes and streams with all kinds of faults and crashes, as the seed will have it:
    /// what the invariant test runs.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let duration_us = rng.between(20, 120) * 1_000_000;
        let streams: Vec<StreamModel> = (0..rng.between(1, 4))
            .map(|_| StreamModel::random(&mut rng))
            .collect();
        let lanes: Vec<LaneModel> = (0..rng.between(1, 8))
            .map(|_| LaneModel::random(streams.len(), duration_us, &mut rng))
            .collect();
        let mut crashes_us: Vec<u64> = (0..rng.between(0, 3))
            .map(|_| rng.between(0, duration_us))
            .collect();
        crashes_us.sort_unstable();
        let small = |rng: &mut Rng, low, high| u32::try_from(rng.between(low, high)).unwrap_or(1);
        let options = Options {
            in_flight_max: small(&mut rng, 1, 64),
            in_flight_bytes_max: rng.between(1_000, 1_000_000),
            group_percent: small(&mut rng, 10, 100),
            reserved_percent: small(&mut rng, 0, 50),
            idle_after_us: rng.between(0, 5_000_000),
            ..Options::default()
        };
        Self {
            options,
            duration_us,
            crashes_us,
            fetch_fails_one_in: Some(100),
            // A tiny window that poison events fill is stuck until they expire, again and again.
            settle_us_max: 30 * 86_400_000_000,
            ..Self::new(seed, streams, lanes)
        }
    }
}

impl StreamModel {
    /// Events of about a kilobyte at an even pace.
    #[must_use]
    pub fn steady(events_per_s: f64) -> Self {
        Self {
            events_per_s,
            events_at_once: 0,
            event_bytes_min: 500,
            event_bytes_max: 1_500,
            keys: 0,
        }
    }

    fn random(rng: &mut Rng) -> Self {
        let small = |rng: &mut Rng, high| u32::try_from(rng.between(0, high)).unwrap_or(0);
        Self {
            events_per_s: f64::from(small(rng, 30)),
            events_at_once: small(rng, 300),
            keys: small(rng, 40),
            ..Self::steady(1.0)
        }
    }
}

impl LaneModel {
    /// A lane of the stream with the default policy; it is a group of its own.
    #[must_use]
    pub fn of(stream: usize, group: u32, destination: Model) -> Self {
        Self {
            stream,
            group,
            policy: LanePolicy::default(),
            destination,
        }
    }

    fn random(streams: usize, duration_us: u64, rng: &mut Rng) -> Self {
        let small = |rng: &mut Rng, low, high| u32::try_from(rng.between(low, high)).unwrap_or(1);
        let last_stream = u64::try_from(streams).unwrap_or(1).saturating_sub(1);
        let stream = usize::try_from(rng.between(0, last_stream)).unwrap_or(0);
        let window_jobs_max = small(rng, 20, 400);
        let policy = LanePolicy {
            window_jobs_max,
            batch_events_max: if rng.chance(40) { small(rng, 2, 20) } else { 1 },
            batch_wait_us: if rng.chance(50) {
                rng.between(1_000, 2_000_000)
            } else {
                0
            },
            concurrency_max: small(rng, 1, 64),
            rate_limit_per_s: rng.chance(20).then(|| f64::from(small(rng, 1, 100))),
            expiry_us: rng.between(10, 14_400) * 1_000_000,
            recent_percent: small(rng, 0, 99),
            recent_us: rng.between(1, 20) * 1_000_000,
            ordered: rng.chance(30),
            one_way: rng.chance(5),
            ..LanePolicy::default()
        };
        let faults = (0..rng.between(0, 3))
            .map(|_| Fault::random(duration_us, rng))
            .collect();
        let destination = Model {
            latency_us_min: rng.between(100, 50_000),
            latency_us_max: rng.between(50_000, 500_000),
            poison_one_in: rng.chance(30).then(|| rng.between(20, 200)),
            refused_one_in: rng.chance(30).then(|| rng.between(2, 50)),
            filtered_one_in: rng.chance(30).then(|| rng.between(2, 50)),
            capacity_per_s: None,
            batch_partial: rng.chance(50),
            faults,
        };
        Self {
            stream,
            group: small(rng, 0, 3),
            policy,
            destination,
        }
    }
}

impl Fault {
    fn random(duration_us: u64, rng: &mut Rng) -> Self {
        let from_us = rng.between(0, duration_us);
        let until_us = from_us + rng.between(0, duration_us);
        let retry_after_s = rng.chance(50).then(|| rng.between(0, 5_000));
        let kind = match rng.between(0, 6) {
            0 => FaultKind::Hanging {
                timeout_us: 30_000_000,
            },
            1 => FaultKind::RateLimited {
                per_s: rng.between(1, 20),
                retry_after_s,
            },
            2 => FaultKind::Failing {
                percent: rng.between(1, 99),
                failure: Failure::Unavailable { retry_after_s },
            },
            3 => FaultKind::Failing {
                percent: rng.between(1, 99),
                failure: Failure::ServerError,
            },
            4 => FaultKind::Failing {
                percent: 100,
                failure: any_failure(rng),
            },
            5 => FaultKind::Failing {
                percent: rng.between(1, 100),
                failure: any_failure(rng),
            },
            _ => FaultKind::Failing {
                percent: 100,
                failure: Failure::Connect,
            },
        };
        Self {
            from_us,
            until_us,
            kind,
        }
    }
}

fn any_failure(rng: &mut Rng) -> Failure {
    match rng.between(0, 15) {
        0 => Failure::RateLimited {
            retry_after_s: None,
        },
        1 => Failure::Unavailable {
            retry_after_s: Some(1),
        },
        2 => Failure::ServerError,
        3 => Failure::TryAgain,
        4 => Failure::Conflict,
        5 => Failure::Connect,
        6 => Failure::ConnectTimeout,
        7 => Failure::Indeterminate,
        8 => Failure::Tls,
        9 => Failure::NoSuchHost,
        10 => Failure::Dns,
        11 => Failure::Unauthorized,
        12 => Failure::Forbidden,
        13 => Failure::NotFound,
        14 => Failure::Redirect,
        _ => Failure::BatchRefused { too_large: true },
    }
}

/// Runs a scenario to its end.
///
/// # Errors
/// The first promise that was broken, and when: a bug in the scheduler.
pub fn run(scenario: &Scenario) -> Result<Report, Violation> {
    world::World::new(scenario).run()
}
