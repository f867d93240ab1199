//! Attempts begin, and end.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use catalog::Compiled;
use eventlog::{Error as LogError, EventLog, Record, RecordFlags};
use model::{
    AttemptId, Failure, JobResult, LaneId, LaneState, MonoMicros, RejectReason, UnixMillis,
};
use scheduler::{Input, Job, JobList, Results};
use store::{LaneKind, Store};

use super::{Event, Shard};
use crate::attempt::{Attempt, Done, Loaded, PLANNED_AT_ONCE_MAX, Planning, Report, Runner};
use crate::clock::Clock;
use crate::lane::AttemptResult;
use crate::plan::Plan;

/// A job's event, or the result that the job has without it.
type Found = Result<Loaded, JobResult>;

impl Shard {
    /// Puts an attempt into the queue of this turn.
    pub(super) fn admit(&mut self, id: AttemptId, lane: LaneId, jobs: JobList) {
        let jobs = match jobs {
            JobList::One(job) => vec![job],
            JobList::Many(jobs) => jobs,
        };
        let known = self.lanes.get(&lane).filter(|_| !self.draining);
        let Some(known) = known else {
            return self.abandon(id);
        };
        let plan = Arc::clone(&known.plan);
        let attempt = Attempt {
            id,
            lane,
            kind: known.kind,
            plan,
            jobs: Vec::with_capacity(jobs.len()),
        };
        self.ready.push_back(Event::Start(attempt, jobs));
    }

    /// An attempt that is not made: its lane is gone, or the shard is ending. The scheduler must
    /// hear of it, or its slot would be lost.
    fn abandon(&mut self, attempt: AttemptId) {
        let results = Results::All(JobResult::Failed(Failure::Ours));
        let input = Input::Finished {
            attempt,
            latency_us: 0,
            results,
        };
        self.ready.push_back(Event::of(input));
    }

    /// Gets the events of an attempt: from memory, or from the disk on another thread.
    pub(super) fn start(&mut self, mut attempt: Attempt, jobs: Vec<Job>) {
        let Some(lane) = self.lanes.get(&attempt.lane) else {
            return self.abandon(attempt.id);
        };
        if lane.kind == LaneKind::Redelivery {
            return self.load_elsewhere(attempt, jobs, Source::DeadLetters(self.store.clone()));
        }
        for job in &jobs {
            match self.log.try_read(job.offset) {
                Ok(Some(record)) => attempt.jobs.push(loaded(*job, record)),
                Ok(None) | Err(_) => {
                    attempt.jobs.clear();
                    return self.load_elsewhere(attempt, jobs, Source::Log(self.log.clone()));
                }
            }
        }
        self.plan(attempt);
    }

    fn load_elsewhere(&mut self, mut attempt: Attempt, jobs: Vec<Job>, source: Source) {
        self.in_flight += 1;
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let load = move || {
                jobs.iter()
                    .map(|job| source.load(*job))
                    .collect::<Vec<Found>>()
            };
            let Ok(found) = tokio::task::spawn_blocking(load).await else {
                let report = Report::default();
                let done = done(
                    attempt,
                    Results::All(JobResult::Failed(Failure::Ours)),
                    report,
                );
                return inbox.push(Event::Done(Box::new(done)));
            };
            if found.iter().all(Result::is_ok) {
                attempt.jobs = found.into_iter().flatten().collect();
                return inbox.push(Event::Read(attempt));
            }
            // What cannot be read is told; the others are tried again without it.
            let results = found.iter().map(|found| match found {
                Ok(_) => JobResult::Failed(Failure::Ours),
                Err(result) => *result,
            });
            let results = Results::Each(results.collect());
            let detail = "the event could not be read from the log".into();
            let report = Report {
                detail,
                ..Report::default()
            };
            inbox.push(Event::Done(Box::new(done(attempt, results, report))));
        });
    }

    /// An attempt whose events had to be read: it has been counted as under way since.
    pub(super) fn plan_read(&mut self, attempt: Attempt) {
        self.in_flight -= 1;
        self.plan(attempt);
    }

    /// Plans an attempt when it is its turn: at once, but in a lane whose programs are slow, or not
    /// compiled yet.
    pub(super) fn plan(&mut self, attempt: Attempt) {
        let id = attempt.lane;
        if let Some(queue) = self.waiting.get_mut(&id) {
            return queue.push_back(attempt);
        }
        let Some(lane) = self.lanes.get(&id) else {
            return self.abandon(attempt.id);
        };
        let figures = lane.figures.as_ref();
        let turn = figures.and_then(|figures| figures.pace.turn());
        if !lane.is_compiled() {
            self.compile_elsewhere(id, Arc::clone(&lane.plan));
        } else if let Some(turn) = turn.filter(|turn| *turn > self.clock.mono()) {
            self.wake_for_turn(id, turn);
        } else {
            return self.plan_now(attempt);
        }
        self.waiting.entry(id).or_default().push_back(attempt);
    }

    /// Compiling may take a second, which no other lane shall wait.
    fn compile_elsewhere(&self, lane: LaneId, plan: Arc<Plan>) {
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let to_compile = Arc::clone(&plan);
            let compiled = tokio::task::spawn_blocking(move || to_compile.compile()).await;
            let compiled = compiled.unwrap_or_else(|error| Err(error.to_string()));
            inbox.push(Event::Compiled(lane, plan, compiled));
        });
    }

    /// What waits for its programs goes on. `compiled` is kept until the transformer has them.
    pub(super) fn compiled(
        &mut self,
        lane: LaneId,
        plan: &Plan,
        compiled: Result<Compiled, String>,
    ) {
        let known = self.lanes.get(&lane);
        match &compiled {
            // It may have another plan meanwhile.
            Err(problem) if known.is_some_and(|lane| plan.works_as(&lane.plan)) => {
                self.hold_for_definition(lane, problem);
                self.abandon_waiting(lane);
            }
            _ => self.take_turn(lane),
        }
    }

    fn wake_for_turn(&self, lane: LaneId, turn: MonoMicros) {
        let (inbox, turn) = (Rc::clone(&self.inbox), self.clock.instant(turn));
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(turn).await;
            inbox.push(Event::Turn(lane));
        });
    }

    /// It is the turn of the first attempt that waits in this lane.
    pub(super) fn take_turn(&mut self, lane: LaneId) {
        if !self.waiting.contains_key(&lane) {
            return;
        }
        let known = self.lanes.get(&lane);
        let stopped = known.is_none_or(|lane| matches!(lane.state, LaneState::Held { .. }));
        if stopped || self.draining {
            return self.abandon_waiting(lane);
        }
        if let Some(known) = known.filter(|lane| !lane.is_compiled()) {
            // Its plan has changed meanwhile.
            return self.compile_elsewhere(lane, Arc::clone(&known.plan));
        }
        let first = self.waiting.get_mut(&lane).and_then(VecDeque::pop_front);
        let Some(first) = first else {
            return;
        };
        self.plan_now(first);
        let is_over = self.waiting.get(&lane).is_none_or(VecDeque::is_empty);
        let known = self.lanes.get(&lane).and_then(|lane| lane.figures.as_ref());
        let turn = known.and_then(|figures| figures.pace.turn());
        if is_over {
            self.waiting.remove(&lane);
        } else {
            self.wake_for_turn(lane, turn.unwrap_or(MonoMicros::ZERO));
        }
    }

    /// What waits for its turn is not made: the lane has stopped, is gone, or the shard is ending.
    pub(super) fn abandon_waiting(&mut self, lane: LaneId) {
        for attempt in self.waiting.remove(&lane).unwrap_or_default() {
            self.abandon(attempt.id);
        }
    }

    /// Turns events into requests, and sends what there is to send.
    fn plan_now(&mut self, attempt: Attempt) {
        let now = self.clock.mono();
        let Some(lane) = self.lanes.get_mut(&attempt.lane) else {
            return self.abandon(attempt.id);
        };
        let transformer = match lane.transformer(now) {
            Ok(transformer) => transformer,
            Err(problem) => {
                self.hold_for_definition(attempt.lane, &problem);
                let results = Results::All(JobResult::Failed(Failure::Ours));
                let report = Report {
                    detail: problem.into(),
                    ..Report::default()
                };
                return self.ended(done(attempt, results, report));
            }
        };
        let mut by_thread = false;
        let mut is_slow = false;
        if let Some(figures) = lane.figures.as_mut() {
            by_thread = figures.pace.is_suspect();
            is_slow = figures.pace.turn().is_some();
            figures.pace.begins(attempt.jobs.len(), now);
        }
        let few = attempt.jobs.len() <= PLANNED_AT_ONCE_MAX;
        let planned = few.then(|| Planning::of(&attempt, &mut transformer.borrow_mut(), by_thread));
        let planned = match planned {
            Some(planning) if planning.units.is_empty() => {
                let (results, report) = planning.into_results();
                return self.ended(done(attempt, results, report));
            }
            planned => planned,
        };
        self.in_flight += 1;
        let runner = Runner {
            senders: Rc::clone(&self.senders),
            tokens: Arc::clone(&self.tokens),
            transformer,
            response_bytes_kept: self.options.response_bytes_kept,
            tap: None,
        };
        let inbox = Rc::clone(&self.inbox);
        // Boxed: tokio moves a task's future about, when it begins and when it ends.
        tokio::task::spawn_local(Box::pin(async move {
            let planning = match planned {
                Some(planning) => planning,
                None => {
                    let transformer = &runner.transformer;
                    Planning::in_parts(&attempt, transformer, by_thread, is_slow).await
                }
            };
            let done = runner.run(attempt, planning).await;
            inbox.push(Event::Done(Box::new(done)));
        }));
    }

    /// An attempt that a task has brought back.
    pub(super) fn done(&mut self, done: Done) {
        self.in_flight -= 1;
        self.ended(done);
    }

    /// Counts an attempt that has ended, and tells the scheduler.
    fn ended(&mut self, mut done: Done) {
        let unix = Clock::unix();
        self.count_attempt(&mut done, unix);
        let results = std::mem::replace(&mut done.results, Results::All(JobResult::Delivered));
        let input = Input::Finished {
            attempt: done.attempt,
            latency_us: done.latency_us,
            results,
        };
        self.step(input, Some(&done));
    }

    fn count_attempt(&mut self, done: &mut Done, unix: UnixMillis) {
        let Some(lane) = self.lanes.get_mut(&done.lane) else {
            return;
        };
        // Nothing is remembered of a lane for being quick.
        if let Some(took) = done.report.took
            && (lane.figures.is_some() || took.is_slow())
        {
            lane.figures().pace.took(took);
        }
        let failed = fault(&done.results);
        let Some(result) = done.report.result.or(failed.map(AttemptResult::Other)) else {
            return;
        };
        let figures = lane.figures();
        figures.attempt(result, failed.is_some(), unix);
        for _ in 0..done.report.resent {
            figures.attempt(AttemptResult::RESENT, false, unix);
        }
        if let Some(failed) = failed {
            let detail = &done.report.detail;
            let said = if detail.is_empty() {
                failed
            } else {
                detail.as_ref()
            };
            if figures.last_error.as_deref() != Some(said) {
                figures.last_error = Some(said.to_owned());
            }
        }
        self.sample(done, result, failed.is_some(), unix);
    }
}

/// What went wrong, if something did.
fn fault(results: &Results) -> Option<&'static str> {
    let of = |result: &JobResult| match result {
        JobResult::Delivered | JobResult::Filtered(_) => None,
        JobResult::Rejected(reason) => Some(reason.as_str()),
        JobResult::Failed(failure) => Some(failure.as_str()),
    };
    match results {
        Results::All(result) => of(result),
        Results::Each(results) => results.iter().find_map(of),
    }
}

fn done(attempt: Attempt, results: Results, report: Report) -> Done {
    let Attempt { id, lane, jobs, .. } = attempt;
    Done {
        attempt: id,
        lane,
        jobs,
        results,
        latency_us: 0,
        report,
    }
}

fn loaded(job: Job, record: Record) -> Loaded {
    Loaded {
        job,
        event: record.payload,
        received_at: record.received_at,
        has_integrations: record.flags.contains(RecordFlags::HAS_INTEGRATIONS),
    }
}

/// Where events are read that are not in memory.
enum Source {
    Log(EventLog),
    DeadLetters(Store),
}

impl Source {
    /// May wait for the disk.
    fn load(&self, job: Job) -> Found {
        match self {
            Self::Log(log) => match log.read(job.offset) {
                Ok(record) => Ok(loaded(job, record)),
                Err(LogError::Damaged { .. }) => Err(JobResult::Rejected(RejectReason::Damaged)),
                Err(LogError::Trimmed { .. }) => Err(JobResult::Rejected(RejectReason::Retention)),
                Err(error) => {
                    tracing::error!(%error, offset = job.offset.0, "an event could not be read");
                    Err(JobResult::Failed(Failure::Ours))
                }
            },
            Self::DeadLetters(store) => match store.dead_letter_event(job.offset.0) {
                // Whether `integrations` switches this destination off was not kept: look again.
                Ok(Some(event)) => Ok(Loaded {
                    job,
                    event,
                    received_at: Clock::unix(),
                    has_integrations: true,
                }),
                Ok(None) => Err(JobResult::Rejected(RejectReason::Retention)),
                Err(error) => {
                    tracing::error!(%error, id = job.offset.0, "a dead letter could not be read");
                    Err(JobResult::Failed(Failure::Ours))
                }
            },
        }
    }
}
