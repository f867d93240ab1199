//! Lanes with nothing to do: they cost little, and nobody can tell.

use super::*;

const MINUTE: u64 = 60 * SECOND;

fn is_idle(rig: &Rig, lane: u32) -> bool {
    let slot = rig
        .scheduler
        .lanes
        .slot_of(LaneId(lane))
        .expect("it was added");
    matches!(rig.scheduler.lanes.seat(slot), Seat::Idle(_))
}

#[test]
fn a_lane_is_idle_until_it_has_a_job_and_again_a_minute_after_its_last() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    assert!(is_idle(&rig, 1));
    rig.grow(1, 2);
    rig.answer_all(|_| JobResult::Delivered);
    rig.pass(MINUTE - 1);
    assert!(!is_idle(&rig, 1));
    rig.pass(1);
    assert!(is_idle(&rig, 1));
    let view = rig.view(1);
    assert_eq!((view.cursor, view.counts.delivered), (Offset(2), 2));
    rig.grow(1, 3);
    rig.answer(JobResult::Delivered);
    assert_eq!(
        (rig.view(1).cursor, rig.view(1).counts.delivered),
        (Offset(3), 3)
    );
}

#[test]
fn an_idle_lane_passes_over_what_is_not_its_own() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    let mut actions = vec![];
    let grew = Input::StreamGrew {
        stream: StreamKey(1),
        end: Offset(9),
    };
    rig.scheduler.step(grew, rig.now, &mut actions);
    assert!(matches!(
        actions.as_slice(),
        [Action::Fetch {
            from: Offset(0),
            ..
        }]
    ));
    rig.step(Input::Fetched {
        lane: LaneId(1),
        offsets: vec![],
        scanned_to: Offset(9),
    });
    assert!(is_idle(&rig, 1));
    let mut saved = vec![];
    rig.scheduler.take_progress(9, &mut saved);
    assert_eq!(
        saved.first().map(|progress| progress.cursor),
        Some(Offset(9))
    );
    assert!(rig.view(1).caught_up);
}

#[test]
fn a_lane_with_something_to_remember_stays() {
    let mut rig = Rig::new();
    for lane in [1, 2] {
        rig.add(lane, LanePolicy::default());
    }
    rig.grow(1, 1);
    rig.fail(Failure::Connect);
    rig.step(Input::Hold {
        lane: LaneId(2),
        reason: HoldReason::Operator,
    });
    rig.pass(2 * SECOND);
    rig.answer(JobResult::Rejected(RejectReason::Refused));
    rig.pass(10 * MINUTE);
    assert!(is_idle(&rig, 1));
    assert!(!is_idle(&rig, 2), "its hold is not forgotten");
}

#[test]
fn what_slowed_a_lane_is_over_when_it_is_idle() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 2);
    rig.fail(Failure::RateLimited {
        retry_after_s: Some(10),
    });
    rig.answer(JobResult::Delivered);
    rig.pass_to_start(20 * SECOND).expect("it is tried again");
    rig.expect(expect![[r#"
        start 1 [0#1]
        start 1 [1#1]
        state 1 Throttled
        settled 1 1 Delivered after 1
        start 1 [0#1]
    "#]]);
    rig.answer(JobResult::Rejected(RejectReason::Refused));
    rig.pass(2 * MINUTE);
    rig.expect(expect![[r#"
        settled 1 0 Rejected(Refused) after 1
        state 1 Active
    "#]]);
    assert!(is_idle(&rig, 1));
}

#[test]
fn lanes_of_one_stream_all_hear_of_it_also_when_one_is_gone() {
    for removed in 1..=3 {
        let mut rig = Rig::new();
        for lane in 1..=3 {
            rig.step(Input::AddLane {
                lane: LaneId(lane),
                group: 1,
                queue: None,
                stream: StreamKey(7),
                policy: Arc::default(),
                progress: fresh_progress(lane),
                end: Offset(0),
                staggered: false,
                until: None,
            });
        }
        rig.step(Input::RemoveLane {
            lane: LaneId(removed),
        });
        rig.grow(7, 1);
        let mut heard: Vec<u32> = rig.open.iter().map(|(_, lane, _)| lane.0).collect();
        heard.sort_unstable();
        let left: Vec<u32> = (1..=3).filter(|lane| *lane != removed).collect();
        assert_eq!(heard, left);
    }
}
