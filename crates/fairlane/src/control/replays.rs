//! Replays, as the management API begins, shows and ends them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use admin::control::{ControlError, LogPoint, ReplayRequest, ReplayState, ReplayStatus};
use model::lane::LaneStatus;
use model::{ConnectionId, LaneId, Offset, UnixMillis};
use store::{LaneKind, LaneRow, ReplayTerms};

use super::{Steering, of_delivery};
use crate::command::vet::Unit;
use crate::serve::apart;

/// How long an answer waits for the end of a replay to be on the disk.
const END_WAIT: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(10);

impl Steering {
    pub(super) async fn start_replay(
        &self,
        request: ReplayRequest,
    ) -> Result<ReplayStatus, ControlError> {
        let connection = self.connection_id(&request.connection)?;
        if let Some(filter) = request.filter.clone() {
            // Compiling takes milliseconds: not on the thread that answers others.
            tokio::task::spawn_blocking(move || check_filter(filter))
                .await
                .map_err(|_| ControlError::Invalid("the filter cannot be compiled".to_owned()))??;
        }
        let from = self.point(connection, request.from).await?;
        let to = match request.to {
            None => self.parts.log.end(),
            Some(to) => self.point(connection, to).await?,
        };
        let terms = ReplayTerms {
            filter: request.filter,
            rate_limit_per_s: request.rate_limit_per_s,
        };
        let delivery = &self.parts.delivery;
        let lane = delivery
            .replay(&request.connection, from, to, terms)
            .await
            .map_err(of_delivery)?;
        let rows = self.look(|parts| parts.store.replays()).await?;
        let rows = rows.into_iter().filter(|row| row.lane == lane).collect();
        let shown = self.replay_statuses(rows).await?;
        shown
            .into_iter()
            .next()
            .ok_or_else(|| ControlError::Internal("the replay was not recorded".to_owned()))
    }

    pub(super) async fn all_replays(&self) -> Result<Vec<ReplayStatus>, ControlError> {
        let rows = self.look(|parts| parts.store.replays()).await?;
        self.replay_statuses(rows).await
    }

    pub(super) async fn one_replay(&self, id: u64) -> Result<ReplayStatus, ControlError> {
        let row = self.replay_row(id).await?;
        let mut shown = self.replay_statuses(vec![row]).await?;
        shown.pop().ok_or_else(|| no_such_replay(id))
    }

    pub(super) async fn end_replay(&self, id: u64) -> Result<ReplayStatus, ControlError> {
        let running = self.one_replay(id).await?;
        if running.state != ReplayState::Running {
            return Err(ControlError::Conflict(format!(
                "replay {id} has ended already"
            )));
        }
        let row = self.replay_row(id).await?;
        let ended = self.parts.delivery.cancel_replay(row.connection, row.lane);
        ended.await.map_err(of_delivery)?;
        let given_up = tokio::time::Instant::now() + END_WAIT;
        loop {
            let replay = self.one_replay(id).await?;
            if replay.state != ReplayState::Running {
                return Ok(replay);
            }
            if tokio::time::Instant::now() >= given_up {
                return Err(ControlError::Unavailable(format!(
                    "replay {id} is ending: ask again in a moment"
                )));
            }
            tokio::time::sleep(END_POLL).await;
        }
    }

    async fn replay_row(&self, id: u64) -> Result<LaneRow, ControlError> {
        let rows = self.look(|parts| parts.store.replays()).await?;
        let is_it =
            |row: &LaneRow| matches!(row.kind, LaneKind::Replay { id: one, .. } if one == id);
        rows.into_iter()
            .find(is_it)
            .ok_or_else(|| no_such_replay(id))
    }

    /// Only the lanes of the connections that have a replay under way are asked for: somebody who
    /// follows one asks five times a second, and there may be 100,000 others.
    async fn replay_statuses(&self, rows: Vec<LaneRow>) -> Result<Vec<ReplayStatus>, ControlError> {
        let running = rows.iter().filter(|row| !row.finished);
        let connections: BTreeSet<ConnectionId> = running.map(|row| row.connection).collect();
        let mut lanes = HashMap::new();
        for connection in connections {
            let of_one = self.parts.delivery.lanes_of(connection).await;
            lanes.extend(of_one.into_iter().map(|lane| (lane.lane, lane)));
        }
        let ended = |row: &&LaneRow| !row.finished && !lanes.contains_key(&row.lane);
        let rows = match rows.iter().any(|row| ended(&row)) {
            false => rows,
            // One has ended in between: the store knows how.
            true => {
                let wanted: BTreeSet<LaneId> = rows.iter().map(|row| row.lane).collect();
                let all = self.look(|parts| parts.store.replays()).await?;
                let wanted = all.into_iter().filter(|row| wanted.contains(&row.lane));
                wanted.collect()
            }
        };
        let shown = rows
            .iter()
            .filter_map(|row| self.replay_status(row, &lanes));
        Ok(shown.collect())
    }

    async fn point(
        &self,
        connection: ConnectionId,
        point: LogPoint,
    ) -> Result<Offset, ControlError> {
        match point {
            LogPoint::Offset(offset) => Ok(offset),
            LogPoint::Time(time) => Ok(self.parts.log.offset_at(time)),
            LogPoint::Start => {
                let rows = self
                    .look(move |parts| parts.store.lanes_of(connection))
                    .await?;
                let is_own = |row: &&LaneRow| row.kind == LaneKind::Live && !row.finished;
                let own = rows.iter().find(is_own);
                own.map(|row| row.start).ok_or_else(|| {
                    ControlError::Conflict("the connection has no lane yet: try again".to_owned())
                })
            }
        }
    }

    fn replay_status(
        &self,
        row: &LaneRow,
        lanes: &HashMap<LaneId, LaneStatus>,
    ) -> Option<ReplayStatus> {
        let LaneKind::Replay { id, from, to } = row.kind else {
            return None;
        };
        let state = match (row.finished, row.cancelled) {
            (false, _) => ReplayState::Running,
            (true, false) => ReplayState::Finished,
            (true, true) => ReplayState::Cancelled,
        };
        let lane = lanes.get(&row.lane).filter(|_| !row.finished).cloned();
        let counts = lane
            .as_ref()
            .map_or(row.progress.counts, |lane| lane.counts);
        Some(ReplayStatus {
            id,
            connection: self.connection_name(row.connection),
            from,
            to,
            filter: row.terms.filter.clone(),
            rate_limit_per_s: row.terms.rate_limit_per_s,
            state,
            // A replay's number is the time at which it was asked for.
            started_at: UnixMillis(id),
            ended_at: row.ended_at,
            counts,
            pending: match state {
                ReplayState::Running => lane.as_ref().map(|lane| lane.pending),
                ReplayState::Finished => Some(0),
                ReplayState::Cancelled => None,
            },
            lane,
        })
    }
}

/// As the filters of connections are: in a process apart first.
fn check_filter(filter: String) -> Result<(), ControlError> {
    let unit = Unit::Filter(filter);
    let verdicts = apart::vet(std::slice::from_ref(&unit))
        .map_err(|error| ControlError::Internal(format!("{error:#}")))?;
    match verdicts.into_iter().flatten().next() {
        Some(problem) => Err(ControlError::Invalid(format!("filter: {problem}"))),
        None => unit
            .check()
            .map_err(|error| ControlError::Invalid(error.to_string())),
    }
}

fn no_such_replay(id: u64) -> ControlError {
    ControlError::NotFound(format!(
        "there is no replay {id}: `fairlane replays list` shows them"
    ))
}
