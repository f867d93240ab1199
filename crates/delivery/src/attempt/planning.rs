//! Planning: the jobs of an attempt turned into requests, or settled at once. Programs run here, and
//! nothing else: no I/O.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use catalog::{Entry, Origin, Planned, RequestPlan, StepState, Transformer};
use model::{Failure, JobResult, RejectReason};
use scheduler::Results;
use store::LaneKind;

use super::{Attempt, Report};
use crate::clock::{Clock, Stopwatch};
use crate::lane::AttemptResult;
use crate::lane::pace::{self, Took};

/// Events that are turned into requests at once: other lanes of the shard wait meanwhile.
pub(crate) const PLANNED_AT_ONCE_MAX: usize = 8;
/// Of more than that, as many as this takes.
const PLANNED_AT_ONCE_US: u64 = 2_000;

/// Requests that belong together, and the jobs they are for.
pub(crate) struct Unit {
    pub(super) requests: Vec<RequestPlan>,
    pub(super) then: Option<StepState>,
    /// Indexes into the attempt's jobs.
    pub(super) jobs: Vec<usize>,
}

/// What planning made of an attempt: some jobs may have ended already.
pub(crate) struct Planning {
    pub(crate) results: Vec<Option<JobResult>>,
    pub(crate) units: Vec<Unit>,
    pub(crate) report: Report,
}

impl Planning {
    /// Turns the jobs' events into requests.
    pub(crate) fn of(attempt: &Attempt, transformer: &mut Transformer, by_thread: bool) -> Self {
        let watch = Stopwatch::start(by_thread);
        let mut gathering = Gathering::of(attempt);
        while !gathering.is_done() {
            gathering.go_on(transformer);
        }
        gathering.planned(watch.us(), by_thread)
    }

    /// The same for many jobs, in parts, between which others have their turn; a lane that is known to
    /// be slow rests between them.
    pub(crate) async fn in_parts(
        attempt: &Attempt,
        transformer: &RefCell<Transformer>,
        by_thread: bool,
        is_slow: bool,
    ) -> Self {
        let mut gathering = Gathering::of(attempt);
        let mut worked_us = 0;
        loop {
            let (part, watch) = (Clock::start(), Stopwatch::start(by_thread));
            while !gathering.is_done() && part.mono().0 < PLANNED_AT_ONCE_US {
                gathering.go_on(&mut transformer.borrow_mut());
            }
            let took_us = watch.us();
            worked_us += took_us;
            if gathering.is_done() {
                return gathering.planned(worked_us, by_thread);
            }
            if is_slow {
                tokio::time::sleep(Duration::from_micros(pace::rest_us(took_us))).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    fn add(&mut self, planned: Planned, jobs: Vec<usize>) {
        let result = match planned {
            // The blackhole: nothing to send is delivered.
            Planned::Send {
                requests,
                then: None,
            } if requests.is_empty() => JobResult::Delivered,
            Planned::Send { requests, then } => {
                self.units.push(Unit {
                    requests,
                    then,
                    jobs,
                });
                return;
            }
            Planned::Filtered(reason, detail) => {
                self.report.detail = Cow::Owned(detail);
                JobResult::Filtered(reason)
            }
            Planned::Rejected(reason, detail) => {
                self.report.result = Some(AttemptResult::Other(reason.as_str()));
                self.report.detail = Cow::Owned(detail);
                JobResult::Rejected(reason)
            }
            Planned::Entry(_) => {
                self.report.detail = Cow::Borrowed("the batch program made an entry");
                JobResult::Rejected(RejectReason::TransformFailed)
            }
        };
        self.settle(&jobs, |_| result);
    }

    pub(super) fn settle(&mut self, jobs: &[usize], result: impl Fn(usize) -> JobResult) {
        for (place, job) in jobs.iter().enumerate() {
            if let Some(slot) = self.results.get_mut(*job) {
                *slot = Some(result(place));
            }
        }
    }

    /// The results of all jobs. A job that nothing was said of failed on our own account.
    pub(crate) fn into_results(self) -> (Results, Report) {
        let filled = |result: Option<JobResult>| result.unwrap_or(JobResult::Failed(Failure::Ours));
        let results = match self.results.as_slice() {
            [one] => Results::All(filled(*one)),
            _ => Results::Each(self.results.into_iter().map(filled).collect()),
        };
        (results, self.report)
    }
}

/// Planning under way: first event by event, then group by group.
struct Gathering<'a> {
    attempt: &'a Attempt,
    planning: Planning,
    /// Of the job that is planned next.
    next: usize,
    lane: Cow<'static, str>,
    /// Entries that go together, and their jobs.
    groups: VecDeque<(Vec<Entry>, Vec<usize>)>,
}

impl<'a> Gathering<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            attempt,
            planning: Planning {
                results: vec![None; attempt.jobs.len()],
                units: Vec::new(),
                report: Report::default(),
            },
            next: 0,
            lane: lane_name(attempt.kind),
            groups: VecDeque::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.attempt.jobs.len() && self.groups.is_empty()
    }

    /// Runs one program: of the next event, or where all have been, of the next group.
    fn go_on(&mut self, transformer: &mut Transformer) {
        let index = self.next;
        if let Some(loaded) = self.attempt.jobs.get(index) {
            self.next += 1;
            let origin = Origin {
                source: &self.attempt.plan.source,
                connection: self.attempt.plan.connection.name.as_str(),
                lane: &self.lane,
                offset: loaded.job.offset.0,
            };
            match transformer.event(&loaded.event, loaded.has_integrations, origin) {
                Planned::Entry(entry) => self.gather(entry, index),
                planned => self.planning.add(planned, vec![index]),
            }
        } else if let Some((entries, jobs)) = self.groups.pop_front() {
            self.batch(transformer.batch(entries), jobs);
        }
    }

    /// Entries of one group go together; a batch rarely has more than one.
    fn gather(&mut self, entry: Entry, index: usize) {
        let same = |(entries, _): &&mut (Vec<Entry>, Vec<usize>)| {
            entries
                .first()
                .is_some_and(|first| first.group() == entry.group())
        };
        match self.groups.iter_mut().find(same) {
            Some((entries, jobs)) => {
                entries.push(entry);
                jobs.push(index);
            }
            None => self.groups.push_back((vec![entry], vec![index])),
        }
    }

    fn batch(&mut self, planned: Planned, jobs: Vec<usize>) {
        match planned {
            // One of them may be at fault, or they are too much together: the halves will tell.
            Planned::Rejected(_, detail) if jobs.len() > 1 => {
                self.planning.report.detail = Cow::Owned(detail);
                let refused = Failure::BatchRefused { too_large: false };
                self.planning.settle(&jobs, |_| JobResult::Failed(refused));
            }
            planned => self.planning.add(planned, jobs),
        }
    }

    /// What came of it, after so much work.
    fn planned(mut self, worked_us: u64, by_thread: bool) -> Planning {
        self.planning.report.took = Some(Took {
            worked_us,
            events: self.attempt.jobs.len(),
            by_thread,
        });
        self.planning
    }
}

/// As `.record.lane` of programs.
fn lane_name(kind: LaneKind) -> Cow<'static, str> {
    match kind {
        LaneKind::Live => Cow::Borrowed(Origin::LIVE),
        LaneKind::Replay { id, .. } => Cow::Owned(format!("replay-{id}")),
        LaneKind::Redelivery => Cow::Borrowed(Origin::REDELIVERY),
    }
}
