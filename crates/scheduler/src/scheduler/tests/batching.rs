//! Batches: how they form, and how the event that spoils one is found.

use super::*;

fn batching(events: u32, wait_us: u64) -> LanePolicy {
    LanePolicy {
        batch_events_max: events,
        batch_wait_us: wait_us,
        concurrency_init: 1,
        concurrency_max: 1,
        ..LanePolicy::default()
    }
}

#[test]
fn a_batch_goes_when_full_or_when_it_has_waited() {
    let mut rig = Rig::new();
    rig.add(1, batching(3, SECOND));
    rig.grow(1, 2);
    assert!(rig.open.is_empty());
    assert_eq!(rig.pass_to_start(10 * SECOND), Some(SECOND));
    rig.grow(1, 7);
    rig.answer_all(|_| JobResult::Delivered);
    rig.expect(expect![[r#"
        start 1 [0#1 1#1]
        settled 1 0 Delivered after 1
        settled 1 1 Delivered after 1
        start 1 [2#1 3#1 4#1]
        settled 1 2 Delivered after 1
        settled 1 3 Delivered after 1
        settled 1 4 Delivered after 1
    "#]]);
    rig.pass(2 * SECOND);
    assert_eq!(rig.open.len(), 1);
}

#[test]
fn what_has_waited_behind_its_key_does_not_wait_for_company() {
    let mut rig = Rig::new();
    rig.keys = 2;
    let ordered = LanePolicy {
        ordered: true,
        ..batching(10, SECOND)
    };
    rig.add(1, ordered);
    rig.grow(1, 6);
    assert_eq!(rig.pass_to_start(10 * SECOND), Some(SECOND));
    // Each request ends at once: no other waits.
    rig.answer_all(|_| JobResult::Delivered);
    let starts = rig.log.lines().filter(|line| line.starts_with("start"));
    let starts: Vec<&str> = starts.collect();
    assert_eq!(
        starts,
        [
            "start 1 [0#1 1#1]",
            "start 1 [2#1 3#1]",
            "start 1 [4#1 5#1]"
        ]
    );
}

#[test]
fn a_batch_keeps_to_its_bytes_but_a_large_event_still_goes() {
    let mut rig = Rig::new();
    rig.bytes = 400;
    rig.add(
        1,
        LanePolicy {
            batch_bytes_max: 1_000,
            ..batching(100, 0)
        },
    );
    rig.grow(1, 5);
    rig.bytes = 5_000;
    rig.grow(1, 7);
    rig.answer_all(|_| JobResult::Delivered);
    let starts: Vec<&str> = rig
        .log
        .lines()
        .filter(|line| line.starts_with("start"))
        .collect();
    assert_eq!(
        starts,
        [
            "start 1 [0#1 1#1]",
            "start 1 [2#1 3#1]",
            "start 1 [4#1]",
            "start 1 [5#1]",
            "start 1 [6#1]"
        ]
    );
}

#[test]
fn a_refused_batch_is_halved_until_the_culprit_stands_alone() {
    let mut rig = Rig::new();
    rig.add(1, batching(8, 0));
    rig.grow(1, 1);
    rig.answer(JobResult::Delivered);
    rig.grow(1, 9);
    rig.log.clear();
    rig.answer_all(|jobs| {
        let spoiled = jobs.iter().any(|job| job.offset.0 == 6);
        let refused = JobResult::Failed(Failure::BatchRefused { too_large: false });
        if spoiled {
            refused
        } else {
            JobResult::Delivered
        }
    });
    let starts: Vec<&str> = rig
        .log
        .lines()
        .filter(|line| line.starts_with("start"))
        .collect();
    assert!(starts.len() <= 8, "{starts:#?}");
    let rejected: Vec<u64> = rig
        .settled
        .iter()
        .filter(|(_, _, outcome, _)| *outcome == Outcome::Rejected(RejectReason::Refused))
        .map(|(_, offset, ..)| offset.0)
        .collect();
    assert_eq!((rejected, rig.view(1).counts.delivered), (vec![6], 8));
}

#[test]
fn each_job_is_judged_where_the_destination_says_which() {
    let mut rig = Rig::new();
    rig.add(1, batching(3, SECOND));
    rig.grow(1, 3);
    rig.answer_with(Results::Each(vec![
        JobResult::Delivered,
        JobResult::Failed(Failure::ServerError),
        JobResult::Rejected(RejectReason::Invalid),
    ]));
    rig.pass_to_start(10 * SECOND).unwrap();
    rig.answer(JobResult::Delivered);
    rig.expect(expect![[r#"
        start 1 [0#1 1#1 2#1]
        settled 1 0 Delivered after 1
        settled 1 2 Rejected(Invalid) after 1
        start 1 [1#2]
        settled 1 1 Delivered after 2
    "#]]);
}

#[test]
fn an_event_that_fails_its_batch_with_500_is_isolated() {
    let mut rig = Rig::new();
    rig.add(1, batching(16, 100_000));
    let mut end = 0;
    let mut tries = 0;
    while !rig.settled.iter().any(|(_, offset, ..)| offset.0 == 3) {
        end += 16;
        rig.grow(1, end);
        rig.answer_all(|jobs| {
            let spoiled = jobs.iter().any(|job| job.offset.0 == 3);
            tries += u32::from(spoiled);
            if spoiled {
                JobResult::Failed(Failure::ServerError)
            } else {
                JobResult::Delivered
            }
        });
        rig.pass(SECOND);
        assert!(end < 20_000, "the poison event must be found");
    }
    assert!(tries <= 8, "{tries} attempts to isolate it");
    let poison: Vec<_> = rig
        .settled
        .iter()
        .filter(|(.., outcome, _)| *outcome != Outcome::Delivered)
        .collect();
    assert_eq!(poison.len(), 1, "{poison:?}");
}
