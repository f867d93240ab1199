//! The state machine: takes an input, moves the lanes that it touches, and lets whoever's turn it
//! is start.

use std::sync::Arc;

use model::{LaneId, LaneProgress, MonoMicros, Offset, Outcome, RejectReason};

use crate::action::Action;
use crate::flights::{Flight, Flights};
use crate::hash::Map;
use crate::input::{Fetch, Input, Results, StreamKey};
use crate::lane::health::Finish;
use crate::lane::idle::Idle;
use crate::lane::restore::Birth;
use crate::lane::{Choice, Lane};
use crate::options::Options;
use crate::policy::LanePolicy;
use crate::queues::Queues;
use crate::rng::Rng;
use crate::turns::{Slots, Turns};
use crate::view::{LaneView, Load};
use crate::wakes::Wakes;

mod lanes;

use lanes::{Lanes, Seat};

/// All lanes of one shard. See the crate's documentation for the whole.
#[derive(Debug)]
pub struct Scheduler {
    options: Options,
    rng: Rng,
    lanes: Lanes,
    groups: Map<u32, u32>,
    turns: Turns,
    queues: Queues,
    wakes: Wakes,
    flights: Flights,
    /// Slots of lanes whose progress changed since it was taken. A slot may be of a lane that is
    /// gone, or stand here twice: the lane's own mark decides.
    dirty: Vec<u32>,
    now: MonoMicros,
    draining: bool,
}

impl Scheduler {
    /// # Panics
    /// Where the options are not valid: see [`Options::validate`].
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        if let Err(error) = options.validate() {
            panic!("the options were not validated: {error}");
        }
        let turns = Turns::new(Slots {
            all: options.in_flight_max,
            shared: options.shared_slots(),
            group: options.group_slots(),
            quantum_bytes: options.quantum_bytes,
        });
        Self {
            queues: Queues::new(options.queue_jobs_max, options.queue_in_flight_max),
            options,
            rng: Rng::new(seed),
            lanes: Lanes::default(),
            groups: Map::default(),
            turns,
            wakes: Wakes::default(),
            flights: Flights::default(),
            dirty: Vec::new(),
            now: MonoMicros::ZERO,
            draining: false,
        }
    }

    /// Takes an input and appends what is to be done to `actions`. `now` must not go back.
    ///
    /// # Panics
    /// Where a policy is given that is not valid: see [`LanePolicy::validate`].
    pub fn step(&mut self, input: Input, now: MonoMicros, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match input {
            Input::AddLane {
                lane,
                group,
                queue,
                stream,
                policy,
                progress,
                end,
                staggered,
                until,
            } => {
                let begin_by = match staggered {
                    true => self.now.plus(self.options.stagger_us_max),
                    false => MonoMicros::ZERO,
                };
                let (slot, serial) = self.reserve(lane);
                let birth = Birth {
                    id: lane,
                    serial,
                    stream,
                    group_slot: self.group_slot(group),
                    queue_slot: self.queues.slot(queue),
                    policy: valid(policy),
                    progress,
                    end,
                    backlog_end: end,
                    until: until.unwrap_or(Offset::MAX),
                    begin_by,
                };
                self.add_lane(slot, birth, actions);
            }
            Input::RemoveLane { lane } => self.remove_lane(lane),
            Input::SetPolicy { lane, policy } => {
                let policy = valid(policy);
                self.change(lane, actions, |lane, _, _| lane.policy = policy);
            }
            Input::StreamGrew { stream, end } => self.stream_grew(stream, end, actions),
            Input::Fetched {
                lane,
                offsets,
                scanned_to,
            } => {
                self.fetched(lane, &offsets, scanned_to, actions);
            }
            Input::Finished {
                attempt,
                latency_us,
                results,
            } => {
                if let Some(flight) = self.flights.finish(attempt) {
                    self.finished(&flight, latency_us, &results, actions);
                }
            }
            Input::Hold { lane, reason } => {
                self.change(lane, actions, |lane, now, rng| {
                    lane.hold_for(reason, now, rng)
                });
            }
            Input::Resume { lane } => self.change(lane, actions, |lane, now, _| {
                if lane.is_stopped() {
                    lane.go_on_slowly(now);
                }
                lane.not_before = now;
            }),
            Input::Probe { lane } => self.change(lane, actions, |lane, now, _| {
                if lane.is_stopped() {
                    lane.probe_again(now);
                    lane.not_before = now;
                }
            }),
            Input::Changed { lane } => {
                if let Some(slot) = self.lanes.slot_of(lane) {
                    self.mark_dirty(slot);
                }
            }
            Input::Damaged { lane, offset } => self.damaged(lane, offset, actions),
            Input::TimerDue => {
                while let Some(slot) = self.wakes.pop_due(self.now) {
                    self.touch(slot, actions);
                }
            }
            Input::Drain => self.draining = true,
        }
        self.refill(actions);
        self.dispatch(actions);
    }

    /// Takes the progress of at most `max` lanes whose progress changed since it was last taken.
    /// Once it is durable, a crash repeats only what came after.
    pub fn take_progress(&mut self, max: usize, out: &mut Vec<LaneProgress>) {
        let mut left = max;
        while left > 0 {
            let Some(slot) = self.dirty.pop() else { return };
            let seat = self.lanes.seat_mut(slot);
            let Some(progress) = seat.and_then(|seat| seat.take_progress(self.now)) else {
                continue;
            };
            out.push(progress);
            left -= 1;
        }
    }

    #[must_use]
    pub fn view(&self, lane: LaneId, now: MonoMicros) -> Option<LaneView> {
        match self.lanes.seat(self.lanes.slot_of(lane)?) {
            Seat::Empty => None,
            Seat::Idle(idle) => Some(LaneView::of_idle(idle)),
            Seat::Busy(lane) => Some(LaneView::of(lane, now)),
        }
    }

    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            lanes: self.lanes.len(),
            attempts_in_flight: self.flights.count(),
            bytes_in_flight: self.flights.bytes(),
        }
    }

    /// When to send [`Input::TimerDue`]. May be too early, never too late.
    #[must_use]
    pub fn next_wake(&self) -> Option<MonoMicros> {
        self.wakes.next()
    }

    /// A slot for a lane; a lane of that id that is there already gives way.
    fn reserve(&mut self, id: LaneId) -> (u32, u64) {
        self.remove_lane(id);
        self.lanes.reserve()
    }

    fn group_slot(&mut self, group: u32) -> u32 {
        *self
            .groups
            .entry(group)
            .or_insert_with(|| self.turns.add_group())
    }

    fn add_lane(&mut self, slot: u32, birth: Birth, actions: &mut Vec<Action>) {
        self.turns.add_lane(slot, birth.group_slot);
        self.wakes.grow(slot);
        let seat = if birth.is_plain() {
            Seat::Idle(Box::new(Idle::new(birth, self.now)))
        } else {
            Seat::Busy(Box::new(Lane::new(birth, self.now, &mut self.rng)))
        };
        self.lanes.insert(slot, seat);
        self.touch(slot, actions);
    }

    fn remove_lane(&mut self, id: LaneId) {
        let slot = self.lanes.slot_of(id);
        if let Some(lane) = slot.and_then(|slot| self.lanes.get_mut(slot)) {
            lane.place.give_up(&mut self.queues);
        }
        if let Some(slot) = self.lanes.remove(id) {
            self.turns.leave(slot);
            self.wakes.cancel(slot);
        }
    }

    /// A change from outside, which may concern what is saved of the lane.
    fn change(
        &mut self,
        id: LaneId,
        actions: &mut Vec<Action>,
        change: impl FnOnce(&mut Lane, MonoMicros, &mut Rng),
    ) {
        let Some(slot) = self.lanes.slot_of(id) else {
            return;
        };
        let Some(lane) = self.lanes.wake(slot, self.now, &mut self.rng) else {
            return;
        };
        change(lane, self.now, &mut self.rng);
        self.mark_dirty(slot);
        self.touch(slot, actions);
    }

    fn stream_grew(&mut self, stream: StreamKey, end: Offset, actions: &mut Vec<Action>) {
        let mut follower = self.lanes.first_follower(stream);
        while let Some(slot) = follower {
            if self.lanes.seat_mut(slot).is_some_and(|seat| seat.grew(end)) {
                self.touch(slot, actions);
            }
            follower = self.lanes.follower_after(slot);
        }
    }

    fn fetched(
        &mut self,
        id: LaneId,
        offsets: &[Fetch],
        scanned_to: Offset,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.lanes.slot_of(id) else {
            return;
        };
        if let Some(Seat::Idle(idle)) = self.lanes.seat_mut(slot)
            && idle.pass_over(offsets, scanned_to)
        {
            self.mark_dirty(slot);
            return self.touch(slot, actions);
        }
        let (now, rng) = (self.now, &mut self.rng);
        let lane = self.lanes.wake(slot, now, rng);
        let Some((lane, part)) = lane.and_then(|lane| {
            let part = lane.window.fetching.take()?;
            Some((lane, part))
        }) else {
            return;
        };
        let cursor = lane.window.cursor();
        let (from, limit) = (lane.window.part(part).scanned_to(), lane.window.limit(part));
        let starved = lane.window.part(part).fresh() == 0;
        if lane.window.fresh() == 0 {
            lane.batch_since = now;
        }
        let limit = limit.min(lane.until);
        for fetch in offsets {
            let known = fetch.offset < lane.window.part(part).scanned_to();
            if known || fetch.offset >= limit {
                continue;
            }
            if lane.policy.one_way && lane.window.is_empty() {
                lane.swallow(*fetch, actions);
            } else {
                lane.accept(part, *fetch, now, rng);
            }
        }
        let scanned_to = scanned_to.min(limit);
        lane.window.scanned(part, scanned_to);
        if starved && scanned_to < lane.end {
            lane.grow_prefetch();
        }
        if scanned_to <= from {
            lane.fetch_after = now.plus(self.options.refetch_delay_us);
        }
        if lane.window.cursor() != cursor {
            self.mark_dirty(slot);
        }
        self.touch(slot, actions);
    }

    fn finished(
        &mut self,
        flight: &Flight,
        latency_us: u64,
        results: &Results,
        actions: &mut Vec<Action>,
    ) {
        self.turns.finished(flight.group_slot);
        self.queues.finished(flight.queue_slot);
        let slot = flight.lane_slot;
        let same = |lane: &&mut Lane| lane.serial == flight.lane_serial;
        let Some(lane) = self.lanes.get_mut(slot).filter(same) else {
            return;
        };
        let reached = lane.in_flight >= lane.limit() || lane.paced_at() > self.now;
        lane.in_flight -= 1;
        lane.probing &= !flight.probe;
        let finish = Finish {
            flight,
            results,
            latency_us,
            reached,
            now: self.now,
        };
        lane.absorb(&finish, &mut self.rng);
        lane.conclude(&finish, &mut self.rng, actions);
        self.mark_dirty(slot);
        self.touch(slot, actions);
    }

    fn damaged(&mut self, id: LaneId, offset: Offset, actions: &mut Vec<Action>) {
        let Some(slot) = self.lanes.slot_of(id) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        if lane.discard(offset, Outcome::Rejected(RejectReason::Damaged), actions) {
            self.mark_dirty(slot);
            self.touch(slot, actions);
        }
    }

    fn mark_dirty(&mut self, slot: u32) {
        if self.lanes.seat_mut(slot).is_some_and(Seat::mark_dirty) {
            self.dirty.push(slot);
        }
    }

    /// Looks at a lane after anything that may have changed what it could do.
    fn touch(&mut self, slot: u32, actions: &mut Vec<Action>) {
        let now = self.now;
        let lane = match self.lanes.seat_mut(slot) {
            Some(Seat::Busy(lane)) => lane,
            Some(Seat::Idle(idle)) if !self.draining => return actions.extend(idle.fetch()),
            _ => return,
        };
        let state = lane.seen_state();
        if state != lane.state {
            lane.state = state;
            lane.state_since = now;
            actions.push(Action::StateChanged {
                lane: lane.id,
                state,
            });
        }
        if self.draining {
            self.turns.leave(slot);
            return;
        }
        lane.fork(now);
        lane.hurry_stragglers(now);
        let want = if lane.place.is_own() {
            lane.wants(now)
        } else {
            lane.wants_in_queue(now, slot, &mut self.queues)
        };
        if let Some(want) = want {
            lane.window.fetching = Some(want.part);
            actions.push(Action::Fetch {
                lane: lane.id,
                stream: lane.stream,
                from: want.from,
                to: want.to,
                max: usize::try_from(want.max).expect("usize has at least 32 bits"),
            });
        }
        if now < lane.fetch_after {
            self.wakes.wake_by(slot, lane.fetch_after);
        }
        match lane.choose(now) {
            Choice::Start(_) if lane.must_wait_for_slot(slot, &mut self.queues) => {
                self.turns.leave(slot);
            }
            Choice::Start(_) => self.turns.enter(slot, lane.in_flight == 0),
            Choice::Wait(at) => {
                self.turns.leave(slot);
                self.wakes.wake_by(slot, at);
            }
            Choice::Nothing => self.turns.leave(slot),
        }
        if lane.window.is_empty() && lane.window.fetching.is_none() {
            lane.rest();
            if lane.window.cursor() >= lane.until && !lane.completed {
                lane.completed = true;
                actions.push(Action::Completed { lane: lane.id });
            }
            match lane.idle_at(self.options.idle_after_us) {
                Some(at) if at <= now => {
                    actions.extend(lane.calm_down(now));
                    let idle = lane.lull();
                    self.lanes.replace(slot, Seat::Idle(Box::new(idle)));
                }
                Some(at) => self.wakes.wake_by(slot, at),
                None => {}
            }
        }
    }

    /// Lets lanes that share a queue have what others of it gave back.
    fn refill(&mut self, actions: &mut Vec<Action>) {
        while let Some((slot, need)) = self.queues.next_waiting() {
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.place.stop_waiting(need);
            }
            self.touch(slot, actions);
        }
    }

    /// Starts attempts while there are slots and lanes that could use them.
    fn dispatch(&mut self, actions: &mut Vec<Action>) {
        while self.flights.bytes() < self.options.in_flight_bytes_max {
            let Some(slot) = self.turns.next(self.flights.count()) else {
                return;
            };
            self.start(slot, actions);
            self.touch(slot, actions);
        }
    }

    fn start(&mut self, slot: u32, actions: &mut Vec<Action>) {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let Choice::Start(pick) = lane.choose(now) else {
            return;
        };
        if lane.must_wait_for_slot(slot, &mut self.queues) {
            return;
        }
        let Some(taken) = lane.take(pick, now) else {
            debug_assert!(
                false,
                "{pick:?} was chosen but there is nothing of the kind"
            );
            return;
        };
        let attempt = self.flights.begin(Flight {
            lane_slot: slot,
            lane_serial: lane.serial,
            group_slot: lane.group_slot,
            queue_slot: lane.place.queue,
            jobs: taken.seqs,
            bytes: taken.bytes,
            began: now,
            probe: pick == crate::lane::Pick::Probe,
        });
        self.turns.started(slot, taken.bytes);
        self.queues.started(lane.place.queue);
        actions.push(Action::Start {
            attempt,
            lane: lane.id,
            jobs: taken.jobs,
        });
    }
}

fn valid(policy: Arc<LanePolicy>) -> Arc<LanePolicy> {
    if let Err(error) = policy.validate() {
        panic!("the policy was not validated: {error}");
    }
    policy
}

#[cfg(test)]
mod tests;
