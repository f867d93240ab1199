//! Lanes that share a queue share its places and its slots, and what follows from that.

use super::*;

/// Lanes 0 and 1 of one queue, and lane 2 of its own; each can have four attempts under way.
fn rig(jobs_max: u32, in_flight_max: u32) -> Rig {
    let mut rig = Rig::with(Options {
        queue_jobs_max: jobs_max,
        queue_in_flight_max: in_flight_max,
        ..Options::default()
    });
    for (lane, queue) in [(0, Some(7)), (1, Some(7)), (2, None)] {
        rig.step(Input::AddLane {
            lane: LaneId(lane),
            group: lane,
            queue,
            stream: StreamKey(lane.into()),
            policy: Arc::default(),
            progress: fresh_progress(lane),
            end: Offset::ZERO,
            staggered: false,
            until: None,
        });
    }
    rig
}

impl Rig {
    fn open_of(&self, lane: u32) -> usize {
        self.open.iter().filter(|(_, of, _)| of.0 == lane).count()
    }

    fn window_of(&self, lane: u32) -> u32 {
        let view = self.scheduler.view(LaneId(lane), self.now);
        view.expect("it was added").window
    }

    /// Answers all attempts of a lane, and those that follow, until it has none.
    fn deliver_all(&mut self, lane: u32) {
        while let Some(at) = self.open.iter().position(|(_, of, _)| of.0 == lane) {
            let (attempt, ..) = self.open.remove(at);
            self.step(Input::Finished {
                attempt,
                latency_us: 1_000,
                results: Results::All(JobResult::Delivered),
            });
        }
    }
}

#[test]
fn one_lane_fills_the_places_of_all() {
    let mut rig = rig(10, 100);
    rig.grow(0, 50);
    assert_eq!(rig.window_of(0), 10, "it takes all that there are");
    rig.grow(1, 5);
    rig.grow(2, 5);
    assert_eq!(rig.open_of(1), 0, "nothing is left for its neighbour");
    assert_eq!(rig.open_of(2), 4, "a lane of its own does not notice");
    rig.deliver_all(0);
    rig.deliver_all(1);
    assert_eq!(rig.settled.len(), 55, "each got what the other gave back");
}

#[test]
fn a_stopped_lane_keeps_its_places() {
    let mut rig = rig(10, 100);
    rig.step(Input::Hold {
        lane: LaneId(0),
        reason: HoldReason::Operator,
    });
    rig.grow(0, 50);
    rig.grow(1, 5);
    assert_eq!((rig.window_of(0), rig.open_of(1)), (10, 0));
    rig.step(Input::RemoveLane { lane: LaneId(0) });
    assert_eq!(
        rig.window_of(1),
        5,
        "a lane that is gone gives its places back"
    );
    rig.deliver_all(1);
    assert_eq!(rig.settled.len(), 5);
}

#[test]
fn one_lane_takes_the_slots_of_all() {
    let mut rig = rig(100, 3);
    rig.grow(0, 50);
    rig.grow(1, 5);
    rig.grow(2, 5);
    assert_eq!((rig.open_of(0), rig.open_of(1), rig.open_of(2)), (3, 0, 4));
    rig.answer(JobResult::Delivered);
    assert_eq!(rig.open_of(1), 1, "whoever waits comes first");
    rig.deliver_all(1);
    rig.deliver_all(0);
    rig.deliver_all(2);
    assert_eq!(rig.settled.len(), 60);
}
