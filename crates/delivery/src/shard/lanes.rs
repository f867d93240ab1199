//! Lanes come, change and go.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::{ConnectionId, HoldReason, LaneId, LaneProgress, LaneState, Offset};
use scheduler::{Input, StreamKey};
use store::{FinishedLane, Held, HeldLane, LaneKind, Store};

use super::command::Applied;
use super::status::shown_name;
use super::{Event, REDELIVERY_BIT, Shard};
use crate::clock::Clock;
use crate::lane::{Books, Lane, LaneSpec, Look};
use crate::plan::{Plan, Plans};

impl Lane {
    /// Whether its jobs are records of the log, and not dead letters.
    pub(super) fn reads_log(&self) -> bool {
        self.kind != LaneKind::Redelivery
    }

    pub(super) fn stream_key(&self) -> StreamKey {
        match self.kind {
            LaneKind::Redelivery => StreamKey(REDELIVERY_BIT | u64::from(self.connection().0)),
            LaneKind::Live | LaneKind::Replay { .. } => StreamKey(u64::from(self.stream().0)),
        }
    }

    /// Adds what only delivery knows to the progress that is to be saved.
    pub(super) fn complete_progress(&self, progress: &mut LaneProgress) {
        progress.counts.expired += self.books.unseen;
        // A hold that comes from the configuration is not kept: the configuration says it again.
        let from_configuration = match progress.hold {
            Some(HoldReason::Definition) => true,
            Some(HoldReason::Operator) => !self.held_by_operator,
            _ => false,
        };
        if from_configuration {
            progress.hold = None;
        }
    }
}

impl Shard {
    pub(super) fn add_lane(&mut self, spec: LaneSpec) {
        let now = self.clock.mono();
        let (end, until) = match spec.kind {
            LaneKind::Live => (self.log.end(), None),
            LaneKind::Replay { to, .. } => (to, Some(to)),
            LaneKind::Redelivery => (END_OF_QUEUE, Some(END_OF_QUEUE)),
        };
        let (progress, staggered) = (spec.progress.clone(), spec.staggered);
        let was_held = progress.hold;
        let books = self.books(&spec);
        let mut lane = Lane::new(spec, books, now, Clock::unix());
        if lane.kind == LaneKind::Live && lane.durable >= end {
            self.look_at_end(&mut lane, end);
        }
        let input = Input::AddLane {
            lane: lane.id,
            group: lane.stream().0,
            queue: self.options.queues.number(lane.plan.connection.destination),
            stream: lane.stream_key(),
            policy: lane.plan.policy.clone(),
            progress,
            end,
            staggered,
            until,
        };
        let id = lane.id;
        match lane.kind {
            LaneKind::Live => {
                self.live.insert(lane.connection(), id);
            }
            LaneKind::Redelivery => {
                self.redelivering.insert(lane.connection());
            }
            LaneKind::Replay { .. } => {}
        }
        let inherits = !staggered && lane.kind != LaneKind::Live && self.is_held_by_operator(&lane);
        lane.held_by_operator |= inherits;
        let has_lost = lane.books.unseen > 0;
        if lane.kind == LaneKind::Redelivery {
            self.count_unread(&lane);
        }
        self.lanes.insert(id, lane);
        self.step(input, None);
        if has_lost {
            self.save_soon(id);
        }
        self.hold_if_unfit(id);
        if inherits {
            let reason = HoldReason::Operator;
            self.step(Input::Hold { lane: id, reason }, None);
        }
        if let Some(lane) = self.lanes.get(&id)
            && staggered
            && let LaneState::Held { reason } = lane.state
            && was_held == Some(reason)
        {
            let (connection, reason) = (shown_name(lane), reason.as_str());
            tracing::info!(%connection, lane = id.0, reason, "lane is still held");
        }
    }

    /// What somebody has stopped stays stopped, also for what is begun afterwards.
    fn is_held_by_operator(&self, lane: &Lane) -> bool {
        let live = self.live.get(&lane.connection());
        live.and_then(|live| self.lanes.get(live))
            .is_some_and(|live| live.held_by_operator)
    }

    /// A lane that has nothing to do does not look before something comes: where the log has lost
    /// records, its counts show it now.
    fn look_at_end(&self, lane: &mut Lane, end: Offset) {
        let at = lane.durable;
        let counted = self.log.stream_count_before(lane.stream(), end);
        let (Ok(counted), Some(before)) = (counted, lane.books.below(at)) else {
            return;
        };
        let look = Look {
            from: at,
            first: at,
            to: at,
            before,
            found: &[],
            counted: Some(counted),
        };
        lane.looked(&look, Clock::unix());
    }

    /// The log counts exactly from its first retained record on; below that, a lane knows how many
    /// of its own it has settled.
    fn books(&self, spec: &LaneSpec) -> Books {
        let (stream, progress) = (spec.plan.connection.source, &spec.progress);
        let before = |offset| {
            let counted = self.log.stream_count_before(stream, offset);
            counted.unwrap_or_default()
        };
        let first = self.log.first();
        let books = if spec.kind == LaneKind::Redelivery || spec.start == Offset::ZERO {
            Books::new(0, progress)
        } else if spec.start >= first {
            Books::new(
                i64::try_from(before(spec.start)).unwrap_or(i64::MAX),
                progress,
            )
        } else {
            Books::from_cursor(before(progress.cursor.max(first)), progress)
        };
        match spec.kind {
            LaneKind::Replay { to, .. } => books.until(before(to)),
            LaneKind::Live | LaneKind::Redelivery => books,
        }
    }

    /// Holds a lane that its configuration does not let work.
    fn hold_if_unfit(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let problem = lane.plan.definition.as_ref().err().cloned();
        let reason = match problem {
            Some(problem) => {
                lane.figures().last_error = Some(problem);
                HoldReason::Definition
            }
            None if !lane.plan.is_enabled() => HoldReason::Operator,
            None => return,
        };
        self.step(Input::Hold { lane: id, reason }, None);
    }

    /// Holds a lane whose programs do not compile.
    pub(super) fn hold_for_definition(&mut self, id: LaneId, problem: &str) {
        let hold = self.definition_hold(id, problem);
        self.step(hold, None);
    }

    /// What stops a lane whose programs do not compile.
    pub(super) fn definition_hold(&mut self, id: LaneId, problem: &str) -> Input {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.figures().last_error = Some(problem.to_owned());
        }
        Input::Hold {
            lane: id,
            reason: HoldReason::Definition,
        }
    }

    /// Takes over a new configuration. Attempts under way keep the transformer they have.
    pub(super) fn apply(&mut self, plans: Plans) -> Applied {
        let mut applied = Applied::default();
        let lanes: Vec<(LaneId, ConnectionId)> = self
            .lanes
            .values()
            .map(|lane| (lane.id, lane.connection()))
            .collect();
        for (id, connection) in lanes {
            match plans.get(&connection) {
                Some(plan) => {
                    if self.replan(id, Arc::clone(plan)) {
                        applied.changed += 1;
                    }
                }
                None => {
                    applied.removed.push(id);
                    self.remove_lane(id);
                }
            }
        }
        applied
    }

    /// Gives a lane its new plan. False where nothing has changed.
    fn replan(&mut self, id: LaneId, plan: Arc<Plan>) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return false;
        };
        let plan = lane.planned(plan);
        let same_work = plan.works_as(&lane.plan);
        let same_policy = plan.policy == lane.plan.policy;
        let same_switch = plan.is_enabled() == lane.plan.is_enabled();
        if !same_work {
            lane.forget_programs();
        }
        let policy = plan.policy.clone();
        lane.plan = plan;
        let stays_held = lane.held_by_operator;
        if !same_policy {
            self.step(Input::SetPolicy { lane: id, policy }, None);
        }
        if !(same_work && same_switch) {
            // Whatever it was held for may be mended now. If it is not, it is held again.
            if !stays_held {
                self.step(Input::Resume { lane: id }, None);
            }
            self.hold_if_unfit(id);
        }
        !(same_work && same_policy && same_switch)
    }

    fn remove_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.remove(&id) else {
            return;
        };
        self.live.retain(|_, live| *live != id);
        if lane.kind == LaneKind::Redelivery {
            self.redelivering.remove(&lane.connection());
        }
        self.step(Input::RemoveLane { lane: id }, None);
    }

    /// A replay or redelivery has done all it had to do.
    pub(super) fn completed(&mut self, id: LaneId) {
        self.end_lane(id, false);
    }

    /// Ends a replay before it is done. What is under way is not waited for.
    pub(super) fn cancel(&mut self, id: LaneId) {
        self.end_lane(id, true);
    }

    fn end_lane(&mut self, id: LaneId, cancelled: bool) {
        let now = self.clock.mono();
        let Some(lane) = self.lanes.remove(&id) else {
            return;
        };
        let last = self.scheduler.view(id, now).map(|view| {
            let mut progress = LaneProgress::new(id, view.cursor);
            progress.counts = view.counts;
            lane.complete_progress(&mut progress);
            progress
        });
        let delivered = last.as_ref().map(|last| last.counts.delivered);
        let connection = shown_name(&lane);
        let said = if cancelled {
            "lane cancelled"
        } else {
            "lane completed"
        };
        tracing::info!(lane = id.0, %connection, delivered, "{said}");
        let redelivery_of = (lane.kind == LaneKind::Redelivery).then(|| lane.connection());
        self.ready
            .push_back(Event::of(Input::RemoveLane { lane: id }));
        let finished = FinishedLane {
            lane: id,
            at: Clock::unix(),
            cancelled,
        };
        self.ledger.finish(finished, last, redelivery_of, now);
    }

    pub(super) fn state_changed(&mut self, id: LaneId, state: LaneState) {
        let now = self.clock.mono();
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if state == lane.state {
            return;
        }
        lane.state = state;
        lane.state_since = Clock::unix();
        let cause = match lane.shown_state(state) {
            LaneState::Active => None,
            LaneState::Disabled => Some("switched off by the configuration".to_owned()),
            LaneState::Held {
                reason: HoldReason::Operator,
            } => Some("somebody asked for it".to_owned()),
            _ => lane.figures.as_ref().and_then(|f| f.last_error.clone()),
        };
        if let LaneState::Held { reason } = state
            && reason != HoldReason::Definition
        {
            let held = Held {
                since: lane.state_since,
                cause: cause.clone().unwrap_or_default(),
            };
            self.ledger.held(HeldLane { lane: id, held }, now);
        }
        if cause.is_some() || lane.figures.is_some() {
            lane.figures().cause = cause;
        }
        let shown = lane.shown_state(state);
        if let Some((before, untold)) = lane.told.changed(shown, now) {
            tell(lane, shown, before, untold);
        }
    }

    /// Tells the process's log of a state that it has not been told of.
    pub(super) fn tell_state(&mut self, id: LaneId) {
        let now = self.clock.mono();
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let shown = lane.shown_state(lane.state);
        if let Some((before, untold)) = lane.told.overdue(shown, now) {
            tell(lane, shown, before, untold);
        }
    }

    /// Looks whether the connection has queued dead letters and no lane for them, and makes one.
    pub(super) fn look_for_queued(&mut self, connection: ConnectionId) {
        // A lane at work looks again itself when it is done.
        if self.redelivering.contains(&connection) || self.draining {
            return;
        }
        let Some(plan) = self.live_plan(connection) else {
            return;
        };
        self.redelivering.insert(connection);
        let (store, inbox) = (self.store.clone(), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            let made = tokio::task::spawn_blocking(move || redelivery_lane(&store, connection));
            let event = match made.await {
                Ok(Ok(Some(progress))) => Event::AddLane(Box::new(LaneSpec {
                    plan,
                    kind: LaneKind::Redelivery,
                    start: Offset::ZERO,
                    terms: None,
                    progress,
                    held: None,
                    staggered: false,
                })),
                Ok(Ok(None)) | Err(_) => Event::NothingToRedeliver(connection),
                Ok(Err(error)) => {
                    tracing::error!(%error, "queued dead letters could not be looked up");
                    tokio::time::sleep(RETRY_LOOKUP).await;
                    Event::Redeliver(connection)
                }
            };
            inbox.push(event);
        });
    }

    /// The connection's redelivery lane is done, or could not be made: looks once more.
    pub(super) fn redeliver(&mut self, connection: ConnectionId) {
        self.redelivering.remove(&connection);
        self.look_for_queued(connection);
    }

    fn live_plan(&self, connection: ConnectionId) -> Option<Arc<Plan>> {
        let lane = self.lanes.get(self.live.get(&connection)?)?;
        Some(Arc::clone(&lane.plan))
    }
}

/// One line for one change of state. `untold`: changes before it that came too fast to be told.
fn tell(lane: &Lane, state: LaneState, before: LaneState, untold: u32) {
    let (connection, lane_id) = (shown_name(lane), lane.id.0);
    let cause = lane.figures.as_ref().and_then(|f| f.cause.as_deref());
    let before = before.as_str();
    match state {
        LaneState::Held { reason } => {
            let reason = reason.as_str();
            tracing::warn!(%connection, lane = lane_id, reason, cause, before, untold, "lane held");
        }
        LaneState::Open => {
            tracing::warn!(%connection, lane = lane_id, cause, before, untold, "lane open");
        }
        LaneState::Throttled => {
            tracing::info!(%connection, lane = lane_id, cause, before, untold, "lane throttled");
        }
        LaneState::HalfOpen => {
            tracing::info!(%connection, lane = lane_id, before, untold, "lane half open");
        }
        LaneState::Active => {
            tracing::info!(%connection, lane = lane_id, before, untold, "lane active");
        }
        LaneState::Disabled => {
            tracing::info!(%connection, lane = lane_id, cause, before, untold, "lane disabled");
        }
    }
}

/// Above every dead letter's id, and no more than the store can keep.
pub(super) const END_OF_QUEUE: Offset = Offset(u64::MAX >> 2);

const RETRY_LOOKUP: Duration = Duration::from_secs(5);

/// A new lane's progress, if the connection has queued letters.
fn redelivery_lane(
    store: &Store,
    connection: ConnectionId,
) -> Result<Option<LaneProgress>, store::Error> {
    if store.queued_dead_letters(connection, 0, 1)?.is_empty() {
        return Ok(None);
    }
    let lane = store.add_lane(connection, LaneKind::Redelivery, Offset::ZERO)?;
    Ok(Some(LaneProgress::new(lane, Offset::ZERO)))
}
