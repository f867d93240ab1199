//! What is saved of a lane, and how it comes back.

use super::*;

fn saved(rig: &mut Rig) -> String {
    let mut out = vec![];
    rig.scheduler.take_progress(10, &mut out);
    let mut text = String::new();
    for lane in out {
        let settled: Vec<u64> = lane.settled_above.iter().map(|offset| offset.0).collect();
        let parked: Vec<(u64, u32)> = lane
            .parked
            .iter()
            .map(|job| (job.offset.0, job.attempts))
            .collect();
        writeln!(
            text,
            "lane {} cursor {} settled above {settled:?} parked {parked:?} hold {:?}",
            lane.lane.0, lane.cursor, lane.hold
        )
        .unwrap();
    }
    text
}

#[test]
fn only_what_changed_is_taken_and_only_once() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.add(2, LanePolicy::default());
    rig.grow(1, 5);
    expect![""].assert_eq(&saved(&mut rig));
    rig.fail(Failure::Connect);
    rig.answer(JobResult::Delivered);
    rig.answer(JobResult::Delivered);
    expect![[r#"
        lane 1 cursor 0 settled above [1, 2] parked [(0, 1)] hold None
    "#]]
    .assert_eq(&saved(&mut rig));
    expect![""].assert_eq(&saved(&mut rig));
    rig.step(Input::Hold {
        lane: LaneId(2),
        reason: HoldReason::Operator,
    });
    expect![[r#"
        lane 2 cursor 0 settled above [] parked [] hold Some(Operator)
    "#]]
    .assert_eq(&saved(&mut rig));
}

#[test]
fn a_lane_comes_back_where_it_was() {
    let mut rig = Rig::new();
    rig.ends.insert(StreamKey(1), Offset(14));
    let progress = LaneProgress {
        cursor: Offset(10),
        settled_above: vec![Offset(11), Offset(13)],
        parked: vec![ParkedJob {
            offset: Offset(10),
            attempts: 3,
            failing_ms: 60_000,
        }],
        ..fresh_progress(1)
    };
    rig.add_with(1, LanePolicy::default(), progress, None);
    rig.expect(expect![[r#"
        start 1 [12#1]
    "#]]);
    rig.fail(Failure::Connect);
    expect![[r#"
        lane 1 cursor 10 settled above [11, 13] parked [(10, 3), (12, 1)] hold None
    "#]]
    .assert_eq(&saved(&mut rig));
    rig.pass(40 * SECOND);
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.view(1).cursor, Offset(14));
    assert!(rig.log.contains("start 1 [10#4]"), "{}", rig.log);
}

#[test]
fn what_is_not_fetched_yet_is_saved_as_it_was() {
    let mut rig = Rig::new();
    let progress = LaneProgress {
        cursor: Offset(10),
        settled_above: vec![Offset(11), Offset(13)],
        parked: vec![ParkedJob {
            offset: Offset(12),
            attempts: 2,
            failing_ms: 5,
        }],
        hold: Some(HoldReason::Operator),
        ..fresh_progress(1)
    };
    rig.ends.insert(StreamKey(1), Offset(14));
    rig.add_with(1, LanePolicy::default(), progress, None);
    rig.step(Input::Hold {
        lane: LaneId(1),
        reason: HoldReason::Operator,
    });
    expect![[r#"
        lane 1 cursor 10 settled above [11, 13] parked [(12, 2)] hold Some(Operator)
    "#]]
    .assert_eq(&saved(&mut rig));
}

#[test]
fn time_behind_an_open_breaker_is_not_counted_to_the_event() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 20);
    while rig.view(1).state != LaneState::Open {
        rig.fail(Failure::Connect);
    }
    rig.answer_all(|_| JobResult::Failed(Failure::Connect));
    rig.pass(3_600 * SECOND);
    let mut out = vec![];
    rig.scheduler.take_progress(1, &mut out);
    assert!(!out[0].parked.is_empty());
    assert!(
        out[0].parked.iter().all(|job| job.failing_ms < 10_000),
        "{:?}",
        out[0].parked
    );
}
