//! A lane as its shard keeps it: small while nothing happens, with a transformer and figures once
//! something does.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use catalog::{OrderKey, Transformer};
use model::lane::LATENCY_BUCKETS_MS;
use model::{
    ConnectionId, LaneId, LaneProgress, LaneState, MonoMicros, Offset, Outcome, SourceId,
    UnixMillis,
};
use store::{Held, LaneKind, ReplayTerms};

use crate::plan::Plan;

mod books;
mod minutes;
pub(crate) mod pace;
mod seen;
mod told;

pub(crate) use books::{Books, Gone, Look};
pub(crate) use minutes::MinuteQueue;
use minutes::Minutes;
use pace::Pace;
use told::Told;

/// What a shard is told of a lane that it is to serve.
pub(crate) struct LaneSpec {
    pub(crate) plan: Arc<Plan>,
    pub(crate) kind: LaneKind,
    /// The first offset that is the lane's business.
    pub(crate) start: Offset,
    /// What a replay was asked for; `None` for most. There are as many of these at a start as lanes.
    pub(crate) terms: Option<Box<ReplayTerms>>,
    pub(crate) progress: LaneProgress,
    /// Since when its progress has a hold, and why.
    pub(crate) held: Option<Box<Held>>,
    /// It was at work before this process began.
    pub(crate) staggered: bool,
}

pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) kind: LaneKind,
    /// Boxed, as few lanes are replays.
    terms: Option<Box<ReplayTerms>>,
    pub(crate) books: Books,
    /// Of a redelivery, once they are counted: queued dead letters that the scheduler has not been
    /// given yet.
    pub(crate) unread: Option<u64>,
    /// How far the store has it: what a restart would begin with.
    pub(crate) durable: Offset,
    /// Made at the first job, given back when the lane has been idle for long.
    pub(crate) transformer: Option<Rc<RefCell<Transformer>>>,
    /// Tells its events' keys, once it has some whose order matters.
    order_key: Option<Rc<RefCell<OrderKey>>>,
    pub(crate) used_at: MonoMicros,
    /// Held by a person, and not only switched off by the configuration.
    pub(crate) held_by_operator: bool,
    /// As the scheduler has it; [`Lane::shown_state`] is what people see.
    pub(crate) state: LaneState,
    pub(crate) state_since: UnixMillis,
    pub(crate) told: Told,
    /// The least time left, of [`crate::retention::WARNINGS_S`], that was told of its oldest event.
    pub(crate) warned_s: Option<NonZeroU32>,
    /// Boxed, as most lanes of a large installation have nothing to say.
    pub(crate) figures: Option<Box<Figures>>,
}

/// What a lane has done since the process began.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) latency_ms_buckets: Vec<u64>,
    pub(crate) latency_ms_sum: u64,
    /// By status, or by failure.
    pub(crate) attempts: Vec<(AttemptResult, u64)>,
    pub(crate) last_error: Option<String>,
    /// What brought the lane into its state, where it is not simply active.
    pub(crate) cause: Option<String>,
    pub(crate) minutes: Minutes,
    pub(crate) pace: Pace,
    pub(crate) sampled_failed_at: Option<MonoMicros>,
    pub(crate) sampled_delivered_at: Option<MonoMicros>,
}

/// What an attempt came back with, as it is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AttemptResult {
    Status(u16),
    /// No request was sent, or no answer came.
    Other(&'static str),
}

impl AttemptResult {
    /// The request of an idle connection that had died was sent again at once.
    pub(crate) const RESENT: Self = Self::Other("resent");

    pub(crate) fn text(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Other(text) => text.to_owned(),
        }
    }
}

impl Lane {
    pub(crate) fn new(spec: LaneSpec, books: Books, now: MonoMicros, unix: UnixMillis) -> Self {
        let held_by_operator = spec.progress.hold == Some(model::HoldReason::Operator);
        let state = match spec.progress.hold {
            Some(reason) => LaneState::Held { reason },
            None => LaneState::Active,
        };
        let state_since = spec.held.as_ref().map_or(unix, |held| held.since);
        let figures = spec.held.map(|held| {
            Box::new(Figures {
                last_error: Some(held.cause.clone()),
                cause: Some(held.cause.clone()),
                ..Figures::default()
            })
        });
        Self {
            id: spec.progress.lane,
            plan: on_terms(spec.plan, spec.terms.as_deref()),
            kind: spec.kind,
            terms: spec.terms,
            books,
            unread: None,
            durable: spec.progress.cursor,
            transformer: None,
            order_key: None,
            used_at: now,
            held_by_operator,
            state,
            state_since,
            told: Told::new(state),
            warned_s: None,
            figures,
        }
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.plan.connection.id
    }

    pub(crate) fn stream(&self) -> SourceId {
        self.plan.connection.source
    }

    /// The state that a person sees: `state`, unless the configuration has switched the lane off.
    pub(crate) fn shown_state(&self, state: LaneState) -> LaneState {
        if !self.plan.is_enabled() && self.plan.definition.is_ok() {
            return LaneState::Disabled;
        }
        state
    }

    /// Events of one key go in order. What is delivered again goes as it was asked for.
    pub(crate) fn is_ordered(&self) -> bool {
        self.plan.policy.ordered && self.kind != LaneKind::Redelivery
    }

    /// What tells its events' keys; `None` where their order does not matter.
    pub(crate) fn order_key(&mut self) -> Option<Result<Rc<RefCell<OrderKey>>, String>> {
        if !self.is_ordered() {
            return None;
        }
        if self.order_key.is_none() {
            match self.plan.order_key() {
                Ok(order_key) => self.order_key = Some(Rc::new(RefCell::new(order_key))),
                Err(problem) => return Some(Err(problem)),
            }
        }
        self.order_key.clone().map(Ok)
    }

    /// What a new plan of its connection means to this lane.
    pub(crate) fn planned(&self, plan: Arc<Plan>) -> Arc<Plan> {
        on_terms(plan, self.terms.as_deref())
    }

    /// The plan has changed: what was made by the old one is made anew.
    pub(crate) fn forget_programs(&mut self) {
        self.transformer = None;
        self.order_key = None;
        if let Some(figures) = self.figures.as_mut() {
            figures.pace = Pace::default();
        }
    }

    pub(crate) fn figures(&mut self) -> &mut Figures {
        self.figures.get_or_insert_default()
    }

    /// The lane has looked at a part of its stream. What it missed there is told.
    pub(crate) fn looked(&mut self, look: &Look<'_>, unix: UnixMillis) {
        let Gone { removed, damaged } = self.books.looked(look);
        self.lose(removed, "removed by retention", unix);
        self.lose(damaged, "lost with damaged or missing segments", unix);
    }

    /// Retention has removed what lies below `first`: `before` records of its stream. Whether the
    /// lane has lost some by that.
    pub(crate) fn trimmed(&mut self, first: Offset, before: u64, unix: UnixMillis) -> bool {
        let gone = self.books.trimmed(first, before);
        self.lose(gone.removed, "removed by retention", unix);
        gone.removed > 0
    }

    fn lose(&mut self, events: u64, how: &str, unix: UnixMillis) {
        if events == 0 {
            return;
        }
        let connection = &self.plan.connection.name;
        let lane = self.id.0;
        tracing::error!(
            %connection,
            lane,
            events,
            how,
            "events are gone that were not delivered yet"
        );
        let figures = self.figures();
        figures.minutes.at(unix).expired += events;
        figures.last_error = Some(format!(
            "{events} events were {how} before they were delivered"
        ));
    }

    /// Whether there is a transformer, or one is made quickly.
    pub(crate) fn is_compiled(&self) -> bool {
        self.transformer.is_some() || self.plan.is_compiled()
    }

    /// The transformer, made now if there is none.
    ///
    /// # Errors
    /// The definition, the settings, the filter or the transform is wrong: the lane must be held,
    /// and a person must read this.
    pub(crate) fn transformer(
        &mut self,
        now: MonoMicros,
    ) -> Result<Rc<RefCell<Transformer>>, String> {
        self.used_at = now;
        if let Some(transformer) = &self.transformer {
            return Ok(Rc::clone(transformer));
        }
        let made = Rc::new(RefCell::new(self.plan.transformer()?));
        self.transformer = Some(Rc::clone(&made));
        Ok(made)
    }
}

fn on_terms(plan: Arc<Plan>, terms: Option<&ReplayTerms>) -> Arc<Plan> {
    match terms {
        Some(terms) => plan.on_terms(terms),
        None => plan,
    }
}

impl Figures {
    /// Counts an attempt.
    pub(crate) fn attempt(&mut self, result: AttemptResult, failed: bool, unix: UnixMillis) {
        match self.attempts.iter_mut().find(|(known, _)| *known == result) {
            Some((_, count)) => *count += 1,
            // A hostile destination may answer with 900 different statuses, and no more.
            None => self.attempts.push((result, 1)),
        }
        if failed {
            self.minutes.at(unix).attempts_failed += 1;
        }
    }

    /// Counts a job that has ended.
    pub(crate) fn settled(&mut self, outcome: Outcome, unix: UnixMillis) {
        let minute = self.minutes.at(unix);
        match outcome {
            Outcome::Delivered => minute.delivered += 1,
            Outcome::Rejected(_) => minute.rejected += 1,
            Outcome::Expired(_) => minute.expired += 1,
            Outcome::Filtered(_) => minute.filtered += 1,
        }
    }

    /// Counts the time from receipt to delivery of one event.
    pub(crate) fn delivered_after(&mut self, latency_ms: u64) {
        if self.latency_ms_buckets.is_empty() {
            self.latency_ms_buckets = vec![0; LATENCY_BUCKETS_MS.len() + 1];
        }
        let index = LATENCY_BUCKETS_MS.partition_point(|bound| *bound < latency_ms);
        if let Some(bucket) = self.latency_ms_buckets.get_mut(index) {
            *bucket += 1;
        }
        self.latency_ms_sum += latency_ms;
    }
}
