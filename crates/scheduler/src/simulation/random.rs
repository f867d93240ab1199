//! Scenarios as a seed will have them: what the invariant test runs.

use std::sync::Arc;

use model::Failure;

use super::{Fault, FaultKind, LaneModel, Model, Scenario, StreamModel};
use crate::options::Options;
use crate::policy::LanePolicy;
use crate::rng::Rng;

impl Scenario {
    /// Some lanes and streams with all kinds of faults and crashes.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let duration_us = rng.between(20, 120) * 1_000_000;
        let streams: Vec<StreamModel> = (0..rng.between(1, 4))
            .map(|_| StreamModel::random(&mut rng))
            .collect();
        let mut destinations = Vec::new();
        let lanes: Vec<LaneModel> = (0..rng.between(1, 8))
            .map(|_| LaneModel::random(streams.len(), &mut destinations, duration_us, &mut rng))
            .collect();
        let mut crashes_us: Vec<u64> = (0..rng.between(0, 3))
            .map(|_| rng.between(0, duration_us))
            .collect();
        crashes_us.sort_unstable();
        let options = Options {
            in_flight_max: small(&mut rng, 1, 64),
            in_flight_bytes_max: rng.between(1_000, 1_000_000),
            group_percent: small(&mut rng, 10, 100),
            reserved_percent: small(&mut rng, 0, 50),
            idle_after_us: rng.between(0, 5_000_000),
            queue_jobs_max: small(&mut rng, 10, 500),
            queue_in_flight_max: small(&mut rng, 1, 16),
            ..Options::default()
        };
        Self {
            options,
            duration_us,
            crashes_us,
            fetch_fails_one_in: Some(100),
            growth_us: rng.between(0, 1) * rng.between(0, 200_000),
            // A tiny window that poison events fill is stuck until they expire, again and again.
            settle_us_max: 30 * 86_400_000_000,
            ..Self::new(seed, streams, destinations, lanes)
        }
    }
}

fn small(rng: &mut Rng, low: u64, high: u64) -> u32 {
    u32::try_from(rng.between(low, high)).unwrap_or(1)
}

impl StreamModel {
    fn random(rng: &mut Rng) -> Self {
        let steady = Self {
            offsets_apart: rng.between(1, 4),
            keys: small(rng, 0, 40),
            ..Self::steady(f64::from(small(rng, 0, 30)))
        };
        steady.with_burst(0, rng.between(0, 300))
    }
}

impl LaneModel {
    /// Mostly to a destination of its own, which is added.
    fn random(
        streams: usize,
        destinations: &mut Vec<Model>,
        duration_us: u64,
        rng: &mut Rng,
    ) -> Self {
        let index = |rng: &mut Rng, len: usize| {
            let last = u64::try_from(len).unwrap_or(1).saturating_sub(1);
            usize::try_from(rng.between(0, last)).unwrap_or(0)
        };
        let stream = index(rng, streams);
        let destination = if destinations.is_empty() || rng.chance(75) {
            destinations.push(Model::random(duration_us, rng));
            destinations.len() - 1
        } else {
            index(rng, destinations.len())
        };
        let policy = LanePolicy {
            window_jobs_max: small(rng, 20, 400),
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
        Self {
            group: small(rng, 0, 3),
            queue: rng.chance(15).then(|| small(rng, 0, 1)),
            policy: Arc::new(policy),
            ..Self::of(stream, 0, destination)
        }
    }
}

impl Model {
    fn random(duration_us: u64, rng: &mut Rng) -> Self {
        let faults = (0..rng.between(0, 3))
            .map(|_| Fault::random(duration_us, rng))
            .collect();
        Self {
            poison_one_in: rng.chance(30).then(|| rng.between(20, 200)),
            refused_one_in: rng.chance(30).then(|| rng.between(2, 50)),
            filtered_one_in: rng.chance(30).then(|| rng.between(2, 50)),
            capacity_per_s: rng.chance(20).then(|| rng.between(5, 100)),
            batch_partial: rng.chance(50),
            faults,
            ..Self::healthy(rng.between(100, 50_000), rng.between(50_000, 500_000))
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
