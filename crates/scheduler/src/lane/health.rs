//! What an attempt's result says of the lane: its breaker, its concurrency, pauses and holds.

use model::{Failure, HoldReason, JobResult, LaneState, MonoMicros, RejectReason};

use super::suspect::Suspect;
use super::{Hold, Lane, Streak};
use crate::backoff::{backoff_us, retry_after_us};
use crate::breaker::{Phase, Sample, Times};
use crate::flights::Flight;
use crate::input::Results;
use crate::rng::Rng;
use crate::verdict::{HoldRule, Load, Verdict, is_probed};
use crate::window::Entry;

const SECOND_US: u64 = 1_000_000;
const PAUSE_US_MAX: u64 = 60 * SECOND_US;
/// A probe that our own fault spoiled is tried again after this.
const SPOILED_PROBE_US: u64 = SECOND_US;
/// An attempt that ends before this does not hang, however it ends.
const HANGING_US_MIN: u64 = SECOND_US;
/// An event that failed so often says nothing of the others: first attempts are what is counted.
const REPEATED: u8 = 1;

/// One finished attempt, as the lane looks at it.
pub(crate) struct Finish<'a> {
    pub(crate) flight: &'a Flight,
    pub(crate) results: &'a Results,
    pub(crate) latency_us: u64,
    /// The concurrency limit was reached while it ran.
    pub(crate) reached: bool,
    pub(crate) now: MonoMicros,
}

/// What an attempt as a whole shows of its destination.
#[derive(Clone, Copy)]
enum Shown {
    /// It answered, and judged the events.
    Answered,
    /// Nothing: the jobs never reached it.
    Nothing,
    Failed(Failure),
}

impl Lane {
    /// Takes an attempt's result into account, before its jobs are concluded.
    pub(crate) fn absorb(&mut self, finish: &Finish<'_>, rng: &mut Rng) {
        let was_open = self.breaker.is_open();
        match shown(finish.results, finish.flight.jobs.as_slice().len()) {
            Shown::Answered => self.answered(finish, rng),
            Shown::Nothing => {
                if finish.flight.probe {
                    self.probe_again(finish.now);
                }
            }
            Shown::Failed(Failure::Ours) => {
                if finish.flight.probe {
                    self.probe_again(finish.now.plus(SPOILED_PROBE_US));
                }
            }
            Shown::Failed(failure) => self.failed(failure, finish, rng),
        }
        if was_open && self.breaker.phase() == Phase::HalfOpen {
            self.concurrency.restart_gently(finish.now);
        }
        self.set_clock(finish.now);
    }

    fn answered(&mut self, finish: &Finish<'_>, rng: &mut Rng) {
        let now = finish.now;
        self.last_good = Some(now);
        self.last_good_clock = self.clock.read(now);
        // As for failures: else, of events that all failed before, only the successes would count.
        if self.first_entry(finish.flight).own_failures < REPEATED {
            self.trust.answered(answered(finish));
        }
        self.streak = None;
        self.suspect = Suspect::Nobody;
        self.probed = Vec::new();
        let probe = finish.flight.probe;
        if self.is_stopped() {
            // What was sent before the lane stopped says nothing of now.
            if probe && self.hold.take().is_some() {
                self.go_on_slowly(now);
            } else {
                self.breaker
                    .record(Sample::Good, probe, now, self.times(), rng);
            }
            return;
        }
        self.breaker
            .record(Sample::Good, probe, now, self.times(), rng);
        let began = finish.flight.began;
        let max = self.policy.concurrency_max;
        self.concurrency
            .succeeded(began, finish.latency_us, finish.reached, now, max);
        if self.pauses > 0 && began >= self.paused_at {
            self.pauses = 0;
        }
        if self.throttled && began >= self.paused_at && now >= self.not_before {
            self.throttled = false;
        }
    }

    fn failed(&mut self, failure: Failure, finish: &Finish<'_>, rng: &mut Rng) {
        let verdict = Verdict::of(failure);
        let (flight, now) = (finish.flight, finish.now);
        let sample = match verdict.sample {
            // A probe that failed in any way is no reason to go on.
            None if flight.probe => Some(Sample::Bad),
            sample => sample,
        };
        if sample == Some(Sample::Bad) && self.first_entry(flight).own_failures < REPEATED {
            self.trust.failed();
        }
        if let (Some(Sample::Bad), Some(seq)) = (sample, flight.jobs.as_slice().first()) {
            self.suspect.failed(*seq);
        }
        if let Some(sample) = sample {
            self.breaker
                .record(sample, flight.probe, now, self.times(), rng);
        }
        self.bear(verdict.load, finish, rng);
        if let Some(rule) = verdict.hold {
            self.count_streak(rule, flight, now, rng);
        }
        if let Some(hold) = self.hold.as_mut().filter(|_| flight.probe) {
            hold.probe_at = probe_time(hold.reason, self.policy.hold_probe_us, now, rng);
        }
    }

    /// Sends less, or nothing for a while.
    fn bear(&mut self, load: Load, finish: &Finish<'_>, rng: &mut Rng) {
        let (flight, now) = (finish.flight, finish.now);
        match load {
            Load::Unknown => return,
            Load::Overloaded => {}
            // One answer in a hundred that is lost would keep a lane at few slots for ever.
            Load::Lost if now.since(flight.began) < HANGING_US_MIN => return,
            Load::Hanging | Load::Lost => {
                if self.last_good.is_none_or(|good| good <= flight.began) {
                    self.concurrency.collapse(now);
                }
            }
            Load::Pause { retry_after_s } => self.pause(retry_after_s, flight, now, rng),
            Load::OverloadedPause { retry_after_s } => {
                if retry_after_s.is_some() {
                    self.pause(retry_after_s, flight, now, rng);
                }
            }
        }
        self.throttled = true;
        self.concurrency.overloaded(flight.began, now);
    }

    fn pause(&mut self, wish_s: Option<u64>, flight: &Flight, now: MonoMicros, rng: &mut Rng) {
        // All attempts of one flight are answered alike: they count as one pause.
        let is_new = self.pauses == 0 || flight.began >= self.paused_at;
        if is_new {
            self.pauses = self.pauses.saturating_add(1);
            self.paused_at = now;
        }
        let wait = match retry_after_us(rng, wish_s) {
            Some(wait) => wait,
            None if is_new => backoff_us(rng, self.pauses.into(), SECOND_US, 2, PAUSE_US_MAX),
            None => return,
        };
        self.not_before = self.not_before.max(now.plus(wait));
    }

    fn count_streak(&mut self, rule: HoldRule, flight: &Flight, now: MonoMicros, rng: &mut Rng) {
        if rule.distinct && self.first_entry(flight).attempts > 0 {
            return;
        }
        let streak = match self.streak {
            Some(streak)
                if streak.reason == rule.reason
                    && rule.us_max.is_none_or(|max| now.since(streak.since) <= max) =>
            {
                Streak {
                    count: streak.count.saturating_add(1),
                    ..streak
                }
            }
            _ => Streak {
                reason: rule.reason,
                count: 1,
                since: now,
            },
        };
        self.streak = Some(streak);
        if streak.count >= rule.in_a_row && now.since(streak.since) >= rule.us_min {
            self.hold_for(rule.reason, now, rng);
        }
    }

    /// The first job of an attempt, which speaks for the others of its batch.
    fn first_entry(&self, flight: &Flight) -> Entry {
        let seq = flight.jobs.as_slice().first();
        let entry = seq.and_then(|seq| self.window.get(*seq));
        *entry.expect("an attempt has jobs, and they stay in the window until it finishes")
    }

    /// Stops the lane. A hold that is there already stays: its reason came first. But a person's
    /// word replaces any.
    pub(crate) fn hold_for(&mut self, reason: HoldReason, now: MonoMicros, rng: &mut Rng) {
        if self.hold.is_none() || reason == HoldReason::Operator {
            let probe_at = probe_time(reason, self.policy.hold_probe_us, now, rng);
            self.hold = Some(Hold { reason, probe_at });
        }
        self.set_clock(now);
    }

    /// Goes on after a stop: two at a time, rising slowly.
    pub(crate) fn go_on_slowly(&mut self, now: MonoMicros) {
        self.hold = None;
        self.streak = None;
        self.breaker.half_open(now);
        self.concurrency.restart_gently(now);
        self.set_clock(now);
    }

    /// Lets the next probe go at that time.
    pub(crate) fn probe_again(&mut self, at: MonoMicros) {
        self.no_probe_before = at;
        self.breaker.probe_now(at);
        if let Some(hold) = self.hold.as_mut() {
            hold.probe_at = Some(at);
        }
    }

    /// The state that a person sees.
    pub(crate) fn seen_state(&self) -> LaneState {
        match (self.hold, self.breaker.phase()) {
            (Some(hold), _) => LaneState::Held {
                reason: hold.reason,
            },
            (None, Phase::Open { .. }) => LaneState::Open,
            (None, Phase::HalfOpen) => LaneState::HalfOpen,
            (None, Phase::Closed) if self.throttled => LaneState::Throttled,
            (None, Phase::Closed) => LaneState::Active,
        }
    }

    pub(crate) fn set_clock(&mut self, now: MonoMicros) {
        if self.is_stopped() {
            self.clock.stop(now);
        } else {
            self.clock.go_on(now);
        }
    }

    fn times(&self) -> Times {
        Times {
            window_us: self.policy.breaker_window_us,
            probe_us_max: self.policy.probe_us_max,
        }
    }
}

/// When a hold's next probe goes: its time, give or take a tenth.
fn probe_time(
    reason: HoldReason,
    every_us: u64,
    now: MonoMicros,
    rng: &mut Rng,
) -> Option<MonoMicros> {
    let wait = rng.between(every_us - every_us / 10, every_us + every_us / 10);
    is_probed(reason).then(|| now.plus(wait))
}

/// The result that speaks for a whole attempt: an answer if any job got one, else the first
/// failure.
fn shown(results: &Results, jobs: usize) -> Shown {
    match results {
        Results::All(result) => shown_by(*result),
        Results::Each(_) => {
            let each = (0..jobs).map(|index| shown_by(results.get(index)));
            each.fold(Shown::Nothing, |so_far, next| match (so_far, next) {
                (Shown::Answered, _) | (_, Shown::Answered) => Shown::Answered,
                (Shown::Nothing, next) => next,
                (so_far, _) => so_far,
            })
        }
    }
}

/// The jobs of an attempt that got an answer.
fn answered(finish: &Finish<'_>) -> usize {
    let jobs = finish.flight.jobs.as_slice().len();
    match finish.results {
        Results::All(_) => jobs,
        Results::Each(_) => (0..jobs)
            .filter(|index| matches!(shown_by(finish.results.get(*index)), Shown::Answered))
            .count(),
    }
}

fn shown_by(result: JobResult) -> Shown {
    match result {
        JobResult::Delivered
        | JobResult::Rejected(
            RejectReason::Refused | RejectReason::TooLarge | RejectReason::Conflict,
        )
        | JobResult::Failed(Failure::Conflict | Failure::BatchRefused { .. }) => Shown::Answered,
        JobResult::Filtered(_) | JobResult::Rejected(_) => Shown::Nothing,
        JobResult::Failed(failure) => Shown::Failed(failure),
    }
}
