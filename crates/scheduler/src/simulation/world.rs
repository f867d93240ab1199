//! The event loop of a simulation: virtual time jumps from one event to the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use model::{AttemptId, LaneId, LaneProgress, MonoMicros, Offset};

use super::checker::{Bucket, Checker, Violation};
use super::destination::Destination;
use super::report::{LaneReport, Report};
use super::stream::Stream;
use super::{LaneModel, Scenario};
use crate::action::{Action, JobList};
use crate::hash::Map;
use crate::input::{Input, Results, StreamKey};
use crate::rng::Rng;
use crate::scheduler::Scheduler;

pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    scheduler: Scheduler,
    rng: Rng,
    now: u64,
    /// By time, then in the order of their making.
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: Map<u64, Event>,
    serial: u64,
    /// Events of an earlier life of the process are void.
    life: u64,
    alive: bool,
    next_offset: Offset,
    streams: Vec<Stream>,
    lanes: Vec<Lane>,
    under_way: Map<u64, UnderWay>,
    bytes_under_way: u64,
    /// Progress will be taken, as something has happened since it last was.
    flushing: bool,
    /// Kept between steps for its memory.
    actions: Vec<Action>,
    report: Report,
}

struct Lane {
    model: LaneModel,
    destination: Destination,
    checker: Checker,
    saved: LaneProgress,
    report: LaneReport,
    in_flight: u32,
    rate: Option<Bucket>,
}

struct UnderWay {
    lane: usize,
    jobs: JobList,
    bytes: u64,
    began: u64,
}

enum Event {
    Arrival {
        stream: usize,
    },
    Fetched {
        life: u64,
        lane: usize,
        from: Offset,
        max: usize,
    },
    Finished {
        life: u64,
        attempt: AttemptId,
        results: Results,
    },
    Flush,
    Committed {
        life: u64,
        progress: Vec<LaneProgress>,
    },
    Crash,
    Restart,
    /// A person resumes what is held, after the scenario's time.
    Mend,
}

const MINUTE_US: u64 = 60_000_000;

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let lanes = (0..)
            .zip(&scenario.lanes)
            .map(|(id, model)| Lane::new(LaneId(id), model));
        let mut world = Self {
            scenario,
            scheduler: Scheduler::new(scenario.options.clone(), scenario.seed),
            rng: Rng::new(scenario.seed ^ 0x5eed),
            now: 1,
            events: BinaryHeap::new(),
            pending: Map::default(),
            serial: 0,
            life: 0,
            alive: true,
            next_offset: Offset::ZERO,
            streams: scenario.streams.iter().cloned().map(Stream::new).collect(),
            lanes: lanes.collect(),
            under_way: Map::default(),
            bytes_under_way: 0,
            flushing: false,
            actions: Vec::new(),
            report: Report::default(),
        };
        for stream in 0..world.streams.len() {
            let at_once = world.streams.get(stream).map_or(0, Stream::events_at_once);
            for _ in 0..at_once {
                world.append(stream);
            }
            world.next_arrival(stream);
        }
        for at in &scenario.crashes_us {
            world.schedule(*at, Event::Crash);
        }
        world.schedule(scenario.duration_us, Event::Mend);
        world
    }

    pub(crate) fn run(mut self) -> Result<Report, Violation> {
        self.begin_life(false)?;
        let end = self.scenario.duration_us + self.scenario.settle_us_max;
        while !self.is_done() {
            let wake = self.scheduler.next_wake().filter(|_| self.alive);
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            match (wake, event) {
                (Some(wake), event) if event.is_none_or(|at| wake.0 <= at) => {
                    self.now = self.now.max(wake.0);
                    self.step(Input::TimerDue)?;
                }
                (_, Some(at)) => {
                    self.now = self.now.max(at);
                    if let Some(Reverse((_, serial))) = self.events.pop()
                        && let Some(event) = self.pending.remove(&serial)
                    {
                        self.happen(event)?;
                    }
                }
                (_, None) => return Err(self.violation("nothing happens any more".to_owned())),
            }
            if self.now > end {
                return Err(self.unsettled());
            }
        }
        self.take_progress()?;
        Ok(self.finish())
    }

    /// Arrivals are over and every job of every lane has ended.
    fn is_done(&self) -> bool {
        self.now >= self.scenario.duration_us
            && self.lanes.iter().all(|lane| lane.checker.is_done())
    }

    fn finish(mut self) -> Report {
        self.report.settled_us = self.now;
        for lane in self.lanes {
            let mut report = lane.report;
            report.repeated = lane.checker.repeated;
            self.report.lanes.push(report);
        }
        self.report
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrival { stream } => {
                if self.now < self.scenario.duration_us {
                    self.append(stream);
                    self.next_arrival(stream);
                    self.tell_growth(stream)?;
                }
            }
            Event::Fetched {
                life,
                lane,
                from,
                max,
            } if life == self.life => {
                self.fetched(lane, from, max)?;
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
                for saved in progress {
                    if let Some(lane) = self.lanes.get_mut(index(saved.lane)) {
                        lane.saved = saved;
                    }
                }
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
                for id in self.lane_ids() {
                    self.step(Input::Resume { lane: id })?;
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

    fn lane_ids(&self) -> Vec<LaneId> {
        self.lanes.iter().map(|lane| lane.saved.lane).collect()
    }

    /// A new process: everything that is not saved is forgotten.
    fn begin_life(&mut self, staggered: bool) -> Result<(), Violation> {
        let seed = self.scenario.seed.wrapping_add(self.life);
        self.scheduler = Scheduler::new(self.scenario.options.clone(), seed);
        for lane in 0..self.lanes.len() {
            let Some(place) = self.lanes.get_mut(lane) else {
                continue;
            };
            let Some(stream) = self.streams.get(place.model.stream) else {
                continue;
            };
            place.checker.grow(stream);
            place.checker.reborn(stream, &place.saved);
            place.in_flight = 0;
            let rate = place.model.policy.rate_limit_per_s;
            place.rate = rate.map(|per_s| Bucket::new(per_s, self.now));
            let input = Input::AddLane {
                lane: place.saved.lane,
                group: place.model.group,
                stream: stream_key(place.model.stream),
                policy: Arc::new(place.model.policy.clone()),
                progress: place.saved.clone(),
                end: stream.end(),
                staggered,
                until: None,
            };
            self.step(input)?;
        }
        Ok(())
    }

    fn append(&mut self, stream: usize) {
        let Some(place) = self.streams.get_mut(stream) else {
            return;
        };
        // Offsets count the records of all streams: now and then others lie between.
        let offset = Offset(self.next_offset.0 + self.rng.between(0, 2));
        self.next_offset = offset.next();
        place.append(offset, self.now, &mut self.rng);
        let len = place.len();
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| lane.model.stream == stream)
        {
            lane.checker.grow(place);
            lane.report.accepted = u64::try_from(len).unwrap_or(u64::MAX);
        }
    }

    fn next_arrival(&mut self, stream: usize) {
        let gap = self
            .streams
            .get(stream)
            .and_then(|place| place.gap_us(&mut self.rng));
        if let Some(gap) = gap {
            self.schedule(gap, Event::Arrival { stream });
        }
    }

    fn tell_growth(&mut self, stream: usize) -> Result<(), Violation> {
        let Some(end) = self.streams.get(stream).map(Stream::end) else {
            return Ok(());
        };
        self.step(Input::StreamGrew {
            stream: stream_key(stream),
            end,
        })
    }

    fn fetched(&mut self, lane: usize, from: Offset, max: usize) -> Result<(), Violation> {
        let Some(place) = self.lanes.get(lane) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get(place.model.stream) else {
            return Ok(());
        };
        let fails = match self.scenario.fetch_fails_one_in {
            Some(share) => self.rng.between(1, share) == 1,
            None => false,
        };
        let (offsets, scanned_to) = if fails {
            (Vec::new(), from)
        } else {
            stream.fetch(from, max)
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
            if let Some(stream) = self.streams.get(place.model.stream) {
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
            let Some(stream) = self.streams.get(lane.model.stream) else {
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

    fn step(&mut self, input: Input) -> Result<(), Violation> {
        if !self.alive {
            return Ok(());
        }
        let mut actions = std::mem::take(&mut self.actions);
        let fetched = match input {
            Input::Fetched { lane, .. } => Some(lane),
            _ => None,
        };
        self.scheduler
            .step(input, MonoMicros(self.now), &mut actions);
        self.report.steps += 1;
        if !std::mem::replace(&mut self.flushing, true) {
            self.schedule(self.scenario.flush_us, Event::Flush);
        }
        for action in actions.drain(..) {
            self.act(action)?;
        }
        self.actions = actions;
        self.check_slots()?;
        // Only a fetch makes a window longer.
        fetched.map_or(Ok(()), |lane| self.check_window(lane))
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Fetch {
                lane, from, max, ..
            } => {
                let delay = self.rng.between(20, 500);
                let (life, lane) = (self.life, index(lane));
                self.schedule(
                    delay,
                    Event::Fetched {
                        life,
                        lane,
                        from,
                        max,
                    },
                );
            }
            Action::Start {
                attempt,
                lane,
                jobs,
            } => self.start(attempt, index(lane), jobs)?,
            Action::Settled {
                lane,
                offset,
                outcome,
                ..
            } => {
                let now = self.now;
                let Some(place) = self.lanes.get_mut(index(lane)) else {
                    return Ok(());
                };
                let Some(stream) = self.streams.get(place.model.stream) else {
                    return Ok(());
                };
                let first = place
                    .checker
                    .settled(stream, offset, outcome)
                    .map_err(|what| Violation { at_us: now, what })?;
                if let (Some(record), model::Outcome::Delivered) = (first, outcome) {
                    place.report.delivered(record.arrived_us, now);
                }
            }
            Action::StateChanged { lane, .. } => {
                if let Some(place) = self.lanes.get_mut(index(lane)) {
                    place.report.state_changes += 1;
                }
            }
            Action::Completed { .. } => {
                return Err(self.violation("an unbounded lane completed".to_owned()));
            }
        }
        Ok(())
    }

    fn start(&mut self, attempt: AttemptId, lane: usize, jobs: JobList) -> Result<(), Violation> {
        self.count_attempt();
        let now = self.now;
        if self.bytes_under_way >= self.scenario.options.in_flight_bytes_max {
            return Err(self.violation(format!("{} bytes are under way", self.bytes_under_way)));
        }
        let bytes = jobs.iter().map(|job| u64::from(job.bytes)).sum();
        self.bytes_under_way += bytes;
        let Some(place) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get(place.model.stream) else {
            return Ok(());
        };
        for job in &jobs {
            let checked = place.checker.started(stream, *job);
            checked.map_err(|what| Violation { at_us: now, what })?;
        }
        if let Some(rate) = &mut place.rate {
            let checked = rate.take(now);
            checked.map_err(|what| Violation { at_us: now, what })?;
        }
        place.report.attempts += 1;
        place.in_flight += 1;
        place.report.in_flight_peak = place.report.in_flight_peak.max(place.in_flight);
        let policy = &place.model.policy;
        if place.in_flight > policy.concurrency_max {
            let what = format!("lane {lane} has {} attempts under way", place.in_flight);
            return Err(Violation { at_us: now, what });
        }
        if u32::try_from(jobs.len()).is_ok_and(|jobs| jobs > policy.batch_events_max) {
            let what = format!("lane {lane} sends a batch of {} jobs", jobs.len());
            return Err(Violation { at_us: now, what });
        }
        let (latency, results) = place
            .destination
            .answer(now, jobs.as_slice(), &mut self.rng);
        let known = self.under_way.insert(
            attempt.0,
            UnderWay {
                lane,
                jobs,
                bytes,
                began: now,
            },
        );
        if known.is_some() {
            return Err(self.violation(format!("attempt {} is there twice", attempt.0)));
        }
        let life = self.life;
        self.schedule(
            latency,
            Event::Finished {
                life,
                attempt,
                results,
            },
        );
        Ok(())
    }

    fn count_attempt(&mut self) {
        let second = usize::try_from(self.now / 1_000_000).unwrap_or(usize::MAX);
        let by_second = &mut self.report.attempts_by_second;
        // Beyond a day nothing is counted by the second: such a run is about its end, not pace.
        if by_second.len() <= second && second < 86_400 {
            by_second.resize(second + 1, 0);
        }
        if let Some(count) = by_second.get_mut(second) {
            *count += 1;
        }
    }

    fn check_slots(&mut self) -> Result<(), Violation> {
        let under_way = self.scheduler.load().attempts_in_flight;
        self.report.in_flight_peak = self.report.in_flight_peak.max(under_way);
        if under_way > self.scenario.options.in_flight_max {
            return Err(self.violation(format!("{under_way} attempts are under way")));
        }
        Ok(())
    }

    fn check_window(&mut self, lane: LaneId) -> Result<(), Violation> {
        let view = self.scheduler.view(lane, MonoMicros(self.now));
        let (Some(view), Some(place)) = (view, self.lanes.get_mut(index(lane))) else {
            return Ok(());
        };
        place.report.window_peak = place.report.window_peak.max(view.window);
        if view.window > place.model.policy.window_jobs_max {
            return Err(self.violation(format!("lane {} holds {} jobs", lane.0, view.window)));
        }
        Ok(())
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        self.serial += 1;
        self.events
            .push(Reverse((self.now.saturating_add(after_us), self.serial)));
        self.pending.insert(self.serial, event);
    }

    fn unsettled(&self) -> Violation {
        let late = self.lanes.iter().find(|lane| !lane.checker.is_done());
        let id = late.map(|lane| lane.saved.lane);
        let view = id.and_then(|id| self.scheduler.view(id, MonoMicros(self.now)));
        self.violation(format!("jobs are still unsettled: {id:?} {view:?}"))
    }

    fn violation(&self, what: String) -> Violation {
        Violation {
            at_us: self.now,
            what,
        }
    }
}

impl Lane {
    fn new(id: LaneId, model: &LaneModel) -> Self {
        Self {
            destination: Destination::new(model.destination.clone()),
            model: model.clone(),
            checker: Checker::new(model.policy.ordered),
            saved: LaneProgress::new(id, Offset::ZERO),
            report: LaneReport::default(),
            in_flight: 0,
            rate: None,
        }
    }
}

fn index(lane: LaneId) -> usize {
    usize::try_from(lane.0).expect("usize has at least 32 bits")
}

fn stream_key(stream: usize) -> StreamKey {
    StreamKey(u64::try_from(stream).expect("usize has at most 64 bits"))
}
