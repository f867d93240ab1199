//! For tests: a `Control` that plays back fixed answers and remembers what it was asked.

use std::sync::Mutex;

use model::lane::LaneStatus;
use model::{ConnectionId, LaneId, LaneState, Offset, OutcomeCounts, RejectReason, UnixMillis};

use crate::control::*;

pub(crate) fn lane(id: u32, connection: &str) -> LaneStatus {
    let (source, destination) = connection.split_once(':').unwrap_or((connection, "crm"));
    LaneStatus {
        lane: LaneId(id),
        connection: connection.to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        definition: "webhook".to_owned(),
        state: LaneState::Active,
        state_since: UnixMillis(1_000),
        cause: None,
        accepted: 0,
        counts: OutcomeCounts::default(),
        pending: 0,
        retrying: 0,
        in_flight: 0,
        concurrency_limit: 4,
        rate_limit_per_s: None,
        ordered: false,
        cursor: Offset(0),
        oldest_unsettled: None,
        backlog_age_ms: 0,
        next_attempt_at: None,
        latency_ms_buckets: Vec::new(),
        latency_ms_sum: 0,
        attempts: Vec::new(),
        last_error: None,
    }
}

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) lanes: Vec<LaneStatus>,
    pub(crate) asked: Mutex<Vec<String>>,
    /// Answers to `lanes` never come.
    pub(crate) hangs: bool,
}

impl Fake {
    fn note<T: Send + 'static>(&self, asked: String, answer: T) -> Answer<'_, T> {
        self.asked.lock().unwrap().push(asked);
        Box::pin(async { answer })
    }

    fn known(&self, connection: &str) -> Result<LaneStatus, ControlError> {
        let found = self
            .lanes
            .iter()
            .find(|lane| lane.connection == connection)
            .cloned();
        found.ok_or_else(|| {
            ControlError::NotFound(format!("no connection {connection:?}: see GET /v1/lanes"))
        })
    }
}

fn letter(id: u64) -> DeadLetterSummary {
    // Ids stand in for connections, so that a test sees what it asked for.
    DeadLetterSummary {
        id,
        connection: format!("web:{}", ConnectionId(7).0),
        offset: Offset(id * 10),
        message_id: format!("m-{id}"),
        reason: RejectReason::Refused,
        expired: false,
        detail: "the destination answered 400".to_owned(),
        status: Some(400),
        attempts: 1,
        received_at: UnixMillis(1),
        died_at: UnixMillis(2),
        queued: false,
    }
}

fn replay(id: u64) -> ReplayStatus {
    ReplayStatus {
        id,
        connection: "web:crm".to_owned(),
        from: Offset(0),
        to: Offset(9),
        filter: None,
        rate_limit_per_s: None,
        state: ReplayState::Running,
        started_at: UnixMillis(1),
        ended_at: None,
        counts: OutcomeCounts::default(),
        pending: Some(9),
        lane: None,
    }
}

impl Control for Fake {
    fn ready(&self) -> Result<(), String> {
        if self.lanes.is_empty() {
            Err("the log is being recovered".to_owned())
        } else {
            Ok(())
        }
    }

    fn status(&self) -> Answer<'_, Status> {
        let balance = BalanceSheet::of(3, &self.lanes);
        self.note(
            "status".to_owned(),
            Status {
                balance,
                ..Status::default()
            },
        )
    }

    fn lanes(&self) -> Answer<'_, Vec<LaneStatus>> {
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        self.note("lanes".to_owned(), self.lanes.clone())
    }

    fn lane<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<LaneDetail, ControlError>> {
        let lane = self.known(connection).map(|lane| LaneDetail {
            lane,
            samples: Vec::new(),
            minutes: Vec::new(),
        });
        self.note(format!("lane {connection}"), lane)
    }

    fn hold<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>> {
        self.note(
            format!("hold {connection}"),
            self.known(connection).map(drop),
        )
    }

    fn resume<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>> {
        self.note(
            format!("resume {connection}"),
            self.known(connection).map(drop),
        )
    }

    fn dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Answer<'_, Result<Vec<DeadLetterSummary>, ControlError>> {
        let first = query.after.unwrap_or(0) + 1;
        let letters = (first..=5).take(query.limit).map(letter).collect();
        self.note(format!("{query:?}"), Ok(letters))
    }

    fn dead_letter_totals<'a>(
        &'a self,
        connection: Option<&'a str>,
    ) -> Answer<'a, Result<DeadLetterTotals, ControlError>> {
        let totals = DeadLetterTotals {
            letters: 5,
            evicted: 3,
            ..DeadLetterTotals::default()
        };
        self.note(format!("totals {connection:?}"), Ok(totals))
    }

    fn dead_letter(&self, id: u64) -> Answer<'_, Result<DeadLetterDetail, ControlError>> {
        let event = serde_json::json!({ "type": "track" });
        let detail = DeadLetterDetail {
            summary: letter(id),
            event,
            response: None,
        };
        self.note(format!("dead_letter {id}"), Ok(detail))
    }

    fn redeliver(&self, selection: Selection) -> Answer<'_, Result<Vec<Redelivery>, ControlError>> {
        let queued = vec![Redelivery {
            connection: "web:crm".to_owned(),
            queued: 2,
        }];
        self.note(format!("{selection:?}"), Ok(queued))
    }

    fn replay(&self, request: ReplayRequest) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        let replay = ReplayStatus {
            connection: request.connection.clone(),
            filter: request.filter.clone(),
            rate_limit_per_s: request.rate_limit_per_s,
            ..replay(1)
        };
        self.note(format!("{request:?}"), Ok(replay))
    }

    fn replays(&self) -> Answer<'_, Result<Vec<ReplayStatus>, ControlError>> {
        self.note("replays".to_owned(), Ok(Vec::new()))
    }

    fn replay_by_id(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        self.note(format!("replay {id}"), Ok(replay(id)))
    }

    fn cancel_replay(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        let replay = ReplayStatus {
            state: ReplayState::Cancelled,
            ..replay(id)
        };
        self.note(format!("cancel {id}"), Ok(replay))
    }

    fn destinations(&self) -> Answer<'_, Vec<DestinationStatus>> {
        self.note("destinations".to_owned(), Vec::new())
    }

    fn reload(&self) -> Answer<'_, Result<ReloadReport, ControlError>> {
        let error = "fairlane.toml:3:1: no such key \"prot\"; did you mean \"port\"?";
        self.note(
            "reload".to_owned(),
            Err(ControlError::Invalid(error.to_owned())),
        )
    }

    fn metrics(&self) -> Answer<'_, MetricsSnapshot> {
        let snapshot = MetricsSnapshot {
            lanes: self.lanes.clone(),
            ..MetricsSnapshot::default()
        };
        self.note("metrics".to_owned(), snapshot)
    }
}
