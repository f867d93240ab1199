//! The scheduler by scripts: a few lanes driven by hand, and what it asks for in return.

use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::Arc;

use expect_test::{Expect, expect};
use model::{AttemptId, Failure, FilterReason, HoldReason, JobResult, LaneState, ParkedJob};

use super::*;
use crate::{Job, Key};

mod batching;
mod idle;
mod policies;
mod progress;
mod queues;

const SECOND: u64 = 1_000_000;

/// One scheduler whose log and time the test holds in its hands.
pub(super) struct Rig {
    scheduler: Scheduler,
    now: MonoMicros,
    /// Attempts that have not been answered, in the order of their start.
    open: Vec<(AttemptId, LaneId, Vec<Job>)>,
    log: String,
    /// Answer fetches as if every offset below the stream's end were a record of the stream.
    bytes: u32,
    /// Users whose events take turns; 0 for events of nobody.
    keys: u64,
    ends: Map<StreamKey, Offset>,
    settled: Vec<(LaneId, Offset, Outcome, u32)>,
}

pub(super) fn fresh_progress(lane: u32) -> LaneProgress {
    LaneProgress::new(LaneId(lane), Offset(0))
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        Self {
            scheduler: Scheduler::new(options, 1),
            now: MonoMicros(1_000 * SECOND),
            open: vec![],
            log: String::new(),
            bytes: 1_000,
            keys: 0,
            ends: Map::default(),
            settled: vec![],
        }
    }

    fn add(&mut self, lane: u32, policy: LanePolicy) {
        self.add_with(lane, policy, fresh_progress(lane), None);
    }

    fn add_with(
        &mut self,
        lane: u32,
        policy: LanePolicy,
        progress: LaneProgress,
        until: Option<u64>,
    ) {
        let stream = StreamKey(lane.into());
        self.step(Input::AddLane {
            lane: LaneId(lane),
            group: lane,
            queue: None,
            stream,
            policy: Arc::new(policy),
            progress,
            end: self.ends.get(&stream).copied().unwrap_or_default(),
            staggered: false,
            until: until.map(Offset),
        });
    }

    fn grow(&mut self, lane: u32, end: u64) {
        let stream = StreamKey(lane.into());
        self.ends.insert(stream, Offset(end));
        self.step(Input::StreamGrew {
            stream,
            end: Offset(end),
        });
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut actions = vec![];
            self.scheduler.step(input, self.now, &mut actions);
            for action in actions {
                self.act(action, &mut inputs);
            }
        }
    }

    fn act(&mut self, action: Action, inputs: &mut Vec<Input>) {
        match action {
            Action::Fetch {
                lane,
                stream,
                from,
                to: below,
                max,
            } => {
                let end = self.ends.get(&stream).copied().unwrap_or_default();
                let to = end.0.min(from.0 + u64::try_from(max).unwrap()).min(below.0);
                let (bytes, keys) = (self.bytes, self.keys);
                let key = |offset: u64| Some(Key(NonZeroU64::new(1 + offset.checked_rem(keys)?)?));
                let offsets = (from.0..to)
                    .map(|offset| Fetch {
                        offset: Offset(offset),
                        bytes,
                        key: key(offset),
                    })
                    .collect();
                inputs.push(Input::Fetched {
                    lane,
                    offsets,
                    scanned_to: Offset(to.max(from.0)),
                });
            }
            Action::Start {
                attempt,
                lane,
                jobs,
            } => {
                let list: Vec<String> = jobs
                    .iter()
                    .map(|job| format!("{}#{}", job.offset, job.attempt))
                    .collect();
                writeln!(self.log, "start {} [{}]", lane.0, list.join(" ")).unwrap();
                self.open
                    .push((attempt, lane, jobs.iter().copied().collect()));
            }
            Action::Settled {
                lane,
                offset,
                outcome,
                attempts,
            } => {
                writeln!(
                    self.log,
                    "settled {} {offset} {outcome:?} after {attempts}",
                    lane.0
                )
                .unwrap();
                self.settled.push((lane, offset, outcome, attempts));
            }
            Action::StateChanged { lane, state } => {
                writeln!(self.log, "state {} {state:?}", lane.0).unwrap();
            }
            Action::Completed { lane } => writeln!(self.log, "completed {}", lane.0).unwrap(),
        }
    }

    /// Answers the oldest attempt.
    fn answer(&mut self, result: JobResult) {
        self.answer_with(Results::All(result));
    }

    fn answer_with(&mut self, results: Results) {
        assert!(
            !self.open.is_empty(),
            "an attempt is under way:\n{}",
            self.log
        );
        let (attempt, ..) = self.open.remove(0);
        self.step(Input::Finished {
            attempt,
            latency_us: 1_000,
            results,
        });
    }

    fn fail(&mut self, failure: Failure) {
        self.answer(JobResult::Failed(failure));
    }

    /// Answers everything that comes, until nothing is under way.
    fn answer_all(&mut self, mut result: impl FnMut(&[Job]) -> JobResult) {
        while let Some((_, _, jobs)) = self.open.first() {
            let result = result(jobs);
            self.answer(result);
        }
    }

    /// Lets time pass, waking the scheduler whenever it wants.
    fn pass(&mut self, micros: u64) {
        let end = self.now.plus(micros);
        while let Some(at) = self.scheduler.next_wake().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::TimerDue);
        }
        self.now = end;
    }

    /// Lets time pass until something starts, at most `micros`; how long it took.
    fn pass_to_start(&mut self, micros: u64) -> Option<u64> {
        let (began, end) = (self.now, self.now.plus(micros));
        while self.open.is_empty() {
            let at = self.scheduler.next_wake().filter(|at| *at <= end)?;
            self.now = self.now.max(at);
            self.step(Input::TimerDue);
        }
        Some(self.now.since(began))
    }

    fn view(&self, lane: u32) -> LaneView {
        self.scheduler
            .view(LaneId(lane), self.now)
            .expect("a lane that was added")
    }

    fn expect(&mut self, expect: Expect) {
        expect.assert_eq(&std::mem::take(&mut self.log));
    }
}

#[test]
fn a_job_is_fetched_started_and_settled() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 2);
    rig.answer(JobResult::Delivered);
    rig.answer(JobResult::Filtered(FilterReason::Filter));
    rig.expect(expect![[r#"
        start 1 [0#1]
        start 1 [1#1]
        settled 1 0 Delivered after 1
        settled 1 1 Filtered(Filter) after 1
    "#]]);
    let view = rig.view(1);
    assert_eq!(
        (view.cursor, view.window, view.caught_up),
        (Offset(2), 0, true)
    );
    assert_eq!(
        (view.counts.delivered, view.counts.filtered_total()),
        (1, 1)
    );
}

#[test]
fn a_bounded_lane_completes_when_all_below_its_end_is_settled() {
    let mut rig = Rig::new();
    rig.ends.insert(StreamKey(1), Offset(50));
    rig.add_with(1, LanePolicy::default(), fresh_progress(1), Some(3));
    rig.answer_all(|_| JobResult::Delivered);
    rig.expect(expect![[r#"
        start 1 [0#1]
        start 1 [1#1]
        start 1 [2#1]
        settled 1 0 Delivered after 1
        settled 1 1 Delivered after 1
        settled 1 2 Delivered after 1
        completed 1
    "#]]);
}

#[test]
fn a_one_way_lane_settles_without_attempts() {
    let mut rig = Rig::new();
    rig.add(
        1,
        LanePolicy {
            one_way: true,
            ..LanePolicy::default()
        },
    );
    rig.grow(1, 2);
    rig.expect(expect![[r#"
        settled 1 0 Delivered after 1
        settled 1 1 Delivered after 1
    "#]]);
    assert_eq!(rig.view(1).cursor, Offset(2));
}

#[test]
fn a_drained_scheduler_starts_nothing_and_still_settles() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 10);
    assert_eq!(rig.open.len(), 4);
    rig.step(Input::Drain);
    rig.answer_all(|_| JobResult::Delivered);
    rig.grow(1, 20);
    assert_eq!((rig.settled.len(), rig.view(1).cursor), (4, Offset(4)));
}

#[test]
fn a_removed_lane_gives_its_slots_back() {
    let options = Options {
        in_flight_max: 4,
        ..Options::default()
    };
    let mut rig = Rig::with(options);
    rig.add(1, LanePolicy::default());
    rig.grow(1, 10);
    assert_eq!(
        rig.scheduler.load().attempts_in_flight,
        3,
        "one slot is for other lanes"
    );
    rig.step(Input::RemoveLane { lane: LaneId(1) });
    rig.add(2, LanePolicy::default());
    rig.grow(2, 10);
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(
        rig.settled.len(),
        10,
        "only the second lane's jobs are settled"
    );
    assert_eq!(rig.scheduler.load().attempts_in_flight, 0);
}

#[test]
fn a_damaged_record_is_rejected_unless_an_attempt_has_it() {
    let mut rig = Rig::new();
    rig.add(
        1,
        LanePolicy {
            concurrency_init: 1,
            ..LanePolicy::default()
        },
    );
    rig.grow(1, 3);
    for offset in [0, 1, 7] {
        rig.step(Input::Damaged {
            lane: LaneId(1),
            offset: Offset(offset),
        });
    }
    rig.answer_all(|_| JobResult::Delivered);
    rig.expect(expect![[r#"
        start 1 [0#1]
        settled 1 1 Rejected(Damaged) after 0
        settled 1 0 Delivered after 1
        start 1 [2#1]
        settled 1 2 Delivered after 1
    "#]]);
}

#[test]
fn a_fetch_that_fails_is_tried_again_later() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    let mut actions = vec![];
    let stream = StreamKey(1);
    rig.scheduler.step(
        Input::StreamGrew {
            stream,
            end: Offset(5),
        },
        rig.now,
        &mut actions,
    );
    let fetch = actions.pop();
    assert!(matches!(fetch, Some(Action::Fetch { .. })));
    let nothing = Input::Fetched {
        lane: LaneId(1),
        offsets: vec![],
        scanned_to: Offset(0),
    };
    rig.scheduler.step(nothing, rig.now, &mut actions);
    assert_eq!(actions, []);
    rig.ends.insert(stream, Offset(5));
    rig.pass(200_000);
    assert_eq!(rig.open.len(), 4);
}

#[test]
fn a_full_window_stops_fetching() {
    let mut rig = Rig::new();
    let policy = LanePolicy {
        window_jobs_max: 100,
        ..LanePolicy::default()
    };
    rig.add(1, policy);
    rig.grow(1, 10_000);
    // The first job keeps failing and holds the cursor; all others succeed.
    rig.answer_all(|jobs| match jobs[0].offset.0 {
        0 => JobResult::Failed(Failure::ServerError),
        _ => JobResult::Delivered,
    });
    let view = rig.view(1);
    assert_eq!(
        (view.cursor, view.window, view.retrying),
        (Offset(0), 100, 1)
    );
    assert!(view.next_attempt_at.is_some());
}

#[test]
fn nothing_goes_beyond_the_global_limits() {
    let options = Options {
        in_flight_max: 8,
        in_flight_bytes_max: 5_000,
        ..Options::default()
    };
    let mut rig = Rig::with(options);
    for lane in 1..=8 {
        rig.add(lane, LanePolicy::default());
        rig.grow(lane, 100);
    }
    assert_eq!(rig.scheduler.load().bytes_in_flight, 5_000);
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.settled.len(), 800);
}
