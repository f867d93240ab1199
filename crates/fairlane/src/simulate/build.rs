//! Makes the scenario that runs out of what a file says: every source, destination and lane of it.

use std::sync::Arc;

use scheduler::rng::mix;
use scheduler::simulation::{Burst, Fault, FaultKind, LaneModel, Model, Scenario, StreamModel};

use super::file::{DestinationSet, LaneSet, Plan, SourceSet, float};

/// Which lanes share a queue: the three designs of this field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queues {
    /// Each connection has its own: lanes.
    Connection,
    /// All connections to a destination share one.
    Destination,
    /// All share one.
    Shared,
}

impl Queues {
    pub const ALL: [(&'static str, Self); 3] = [
        ("shared", Self::Shared),
        ("destination", Self::Destination),
        ("connection", Self::Connection),
    ];

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Connection => "a lane for each connection",
            Self::Destination => "one queue for each destination",
            Self::Shared => "one shared queue",
        }
    }

    fn of(self, destination: usize) -> Option<u32> {
        match self {
            Self::Connection => None,
            Self::Destination => u32::try_from(destination).ok(),
            Self::Shared => Some(0),
        }
    }
}

/// A scenario and what its numbers stand for.
pub struct Built {
    pub scenario: Scenario,
    pub cohorts: Vec<Cohort>,
}

/// Lanes that the report looks at together.
#[derive(Clone, Debug)]
pub struct Cohort {
    pub name: String,
    pub lanes: u64,
    pub events_per_s: f64,
    /// Of all its destinations together, where each has one.
    pub capacity_per_s: Option<f64>,
    /// When the last fault of its destinations is over.
    pub mended_us: u64,
}

/// Slots of a chart, where the file does not say.
const SLOTS: u64 = 240;

/// `scale`: there are so many times fewer sources, destinations and lanes, or, where there is only
/// one, so many times fewer events a second and as much less capacity.
pub fn build(plan: &Plan, seed: u64, scale: u64) -> Built {
    let mut streams = Vec::new();
    let mut first_stream = Vec::new();
    for set in &plan.sources {
        first_stream.push(streams.len());
        streams.extend(sources(set, scale));
    }
    let mut destinations = Vec::new();
    let mut first_destination = Vec::new();
    for (salt, set) in (1..).zip(&plan.destinations) {
        first_destination.push(destinations.len());
        destinations.extend(all_of(set, plan.duration_us, scale, mix(seed ^ salt)));
    }
    let mut lanes = Vec::new();
    let mut cohorts = Vec::new();
    for (number, set) in plan.lanes.iter().enumerate() {
        let (Some(from), Some(to)) = (
            plan.sources.get(set.sources),
            plan.destinations.get(set.destinations),
        ) else {
            continue;
        };
        let first = |starts: &[usize], set: usize| starts.get(set).copied().unwrap_or(0);
        let (stream, destination) = (
            first(&first_stream, set.sources),
            first(&first_destination, set.destinations),
        );
        let (from, to) = (Part::of(from.count, scale), Part::of(to.count, scale));
        let cohort = Places {
            number,
            stream,
            destination,
            from,
            to,
            queues: plan.queues,
        };
        let before = lanes.len();
        lanes.extend(cohort.lanes(set));
        let count = u64::try_from(lanes.len() - before).unwrap_or(u64::MAX);
        cohorts.push(describe(plan, set, count, scale));
    }
    let scenario = Scenario {
        options: plan.options.clone(),
        duration_us: plan.duration_us,
        settle_us_max: plan.settle_us_max,
        crashes_us: plan.process.crashes_us.clone(),
        restart_us: plan.process.restart_us,
        flush_us: plan.process.flush_us,
        commit_us: plan.process.commit_us,
        growth_us: plan.process.growth_us,
        fetch_fails_one_in: plan.process.fetch_fails_one_in,
        slot_us: plan
            .slot_us
            .unwrap_or((plan.duration_us / SLOTS).max(1_000)),
        ..Scenario::new(seed, streams, destinations, lanes)
    };
    Built { scenario, cohorts }
}

/// What is left of a number of things at a scale: fewer, or less of each, or both.
#[derive(Clone, Copy)]
struct Part {
    count: u64,
    /// Of what each would have at full size.
    of_each: f64,
}

impl Part {
    fn of(count: u64, scale: u64) -> Self {
        let left = (count / scale).max(1);
        Self {
            count: left,
            of_each: float(count) / float(scale) / float(left),
        }
    }

    /// So many for each of them; at least one where there was any.
    fn events(&self, events: u64) -> u64 {
        // One microsecond stands for one event: that is how a float becomes a whole number.
        let whole = std::time::Duration::from_micros(events).mul_f64(self.of_each);
        u64::try_from(whole.as_micros())
            .unwrap_or(u64::MAX)
            .max(events.min(1))
    }
}

fn sources(set: &SourceSet, scale: u64) -> Vec<StreamModel> {
    let part = Part::of(set.count, scale);
    let weight = |rank: u64| float(rank).powf(-set.skew);
    let all: f64 = (1..=part.count).map(weight).sum();
    let model = |rank| StreamModel {
        events_per_s: set.events_per_s / float(scale) * weight(rank) / all,
        bursts: set
            .model
            .bursts
            .iter()
            .map(|burst| Burst {
                events: part.events(burst.events),
                ..*burst
            })
            .collect(),
        ..set.model.clone()
    };
    (1..=part.count).map(model).collect()
}

fn all_of(set: &DestinationSet, duration_us: u64, scale: u64, salt: u64) -> Vec<Model> {
    let part = Part::of(set.count, scale);
    let mut models = Vec::new();
    for number in 0..part.count {
        let mut model = set.model.clone();
        model.capacity_per_s = model.capacity_per_s.map(|per_s| part.events(per_s));
        for faults in &set.faults {
            let fault = Fault {
                kind: shrunk(&faults.fault.kind, part),
                ..faults.fault.clone()
            };
            match faults.rolling {
                None => model.faults.push(fault),
                Some(rolling) => {
                    // Each has its own beginnings, so that they do not all change at once.
                    let own = mix(salt ^ mix(number));
                    let until_us = fault.until_us.min(duration_us);
                    let first_us = fault.from_us + own % rolling.lasts_us;
                    let turns = (first_us..until_us)
                        .step_by(usize::try_from(rolling.lasts_us).unwrap_or(usize::MAX));
                    for (turn, from_us) in (1..).zip(turns) {
                        let fails = mix(own ^ mix(turn)) % set.count < rolling.at_once;
                        if fails {
                            let until_us = until_us.min(from_us + rolling.lasts_us);
                            model.faults.push(Fault {
                                from_us,
                                until_us,
                                ..fault.clone()
                            });
                        }
                    }
                }
            }
        }
        models.push(model);
    }
    models
}

fn shrunk(kind: &FaultKind, part: Part) -> FaultKind {
    match kind {
        FaultKind::RateLimited {
            per_s,
            retry_after_s,
        } => FaultKind::RateLimited {
            per_s: part.events(*per_s),
            retry_after_s: *retry_after_s,
        },
        other => other.clone(),
    }
}

/// Where a cohort's sources and destinations stand among all.
struct Places {
    number: usize,
    stream: usize,
    destination: usize,
    from: Part,
    to: Part,
    queues: Queues,
}

impl Places {
    /// Each source has its destinations in turn.
    fn lanes(&self, set: &LaneSet) -> Vec<LaneModel> {
        let mut policy = Arc::clone(&set.policy);
        if let Some(per_s) = policy.rate_limit_per_s {
            Arc::make_mut(&mut policy).rate_limit_per_s = Some(per_s * self.from.of_each);
        }
        let lanes = self.from.count * set.per_source;
        let lane = |number: u64| {
            let source = number / set.per_source;
            let place = |first: usize, number: u64| first + usize::try_from(number).unwrap_or(0);
            let destination = place(self.destination, number % self.to.count);
            LaneModel {
                stream: place(self.stream, source),
                destination,
                queue: self.queues.of(destination),
                group: u32::try_from(place(self.stream, source)).unwrap_or(0),
                cohort: self.number,
                policy: Arc::clone(&policy),
            }
        };
        (0..lanes).map(lane).collect()
    }
}

fn describe(plan: &Plan, set: &LaneSet, lanes: u64, scale: u64) -> Cohort {
    let source = plan.sources.get(set.sources);
    let destination = plan.destinations.get(set.destinations);
    let per_s = source.map_or(0.0, |source| source.events_per_s) / float(scale);
    let capacity =
        destination.and_then(|to| Some(float(to.model.capacity_per_s?) * float(to.count)));
    let ends = destination
        .into_iter()
        .flat_map(|to| &to.faults)
        .map(|set| set.fault.until_us);
    Cohort {
        name: set.name.clone(),
        lanes,
        events_per_s: per_s * float(set.per_source),
        capacity_per_s: capacity.map(|capacity| capacity / float(scale)),
        mended_us: ends.max().unwrap_or(0).min(plan.duration_us),
    }
}
