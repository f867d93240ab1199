//! What a shard can be told from other threads.

use std::collections::HashMap;
use std::time::Duration;

use model::lane::LaneStatus;
use model::{ConnectionId, HoldReason, LaneId, Offset, SourceId};
use scheduler::Input;
use tokio::sync::oneshot;

use super::{Flow, Shard};
use crate::lane::LaneSpec;
use crate::plan::Plans;
use crate::retention::Age;

pub(crate) enum Command {
    /// Lanes to serve from now on.
    Add {
        lanes: Vec<LaneSpec>,
        done: oneshot::Sender<()>,
    },
    /// A new configuration: plans of this shard's connections. Lanes of others are removed.
    Apply {
        plans: Plans,
        done: oneshot::Sender<Applied>,
    },
    /// All lanes, or those of one connection.
    Status {
        connection: Option<ConnectionId>,
        reply: oneshot::Sender<Vec<LaneStatus>>,
    },
    /// All lanes of a connection, or one of them.
    Steer {
        connection: ConnectionId,
        lane: Option<LaneId>,
        steer: Steer,
        done: oneshot::Sender<()>,
    },
    /// Stop one lane: it is about to be cancelled.
    HoldLane {
        lane: LaneId,
        done: oneshot::Sender<()>,
    },
    /// End a replay before it is done.
    Cancel {
        lane: LaneId,
        done: oneshot::Sender<()>,
    },
    /// The connection has queued dead letters.
    Redeliver { connection: ConnectionId },
    /// What the log's age limit has removed, and what it will.
    Age(Age),
    /// The lowest durable cursor of each stream: everything below it is settled for good.
    Cursors {
        reply: oneshot::Sender<HashMap<SourceId, Offset>>,
    },
    /// Finish what is under way within the time, save everything, and end.
    Drain {
        within: Duration,
        done: oneshot::Sender<()>,
    },
}

/// What a person may do with a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steer {
    Hold,
    Resume,
    Probe,
}

/// What a new configuration changed in one shard.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) changed: usize,
    pub(crate) removed: Vec<LaneId>,
}

impl Shard {
    pub(super) async fn command(&mut self, command: Command) -> Flow {
        // A receiver that is gone has lost interest: that is no fault.
        match command {
            Command::Add { lanes, done } => {
                for spec in lanes {
                    self.add_lane(spec);
                }
                let _ = done.send(());
            }
            Command::Apply { plans, done } => {
                let _ = done.send(self.apply(plans));
            }
            Command::Status { connection, reply } => {
                let _ = reply.send(self.statuses(connection));
            }
            Command::Steer {
                connection,
                lane,
                steer,
                done,
            } => {
                self.steer(connection, lane, steer);
                let now = self.clock.mono();
                self.ledger.when_durable(done, now);
            }
            Command::HoldLane { lane, done } => {
                let reason = HoldReason::Operator;
                self.step(Input::Hold { lane, reason }, None);
                let _ = done.send(());
            }
            Command::Cancel { lane, done } => {
                self.cancel(lane);
                let _ = done.send(());
            }
            Command::Redeliver { connection } => self.look_for_queued(connection),
            Command::Age(age) => self.age(&age),
            Command::Cursors { reply } => {
                let _ = reply.send(self.cursors());
            }
            Command::Drain { within, done } => {
                self.drain(within).await;
                let _ = done.send(());
                return Flow::End;
            }
        }
        Flow::Go
    }

    fn steer(&mut self, connection: ConnectionId, only: Option<LaneId>, steer: Steer) {
        let lanes: Vec<_> = self
            .lanes
            .values_mut()
            .filter(|lane| lane.connection() == connection)
            .filter(|lane| only.is_none_or(|only| lane.id == only))
            .map(|lane| {
                if steer != Steer::Probe {
                    lane.held_by_operator = steer == Steer::Hold;
                }
                (lane.id, lane.plan.is_enabled())
            })
            .collect();
        for (lane, enabled) in lanes {
            match steer {
                Steer::Hold => {
                    self.step(
                        Input::Hold {
                            lane,
                            reason: HoldReason::Operator,
                        },
                        None,
                    );
                }
                // What the configuration switches off, only the configuration switches on.
                Steer::Resume if enabled => self.step(Input::Resume { lane }, None),
                Steer::Probe if enabled => self.step(Input::Probe { lane }, None),
                Steer::Resume | Steer::Probe => {}
            }
        }
    }

    fn cursors(&self) -> HashMap<SourceId, Offset> {
        let mut lowest = HashMap::new();
        for lane in self.lanes.values().filter(|lane| lane.reads_log()) {
            let entry = lowest.entry(lane.stream()).or_insert(lane.durable);
            *entry = (*entry).min(lane.durable);
        }
        lowest
    }
}
