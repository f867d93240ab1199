//! The event loop of a simulation: virtual time jumps from one event to the next.

use std::sync::Arc;

use model::{AttemptId, LaneId, LaneProgress, MonoMicros, Offset};

use super::checker::{Bucket, Checker, Violation};
use super::destination::Destination;
use super::events::{Event, Events};
use super::report::{CohortReport, LaneReport, Report, Series};
use super::stream::Stream;
use super::{LaneModel, Scenario};
use crate::action::{Action, JobList};
use crate::hash::Map;
use crate::input::{Input, Results, StreamKey};
use crate::rng::{Rng, mix};
use crate::scheduler::Scheduler;

mod act;

pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    scheduler: Scheduler,
    rng: Rng,
    now: u64,
    events: Events,
    /// Events of an earlier life of the process are void.
    life: u64,
    alive: bool,
    streams: Vec<Followed>,
    destinations: Vec<Destination>,
    lanes: Vec<Lane<'a>>,
    cohorts: Vec<Cohort>,
    /// Jobs that have come and never ended.
    open: u64,
    under_way: Map<u64, UnderWay>,
    bytes_under_way: u64,
    /// Progress will be taken, as something has happened since it last was.
    flushing: bool,
    /// Kept between steps for its memory.
    actions: Vec<Action>,
    report: Report,
}

/// A stream, and how many lanes of each cohort follow it.
struct Followed {
    stream: Stream,
    cohorts: Vec<(usize, u64)>,
}

struct Lane<'a> {
    model: &'a LaneModel,
    checker: Checker,
    saved: LaneProgress,
    report: LaneReport,
    in_flight: u32,
    rate: Option<Bucket>,
}

struct Cohort {
    report: CohortReport,
    /// A backlog of so many jobs is none.
    calm_below: u64,
}

struct UnderWay {
    lane: usize,
    jobs: JobList,
    bytes: u64,
    began: u64,
}

const MINUTE_US: u64 = 60_000_000;
/// What arrives in this time is no backlog.
const CALM_S: f64 = 2.0;

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let lanes = (0..).zip(&scenario.lanes);
        let mut world = Self {
            scenario,
            scheduler: Scheduler::new(scenario.options.clone(), scenario.seed),
            rng: Rng::new(scenario.seed ^ 0x5eed),
            now: 1,
            events: Events::default(),
            life: 0,
            alive: true,
            streams: followed(scenario),
            destinations: scenario
                .destinations
                .iter()
                .cloned()
                .map(Destination::new)
                .collect(),
            lanes: lanes
                .map(|(id, model)| Lane::new(LaneId(id), model))
                .collect(),
            cohorts: cohorts(scenario),
            open: 0,
            under_way: Map::default(),
            bytes_under_way: 0,
            flushing: false,
            actions: Vec::new(),
            report: Report::default(),
        };
        for stream in 0..world.streams.len() {
            world.grow(stream);
            world.next_arrival(stream);
        }
        for at in &scenario.crashes_us {
            world.events.add(*at, Event::Crash);
        }
        world.events.add(scenario.duration_us, Event::Mend);
        world
    }

    pub(crate) fn run(mut self) -> Result<Report, Violation> {
        self.begin_life(false)?;
        let end = self.scenario.duration_us + self.scenario.settle_us_max;
        // Until arrivals are over and every job of every lane has ended.
        while self.now < self.scenario.duration_us || self.open > 0 {
            let wake = self.scheduler.next_wake().filter(|_| self.alive);
            let event = self.events.next_us();
            match wake {
                Some(wake) if event.is_none_or(|at| wake.0 <= at) => {
                    self.now = self.now.max(wake.0);
                    self.step(Input::TimerDue)?;
                }
                _ => {
                    let Some((at, event)) = self.events.pop() else {
                        return Err(self.violation("nothing happens any more".to_owned()));
                    };
                    self.now = self.now.max(at);
                    self.happen(event)?;
                }
            }
            if self.now > end {
                return Err(self.unsettled());
            }
        }
        self.take_progress()?;
        Ok(self.finish())
    }

    fn finish(mut self) -> Report {
        self.report.settled_us = self.now;
        for lane in self.lanes {
            let mut report = lane.report;
            report.repeated = lane.checker.repeated;
            report.accepted = self
                .streams
                .get(lane.model.stream)
                .map_or(0, |followed| followed.stream.len());
            self.report.lanes.push(report);
        }
        self.report.cohorts = self
            .cohorts
            .into_iter()
            .map(|cohort| cohort.report)
            .collect();
        self.report
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrival { stream } => {
                self.grow(stream);
                self.next_arrival(stream);
                self.tell_growth(stream)?;
            }
            Event::Fetched {
                life,
                lane,
                from,
                to,
                max,
            } if life == self.life => {
                self.fetched(lane, from, to, max)?;
            }
            Event::Finished {
                life,
                attempt,
                results,
            } if life == self.life => {
                self.finished(attempt, results)?;
            }
            Event::Flush => {
                self.flushing = false;
                if self.alive {
                    let progress = self.take_progress()?;
                    let life = self.life;
                    self.schedule(self.scenario.commit_us, Event::Committed { life, progress });
                }
            }
            Event::Committed { life, progress } if life == self.life => {
                progress.into_iter().for_each(|saved| self.committed(saved));
            }
            Event::Crash if self.alive => {
                self.alive = false;
                self.life += 1;
                self.under_way.clear();
                self.bytes_under_way = 0;
                self.schedule(self.scenario.restart_us, Event::Restart);
            }
            Event::Restart => {
                self.alive = true;
                self.begin_life(true)?;
            }
            Event::Mend => {
                let lanes: Vec<LaneId> = self.lanes.iter().map(|lane| lane.saved.lane).collect();
                for lane in lanes {
                    self.step(Input::Resume { lane })?;
                }
                self.schedule(MINUTE_US, Event::Mend);
            }
            Event::Fetched { .. }
            | Event::Finished { .. }
            | Event::Committed { .. }
            | Event::Crash => {}
        }
        Ok(())
    }

    /// A new process: everything that is not saved is forgotten.
    fn begin_life(&mut self, staggered: bool) -> Result<(), Violation> {
        let seed = self.scenario.seed.wrapping_add(self.life);
        self.scheduler = Scheduler::new(self.scenario.options.clone(), seed);
        for lane in 0..self.lanes.len() {
            let Some(place) = self.lanes.get_mut(lane) else {
                continue;
            };
            let Some(Followed { stream, .. }) = self.streams.get(place.model.stream) else {
                continue;
            };
            place.checker.reborn(stream, &place.saved);
            place.in_flight = 0;
            let rate = place.model.policy.rate_limit_per_s;
            place.rate = rate.map(|per_s| Bucket::new(per_s, self.now));
            let input = Input::AddLane {
                lane: place.saved.lane,
                group: place.model.group,
                queue: place.model.queue,
                stream: stream_key(place.model.stream),
                policy: Arc::clone(&place.model.policy),
                progress: place.saved.clone(),
                end: stream.end(),
                staggered,
                until: None,
            };
            self.step(input)?;
        }
        Ok(())
    }

    /// Takes in what has come of a stream.
    fn grow(&mut self, stream: usize) {
        let Some(followed) = self.streams.get_mut(stream) else {
            return;
        };
        let new = followed.stream.grow(self.now);
        for (cohort, lanes) in &followed.cohorts {
            self.open += new * lanes;
            if let Some(cohort) = self.cohorts.get_mut(*cohort) {
                cohort.arrived(self.now, new * lanes);
            }
        }
    }

    fn next_arrival(&mut self, stream: usize) {
        let next = self
            .streams
            .get(stream)
            .and_then(|followed| followed.stream.next_us());
        if let Some(at) = next {
            let told_at = self.now.saturating_add(self.scenario.growth_us);
            self.events.add(at.max(told_at), Event::Arrival { stream });
        }
    }

    fn tell_growth(&mut self, stream: usize) -> Result<(), Violation> {
        let Some(end) = self
            .streams
            .get(stream)
            .map(|followed| followed.stream.end())
        else {
            return Ok(());
        };
        self.step(Input::StreamGrew {
            stream: stream_key(stream),
            end,
        })
    }

    fn fetched(
        &mut self,
        lane: usize,
        from: Offset,
        to: Offset,
        max: usize,
    ) -> Result<(), Violation> {
        let Some(place) = self.lanes.get(lane) else {
            return Ok(());
        };
        let Some(Followed { stream, .. }) = self.streams.get(place.model.stream) else {
            return Ok(());
        };
        let fails = match self.scenario.fetch_fails_one_in {
            Some(share) => self.rng.between(1, share) == 1,
            None => false,
        };
        let (offsets, scanned_to) = if fails {
            (Vec::new(), from)
        } else {
            stream.fetch(from, to, max)
        };
        let lane = place.saved.lane;
        self.step(Input::Fetched {
            lane,
            offsets,
            scanned_to,
        })
    }

    fn finished(&mut self, attempt: AttemptId, results: Results) -> Result<(), Violation> {
        let Some(done) = self.under_way.remove(&attempt.0) else {
            return Ok(());
        };
        self.bytes_under_way -= done.bytes;
        if let Some(place) = self.lanes.get_mut(done.lane) {
            place.in_flight -= 1;
            if let Some(Followed { stream, .. }) = self.streams.get(place.model.stream) {
                for job in &done.jobs {
                    let checked = place.checker.finished(stream, job.offset);
                    checked.map_err(|what| Violation {
                        at_us: self.now,
                        what,
                    })?;
                }
            }
        }
        let latency_us = self.now - done.began;
        self.step(Input::Finished {
            attempt,
            latency_us,
            results,
        })
    }

    /// Takes what is to be saved, and holds it against the truth.
    fn take_progress(&mut self) -> Result<Vec<LaneProgress>, Violation> {
        let mut progress = Vec::new();
        self.scheduler.take_progress(usize::MAX, &mut progress);
        for saved in &progress {
            let Some(lane) = self.lanes.get_mut(index(saved.lane)) else {
                continue;
            };
            let Some(Followed { stream, .. }) = self.streams.get(lane.model.stream) else {
                continue;
            };
            let checked = lane.checker.saved(stream, saved);
            checked.map_err(|what| Violation {
                at_us: self.now,
                what,
            })?;
            lane.report.counts = saved.counts;
            lane.report.saves_forked += u64::from(saved.ahead.is_some());
        }
        Ok(progress)
    }

    fn committed(&mut self, saved: LaneProgress) {
        let Some(lane) = self.lanes.get_mut(index(saved.lane)) else {
            return;
        };
        if let Some(Followed { stream, .. }) = self.streams.get(lane.model.stream) {
            lane.checker.forget_below(stream, &saved);
        }
        lane.saved = saved;
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        self.events.add(self.now.saturating_add(after_us), event);
    }

    fn unsettled(&self) -> Violation {
        let unsettled = |lane: &&Lane<'_>| {
            let stream = self.streams.get(lane.model.stream);
            stream.is_some_and(|followed| lane.report.counts.settled() < followed.stream.len())
        };
        let late = self
            .lanes
            .iter()
            .find(unsettled)
            .map(|lane| lane.saved.lane);
        let view = late.and_then(|id| self.scheduler.view(id, MonoMicros(self.now)));
        self.violation(format!(
            "{} jobs are still unsettled: {late:?} {view:?}",
            self.open
        ))
    }

    fn violation(&self, what: String) -> Violation {
        Violation {
            at_us: self.now,
            what,
        }
    }
}

impl<'a> Lane<'a> {
    fn new(id: LaneId, model: &'a LaneModel) -> Self {
        Self {
            model,
            checker: Checker::new(model.policy.ordered),
            saved: LaneProgress::new(id, Offset::ZERO),
            report: LaneReport::default(),
            in_flight: 0,
            rate: None,
        }
    }
}

impl Cohort {
    fn arrived(&mut self, now: u64, jobs: u64) {
        let report = &mut self.report;
        report.series.at(now).arrived += jobs;
        report.backlog += jobs;
        if report.backlog > report.backlog_peak {
            report.backlog_peak = report.backlog;
            report.backlog_peak_us = now;
        }
    }

    /// A job has ended for the first time; `arrived_us` where it was delivered.
    fn ended(&mut self, now: u64, delivered: Option<u64>) {
        let report = &mut self.report;
        if report.backlog > self.calm_below.max(report.backlog_peak / 100) {
            report.behind_us = now;
        }
        report.backlog -= 1;
        let slot = report.series.at(now);
        slot.ended += 1;
        slot.delivered += u64::from(delivered.is_some());
        if let Some(arrived_us) = delivered {
            report.series.at(arrived_us).delays.add(now - arrived_us);
        }
    }
}

fn followed(scenario: &Scenario) -> Vec<Followed> {
    let stream = |(number, model): (u64, &super::StreamModel)| Followed {
        stream: Stream::new(
            model.clone(),
            mix(scenario.seed ^ mix(number)),
            scenario.duration_us,
        ),
        cohorts: Vec::new(),
    };
    let mut streams: Vec<Followed> = (1..).zip(&scenario.streams).map(stream).collect();
    for lane in &scenario.lanes {
        let Some(followed) = streams.get_mut(lane.stream) else {
            continue;
        };
        match followed
            .cohorts
            .iter_mut()
            .find(|(cohort, _)| *cohort == lane.cohort)
        {
            Some((_, lanes)) => *lanes += 1,
            None => followed.cohorts.push((lane.cohort, 1)),
        }
    }
    streams
}

fn cohorts(scenario: &Scenario) -> Vec<Cohort> {
    let count = scenario
        .lanes
        .iter()
        .map(|lane| lane.cohort + 1)
        .max()
        .unwrap_or(0);
    let mut per_s = vec![0.0; count];
    for lane in &scenario.lanes {
        let stream = scenario.streams.get(lane.stream);
        if let (Some(sum), Some(stream)) = (per_s.get_mut(lane.cohort), stream) {
            *sum += stream.events_per_s;
        }
    }
    // One microsecond stands for one event: that is how a float becomes a whole number.
    let events = |per_s: f64| std::time::Duration::from_secs_f64(per_s * CALM_S / 1e6).as_micros();
    let cohort = |per_s| Cohort {
        report: CohortReport {
            series: Series::new(scenario.slot_us),
            ..CohortReport::default()
        },
        calm_below: u64::try_from(events(per_s)).unwrap_or(u64::MAX).max(1),
    };
    per_s.into_iter().map(cohort).collect()
}

fn index(lane: LaneId) -> usize {
    usize::try_from(lane.0).expect("usize has at least 32 bits")
}

fn stream_key(stream: usize) -> StreamKey {
    StreamKey(u64::try_from(stream).expect("usize has at most 64 bits"))
}
