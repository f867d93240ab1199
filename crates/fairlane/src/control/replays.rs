//! Replays, as the management API begins, shows and ends them.

use std::collections::HashMap;
use std::time::Duration;

use admin::control::{ControlError, LogPoint, ReplayRequest, ReplayState, ReplayStatus};
use model::lane::LaneStatus;
use model::{ConnectionId, LaneId, Offset, UnixMillis};
use store::{LaneKind, LaneRow, ReplayTerms};

use super::{Steering, of_delivery};

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
            let checked = tokio::task::spawn_blocking(move || catalog::check_filter(&filter));
            checked
                .await
                .map_err(|_| ControlError::Invalid("the filter cannot be compiled".to_owned()))?
                .map_err(|error| ControlError::Invalid(error.to_string()))?;
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
        let all = self.replay_rows().await?;
        let row = all.iter().find(|row| row.lane == lane);
        let lanes = self.lanes_by_id().await;
        row.and_then(|row| self.replay_status(row, &lanes))
            .ok_or_else(|| ControlError::Internal("the replay was not recorded".to_owned()))
    }

    pub(super) async fn all_replays(&self) -> Result<Vec<ReplayStatus>, ControlError> {
        // The lanes first: one that ends in between is finished in the rows.
        let lanes = self.lanes_by_id().await;
        let rows = self.replay_rows().await?;
        let shown = rows
            .iter()
            .filter_map(|row| self.replay_status(row, &lanes));
        Ok(shown.collect())
    }

    pub(super) async fn one_replay(&self, id: u64) -> Result<ReplayStatus, ControlError> {
        let all = self.all_replays().await?;
        let found = all.into_iter().find(|replay| replay.id == id);
        found.ok_or_else(|| {
            ControlError::NotFound(format!(
                "there is no replay {id}: `fairlane replays` lists them"
            ))
        })
    }

    pub(super) async fn end_replay(&self, id: u64) -> Result<ReplayStatus, ControlError> {
        let running = self.one_replay(id).await?;
        if running.state != ReplayState::Running {
            return Err(ControlError::Conflict(format!(
                "replay {id} has ended already"
            )));
        }
        let rows = self.replay_rows().await?;
        let is_it =
            |row: &&LaneRow| matches!(row.kind, LaneKind::Replay { id: one, .. } if one == id);
        if let Some(row) = rows.iter().find(is_it) {
            let ended = self.parts.delivery.cancel_replay(row.connection, row.lane);
            ended.await.map_err(of_delivery)?;
        }
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

    async fn lanes_by_id(&self) -> HashMap<LaneId, LaneStatus> {
        let lanes = self.live_lanes().await;
        lanes.into_iter().map(|lane| (lane.lane, lane)).collect()
    }

    async fn replay_rows(&self) -> Result<Vec<LaneRow>, ControlError> {
        let is_replay = |row: &LaneRow| matches!(row.kind, LaneKind::Replay { .. });
        let rows = self.look(|parts| parts.store.lanes()).await?;
        Ok(rows.into_iter().filter(is_replay).collect())
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
                let rows = self.look(|parts| parts.store.lanes()).await?;
                let is_own = |row: &&LaneRow| {
                    row.connection == connection && row.kind == LaneKind::Live && !row.finished
                };
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
