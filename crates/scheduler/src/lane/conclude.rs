//! What an attempt's result means for each of its jobs: settled, parked, or tried in a smaller
//! batch.

use std::cmp::Reverse;

use model::{Failure, JobResult, MonoMicros, Offset, Outcome, RejectReason};

use super::health::Finish;
use super::{Lane, Retry};
use crate::action::Action;
use crate::backoff::backoff_us;
use crate::input::Fetch;
use crate::rng::Rng;
use crate::verdict::{Delay, Verdict};
use crate::window::restored::Known;
use crate::window::{Entry, Phase};
use crate::windows::Part;

/// Own failures after which a failing batch is taken apart to find the one that spoils it.
const BATCH_OWN_FAILURES: u8 = 2;
/// Failed probes that are remembered, so that others have their turn.
const PROBED_MAX: usize = 64;

/// What becomes of a job.
enum Next {
    Settle(Outcome),
    Park,
    Split,
}

impl Lane {
    /// Concludes every job of a finished attempt. [`Lane::absorb`] has been called.
    pub(crate) fn conclude(
        &mut self,
        finish: &Finish<'_>,
        rng: &mut Rng,
        actions: &mut Vec<Action>,
    ) {
        let seqs = finish.flight.jobs.as_slice();
        let mut split = Vec::new();
        // The jobs of a batch that fails come back together: their draw is shared.
        let mut due = None;
        for (index, seq) in seqs.iter().enumerate() {
            let result = finish.results.get(index);
            let Some(entry) = self.window.get(*seq).copied() else {
                continue;
            };
            let (entry, next) = self.judge(entry, result, seqs.len(), finish);
            if let Some(place) = self.window.get_mut(*seq) {
                *place = entry;
            }
            match next {
                Next::Settle(outcome) => self.settle(*seq, entry, outcome, actions),
                Next::Split => {
                    self.window.park(*seq);
                    split.push(*seq);
                }
                Next::Park => {
                    self.window.park(*seq);
                    let draw = || self.due(*seq, entry, result, finish.now, rng);
                    let (at, fixed) = *due.get_or_insert_with(draw);
                    self.push_retry(Retry {
                        at,
                        seq: *seq,
                        fixed,
                    });
                    if finish.flight.probe {
                        self.had_its_turn(*seq);
                    }
                }
            }
        }
        if !split.is_empty() {
            self.split(split);
        }
    }

    /// Ends a job.
    pub(crate) fn settle(
        &mut self,
        seq: u64,
        entry: Entry,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        self.counts.add(outcome);
        self.window.settle(seq);
        self.let_next_go(seq, entry.phase);
        actions.push(Action::Settled {
            lane: self.id,
            offset: entry.offset,
            outcome,
            attempts: u32::from(entry.attempts),
        });
    }

    /// Where an event of a key is settled, the next of that key may go.
    fn let_next_go(&mut self, seq: u64, was: Phase) {
        let Some(order) = self.order.as_mut() else {
            return;
        };
        let main = self.window.part_mut(Part::Main);
        if was == Phase::Behind {
            order.leave_from_behind(seq);
        } else {
            order.drop_ready(seq);
            if let Some(next) = order.leave(seq) {
                // It has waited behind its key, and its company waits behind theirs.
                self.batch_since = MonoMicros::ZERO;
                if main.let_go(next) {
                    order.push_ready(next);
                }
            }
        }
        order.forget_below(main.first_seq());
    }

    /// Ends a job that no attempt holds; true where there was one.
    pub(crate) fn discard(
        &mut self,
        offset: Offset,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(seq) = self.window.find(offset) else {
            return false;
        };
        let Some(entry) = self.window.get(seq).copied() else {
            return false;
        };
        if entry.phase == Phase::InFlight {
            return false;
        }
        self.retries.retain(|Reverse(parked)| parked.seq != seq);
        if let Some(splits) = self.splits.as_mut() {
            splits
                .iter_mut()
                .for_each(|seqs| seqs.retain(|parked| *parked != seq));
            splits.retain(|seqs| !seqs.is_empty());
            if splits.is_empty() {
                self.splits = None;
            }
        }
        self.settle(seq, entry, outcome, actions);
        true
    }

    /// Ends a record that no attempt is needed for: the destination takes everything.
    pub(crate) fn swallow(&mut self, fetch: Fetch, actions: &mut Vec<Action>) {
        if matches!(
            self.window.part_mut(Part::Main).recall(fetch.offset),
            Known::Settled
        ) {
            return;
        }
        self.counts.add(Outcome::Delivered);
        actions.push(Action::Settled {
            lane: self.id,
            offset: fetch.offset,
            outcome: Outcome::Delivered,
            attempts: 1,
        });
    }

    /// Decides what becomes of a job, and what it remembers of this attempt.
    fn judge(
        &self,
        mut entry: Entry,
        result: JobResult,
        jobs: usize,
        finish: &Finish<'_>,
    ) -> (Entry, Next) {
        let failure = match result {
            JobResult::Delivered => return settled(entry, Outcome::Delivered),
            JobResult::Filtered(reason) => return settled(entry, Outcome::Filtered(reason)),
            JobResult::Rejected(reason) => return settled(entry, Outcome::Rejected(reason)),
            JobResult::Failed(Failure::BatchRefused { too_large }) if jobs == 1 => {
                let reason = if too_large {
                    RejectReason::TooLarge
                } else {
                    RejectReason::Refused
                };
                return settled(entry, Outcome::Rejected(reason));
            }
            JobResult::Failed(Failure::BatchRefused { .. }) => return (entry, Next::Split),
            JobResult::Failed(failure) => failure,
        };
        let verdict = Verdict::of(failure);
        // Behind an open breaker or a hold the destination is at fault, not the event.
        if !verdict.charged || self.is_stopped() {
            return (entry, Next::Park);
        }
        let clock = self.clock.read(finish.now);
        entry.attempts = entry.attempts.saturating_add(1);
        if entry.failing_since == 0 {
            entry.failing_since = clock;
        }
        if verdict.own {
            entry.own_failures = entry.own_failures.saturating_add(1);
        }
        let next = self.judge_charged(entry, verdict, jobs, clock, finish.now);
        (entry, next)
    }

    fn judge_charged(
        &self,
        entry: Entry,
        verdict: Verdict,
        jobs: usize,
        clock: u64,
        now: MonoMicros,
    ) -> Next {
        let failing_us = clock.saturating_sub(entry.failing_since);
        // The lane's clock stood still at times, so this age is a lower bound, which errs towards
        // keeping the event.
        let lately = self
            .last_good
            .is_some_and(|good| now.since(good) < failing_us);
        // In order, one event may keep all others from succeeding for long.
        let before = self.policy.ordered && self.last_good_clock > entry.failing_since;
        let others_succeeded = lately || before;
        if let Some(tries) = verdict.tries.filter(|tries| entry.attempts >= tries.max)
            && (others_succeeded || !tries.others_succeed)
        {
            return Next::Settle(Outcome::Rejected(tries.reason));
        }
        // Where order lets no other go, nothing else can show that it is one of the batch.
        let alone = self.policy.ordered && self.window.fresh() == 0;
        if verdict.own && jobs > 1 && entry.own_failures >= BATCH_OWN_FAILURES {
            if others_succeeded || alone {
                return Next::Split;
            }
        } else if verdict.own && others_succeeded {
            let own = u32::from(entry.own_failures);
            if jobs == 1 && own >= self.policy.poison_failures && self.trust.is_high() {
                return Next::Settle(Outcome::Rejected(RejectReason::EventSpecific));
            }
        }
        let enough = u32::from(entry.attempts) >= self.policy.attempts_min;
        if enough && failing_us >= self.policy.expiry_us {
            return Next::Settle(Outcome::Expired(RejectReason::RetriesExhausted));
        }
        Next::Park
    }

    /// When a parked job is due again, and whether that is fixed.
    fn due(
        &self,
        seq: u64,
        entry: Entry,
        result: JobResult,
        now: MonoMicros,
        rng: &mut Rng,
    ) -> (MonoMicros, bool) {
        let JobResult::Failed(failure) = result else {
            return (now, true);
        };
        let policy = &self.policy;
        let wait = match Verdict::of(failure).delay {
            Delay::WithLane => 0,
            Delay::Between { us_min, us_max } => {
                return (now.plus(rng.between(us_min, us_max)), true);
            }
            Delay::BackOff => {
                let round = u32::from(entry.attempts).max(1);
                backoff_us(
                    rng,
                    round,
                    policy.backoff_first_us,
                    3,
                    policy.backoff_us_max,
                )
            }
        };
        let patience_us = self.patience_us(self.window.of(seq), entry.attempts);
        (now.plus(wait.min(patience_us.unwrap_or(u64::MAX))), false)
    }

    /// As a probe.
    fn had_its_turn(&mut self, seq: u64) {
        if self.probed.len() >= PROBED_MAX {
            self.probed.clear();
        }
        self.probed.push(seq);
    }

    pub(crate) fn push_retry(&mut self, retry: Retry) {
        if self.retries.len() == self.retries.capacity() {
            self.retries.reserve_exact(self.retries.len() / 4 + 4);
        }
        self.retries.push(Reverse(retry));
    }

    /// Halves a batch that was refused whole: after at most log2(n) + 1 rounds the culprit stands
    /// alone.
    fn split(&mut self, mut seqs: Vec<u64>) {
        let rest = seqs.split_off(seqs.len().div_ceil(2));
        let splits = self.splits.get_or_insert_default();
        splits.push_back(seqs);
        if !rest.is_empty() {
            splits.push_back(rest);
        }
    }
}

/// The attempt that ends a job is one of its attempts.
fn settled(mut entry: Entry, outcome: Outcome) -> (Entry, Next) {
    entry.attempts = entry.attempts.saturating_add(1);
    (entry, Next::Settle(outcome))
}
