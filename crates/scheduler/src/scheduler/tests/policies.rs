//! Each policy by a script.

use super::*;

#[test]
fn a_failed_job_comes_back_with_its_next_attempt() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 1);
    rig.fail(Failure::Connect);
    let wait = rig.pass_to_start(10 * SECOND).unwrap();
    assert!((200_000..=2_000_000).contains(&wait), "{wait}");
    rig.answer(JobResult::Delivered);
    rig.expect(expect![[r#"
        start 1 [0#1]
        start 1 [0#2]
        settled 1 0 Delivered after 2
    "#]]);
}

#[test]
fn an_outage_opens_the_breaker_and_one_probe_ends_it() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 1_000);
    for _ in 0..5 {
        rig.fail(Failure::Connect);
    }
    assert_eq!(rig.view(1).state, LaneState::Open);
    while !rig.open.is_empty() {
        rig.fail(Failure::Connect);
    }
    // Half an hour of outage costs a probe a minute or so, not an attempt for each event.
    let (end, mut probes) = (rig.now.plus(1_800 * SECOND), 0);
    while rig.pass_to_start(end.since(rig.now)).is_some() {
        assert_eq!(rig.open.len(), 1, "one probe at a time");
        rig.fail(Failure::Connect);
        probes += 1;
    }
    assert!((30..=120).contains(&probes), "{probes}");
    rig.pass_to_start(100 * SECOND).unwrap();
    rig.answer(JobResult::Delivered);
    assert_eq!(rig.view(1).state, LaneState::HalfOpen);
    assert_eq!(rig.view(1).concurrency_limit, 2);
    rig.answer_all(|_| JobResult::Delivered);
    rig.pass(60 * SECOND);
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.view(1).state, LaneState::Active);
    assert_eq!(rig.view(1).counts.delivered, 1_000);
    assert!(
        rig.settled.iter().all(|(.., attempts)| *attempts < 5),
        "probes are free of charge"
    );
}

#[test]
fn a_429_pauses_the_lane_and_costs_the_event_nothing() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 50);
    for _ in 0..4 {
        rig.fail(Failure::RateLimited {
            retry_after_s: Some(10),
        });
    }
    assert_eq!(rig.view(1).state, LaneState::Throttled);
    assert!(rig.open.is_empty());
    let wait = rig.pass_to_start(60 * SECOND).unwrap();
    assert!((9_000_000..=11_000_000).contains(&wait), "{wait}");
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.view(1).state, LaneState::Active);
    assert!(rig.settled.iter().all(|(.., attempts)| *attempts == 1));
}

#[test]
fn a_429_without_a_usable_wish_follows_the_lanes_own_schedule() {
    for wish in [None, Some(0), Some(1_000_000_000)] {
        let mut rig = Rig::new();
        rig.add(1, LanePolicy::default());
        rig.grow(1, 1);
        let mut waited = 0;
        for _ in 0..10 {
            rig.fail(Failure::RateLimited {
                retry_after_s: wish,
            });
            waited += rig.pass_to_start(100 * SECOND).unwrap();
        }
        assert!(
            waited > 20 * SECOND,
            "{wish:?} looped: {waited} us for ten attempts"
        );
    }
}

#[test]
fn hanging_attempts_shrink_the_lane_to_one_slot() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 100_000);
    for _ in 0..1_000 {
        rig.answer(JobResult::Delivered);
    }
    assert_eq!(rig.open.len(), 64);
    rig.pass(30 * SECOND);
    rig.fail(Failure::Indeterminate);
    assert_eq!(rig.view(1).concurrency_limit, 1);
    while rig.open.len() > 1 {
        rig.fail(Failure::Indeterminate);
    }
    assert_eq!(rig.view(1).state, LaneState::Open);
}

#[test]
fn what_a_person_must_mend_holds_the_lane() {
    let cases = [
        (Failure::Unauthorized, 1, HoldReason::Auth),
        (Failure::Gone, 1, HoldReason::Gone),
        (Failure::Blocked, 1, HoldReason::Egress),
        (Failure::Tls, 3, HoldReason::Tls),
        (Failure::Redirect, 3, HoldReason::Configuration),
        (Failure::VersionUnsupported, 3, HoldReason::Configuration),
        (Failure::Forbidden, 5, HoldReason::Auth),
    ];
    for (failure, in_a_row, reason) in cases {
        let mut rig = Rig::new();
        rig.add(
            1,
            LanePolicy {
                concurrency_init: 8,
                ..LanePolicy::default()
            },
        );
        rig.grow(1, 8);
        for round in 1..=in_a_row {
            rig.fail(failure);
            let held = rig.view(1).state == LaneState::Held { reason };
            assert_eq!(held, round == in_a_row, "{failure:?} round {round}");
        }
        rig.answer_all(|_| JobResult::Failed(failure));
        assert_eq!(rig.settled, [], "nothing is lost while it holds");
    }
}

#[test]
fn slow_holds_need_time() {
    for (failure, least_s) in [(Failure::NotFound, 600), (Failure::NoSuchHost, 3_600)] {
        let mut rig = Rig::new();
        rig.add(1, LanePolicy::default());
        rig.grow(1, 20);
        let began = rig.now;
        while !matches!(rig.view(1).state, LaneState::Held { .. }) {
            if rig.open.is_empty() {
                rig.pass_to_start(1_000 * SECOND).expect("it probes");
            }
            rig.fail(failure);
        }
        let took_s = rig.now.since(began) / SECOND;
        assert!(
            (least_s..least_s + 600).contains(&took_s),
            "{failure:?}: {took_s} s"
        );
        assert_eq!(rig.settled, []);
    }
}

#[test]
fn a_hold_ends_by_a_probe_or_by_a_person() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 5);
    rig.answer_all(|_| JobResult::Failed(Failure::Unauthorized));
    let wait = rig.pass_to_start(600 * SECOND).unwrap();
    assert!((270 * SECOND..=330 * SECOND).contains(&wait), "{wait}");
    rig.fail(Failure::Unauthorized);
    rig.pass_to_start(600 * SECOND).unwrap();
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.view(1).counts.delivered, 5);

    rig.step(Input::Hold {
        lane: LaneId(1),
        reason: HoldReason::Operator,
    });
    rig.grow(1, 10);
    assert_eq!(rig.pass_to_start(86_400 * SECOND), None);
    rig.step(Input::Resume { lane: LaneId(1) });
    assert_eq!(rig.view(1).state, LaneState::HalfOpen);
    rig.answer_all(|_| JobResult::Delivered);
    assert_eq!(rig.view(1).counts.delivered, 10);
}

#[test]
fn a_conflict_is_tried_three_times() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    rig.grow(1, 1);
    for _ in 0..3 {
        rig.pass_to_start(100 * SECOND);
        rig.fail(Failure::Conflict);
    }
    assert_eq!(rig.settled[0].2, Outcome::Rejected(RejectReason::Conflict));
    assert_eq!(rig.view(1).state, LaneState::Active);
}

#[test]
fn an_event_that_fails_where_others_succeed_is_given_up() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    let mut end = 0;
    while !rig.settled.iter().any(|(_, offset, ..)| offset.0 == 3) {
        end += 5;
        rig.grow(1, end);
        rig.answer_all(|jobs| match jobs[0].offset.0 {
            3 => JobResult::Failed(Failure::ServerError),
            _ => JobResult::Delivered,
        });
        rig.pass(SECOND);
        assert!(end < 5_000, "the poison event must be given up");
    }
    let poison = rig
        .settled
        .iter()
        .find(|(_, offset, ..)| offset.0 == 3)
        .unwrap();
    assert_eq!(poison.2, Outcome::Rejected(RejectReason::EventSpecific));
    assert_eq!(poison.3, 5);
}

#[test]
fn an_event_expires_after_its_time_and_attempts_but_not_in_an_outage() {
    let policy = LanePolicy {
        expiry_us: 60 * SECOND,
        ..LanePolicy::default()
    };
    let mut rig = Rig::new();
    rig.add(1, policy);
    let mut end = 0;
    let began = rig.now;
    // Half of the others fail too: no poison rule, no open breaker.
    while !rig.settled.iter().any(|(_, offset, ..)| offset.0 == 0) {
        end += 4;
        rig.grow(1, end);
        rig.answer_all(|jobs| match jobs[0].offset.0 {
            0 => JobResult::Failed(Failure::TryAgain),
            offset if offset % 3 == 0 && jobs[0].attempt == 1 => {
                JobResult::Failed(Failure::TryAgain)
            }
            _ => JobResult::Delivered,
        });
        rig.pass(SECOND);
        assert!(end < 50_000);
    }
    let expired = rig
        .settled
        .iter()
        .find(|(_, offset, ..)| offset.0 == 0)
        .unwrap();
    assert_eq!(expired.2, Outcome::Expired(RejectReason::RetriesExhausted));
    assert!(expired.3 >= 5 && rig.now.since(began) >= 60 * SECOND);
}

#[test]
fn a_rate_limit_is_kept() {
    let mut rig = Rig::new();
    let policy = LanePolicy {
        rate_limit_per_s: Some(100.0),
        ..LanePolicy::default()
    };
    rig.add(1, policy);
    rig.grow(1, 100_000);
    let end = rig.now.plus(10 * SECOND);
    while rig.now < end {
        rig.answer_all(|_| JobResult::Delivered);
        rig.pass(1_000);
    }
    let sent = rig.settled.len();
    assert!((990..=1_020).contains(&sent), "{sent}");
}

#[test]
fn retries_get_their_share_and_no_more_while_first_attempts_wait() {
    let mut rig = Rig::new();
    let policy = LanePolicy {
        concurrency_init: 1,
        concurrency_max: 1,
        ..LanePolicy::default()
    };
    rig.add(1, policy);
    rig.grow(1, 100_000);
    // A hundred failures spread among successes: they wait for a retry.
    for round in 0..400 {
        match round % 4 {
            0 => rig.fail(Failure::ServerError),
            _ => rig.answer(JobResult::Delivered),
        }
    }
    rig.now = rig.now.plus(10 * SECOND);
    rig.log.clear();
    for _ in 0..200 {
        rig.answer(JobResult::Delivered);
    }
    let retries = rig
        .log
        .lines()
        .filter(|l| l.starts_with("start") && l.contains("#2"))
        .count();
    assert_eq!(retries, 40, "a fifth of 200");
}

#[test]
fn staggered_lanes_begin_spread_over_five_seconds_and_slowly() {
    let mut rig = Rig::new();
    for lane in 0..200 {
        rig.ends.insert(StreamKey(lane.into()), Offset(1_000));
        rig.step(Input::AddLane {
            lane: LaneId(lane),
            group: lane,
            queue: None,
            stream: StreamKey(lane.into()),
            policy: Arc::default(),
            progress: fresh_progress(lane),
            end: Offset(1_000),
            staggered: true,
            until: None,
        });
    }
    let mut begun = vec![];
    for _ in 0..5 {
        rig.pass(SECOND);
        begun.push(rig.open.len());
    }
    assert_eq!(begun.last(), Some(&400), "two attempts each");
    assert!(begun[0] < 120 && begun[2] < 300, "{begun:?}");
}

#[test]
fn one_lanes_outage_leaves_the_other_alone() {
    let options = Options {
        in_flight_max: 16,
        ..Options::default()
    };
    let mut rig = Rig::with(options);
    for lane in [1, 2] {
        rig.add(lane, LanePolicy::default());
    }
    // Lane 1 hangs: its attempts are never answered.
    rig.grow(1, 1_000);
    rig.grow(2, 1_000);
    while let Some(place) = rig.open.iter().position(|(_, lane, _)| lane.0 == 2) {
        let attempt = rig.open.remove(place).0;
        let results = Results::All(JobResult::Delivered);
        rig.step(Input::Finished {
            attempt,
            latency_us: 500,
            results,
        });
    }
    assert_eq!(rig.view(2).counts.delivered, 1_000);
    assert!(rig.open.len() <= 12);
}

/// The first event of these fails whenever it is sent, all others succeed.
fn answer_poison(rig: &mut Rig) {
    rig.answer_all(|jobs| {
        if jobs.iter().any(|job| job.offset == Offset(0)) {
            JobResult::Failed(Failure::ServerError)
        } else {
            JobResult::Delivered
        }
    });
}

#[test]
fn a_poison_event_stops_a_quiet_lane_for_no_other() {
    for ordered in [false, true] {
        let mut rig = Rig::new();
        rig.keys = u64::from(ordered) * 50;
        rig.add(
            1,
            LanePolicy {
                ordered,
                ..LanePolicy::default()
            },
        );
        rig.grow(1, 1);
        answer_poison(&mut rig);
        while rig.view(1).state != LaneState::Open {
            rig.pass_to_start(600 * SECOND).unwrap();
            answer_poison(&mut rig);
        }
        // One event every ten minutes.
        for n in 2..30 {
            rig.grow(1, n);
            assert_eq!(rig.open.len(), 1, "event {n} goes at once:\n{}", rig.log);
            answer_poison(&mut rig);
            let delivered = rig.view(1).counts.delivered;
            assert_eq!(delivered, n - 1, "{}", rig.log);
            let until = rig.now.plus(600 * SECOND);
            while rig.pass_to_start(until.since(rig.now)).is_some() {
                answer_poison(&mut rig);
            }
            rig.now = until;
        }
        assert_eq!(rig.view(1).counts.rejected, 1, "{}", rig.log);
    }
}

#[test]
fn probes_take_turns_between_old_failures_and_new_events() {
    let mut rig = Rig::new();
    rig.add(1, LanePolicy::default());
    // Two poison events, so that nobody can say that it is one.
    let poison = |jobs: &[Job]| {
        if jobs.iter().any(|job| job.offset < Offset(2)) {
            JobResult::Failed(Failure::ServerError)
        } else {
            JobResult::Delivered
        }
    };
    rig.grow(1, 2);
    rig.answer_all(poison);
    while rig.view(1).state != LaneState::Open {
        rig.pass_to_start(600 * SECOND).unwrap();
        rig.answer_all(poison);
    }
    rig.grow(1, 12);
    for _ in 0..2 {
        rig.pass_to_start(600 * SECOND).unwrap();
        rig.answer_all(poison);
    }
    assert_eq!(rig.view(1).counts.delivered, 10, "{}", rig.log);
}

#[test]
fn a_batch_of_all_keys_is_taken_apart_where_order_lets_nothing_else_go() {
    let mut rig = Rig::new();
    rig.keys = 10;
    rig.add(
        1,
        LanePolicy {
            ordered: true,
            batch_events_max: 64,
            ..LanePolicy::default()
        },
    );
    rig.grow(1, 200);
    answer_poison(&mut rig);
    for _ in 0..20 {
        rig.pass_to_start(60 * SECOND);
        answer_poison(&mut rig);
    }
    let counts = rig.view(1).counts;
    assert_eq!((counts.delivered, counts.rejected), (199, 1), "{}", rig.log);
}

#[test]
fn an_outage_blocks_an_ordered_lane_and_costs_no_event() {
    let mut rig = Rig::new();
    rig.keys = 3;
    rig.add(
        1,
        LanePolicy {
            ordered: true,
            ..LanePolicy::default()
        },
    );
    rig.grow(1, 30);
    rig.answer_all(|_| JobResult::Delivered);
    rig.grow(1, 60);
    let down = |_: &[Job]| JobResult::Failed(Failure::ServerError);
    rig.answer_all(down);
    let end = rig.now.plus(48 * 3_600 * SECOND);
    while rig.pass_to_start(end.since(rig.now)).is_some() {
        rig.answer_all(down);
    }
    assert_eq!(rig.view(1).counts.settled(), 30, "{}", rig.log);
    rig.now = end;
    while rig.pass_to_start(600 * SECOND).is_some() {
        rig.answer_all(|_| JobResult::Delivered);
    }
    assert_eq!(rig.view(1).counts.delivered, 60);
}

/// What stands behind a straggler fills the window: the lane can do nothing but wait for it.
#[test]
fn a_straggler_is_hurried_but_not_where_its_wait_is_fixed() {
    let waited = |failure| {
        let mut rig = Rig::new();
        let policy = LanePolicy {
            backoff_first_us: 600 * SECOND,
            ..LanePolicy::default()
        };
        rig.add(1, policy);
        rig.grow(1, 20_000);
        // Its wait is drawn before the window fills up.
        rig.fail(failure);
        rig.answer_all(|_| JobResult::Delivered);
        assert_eq!(rig.view(1).window, 10_000);
        rig.pass_to_start(1_000 * SECOND).unwrap()
    };
    let waits = [Failure::ServerError, Failure::Connect, Failure::NotFound].map(waited);
    assert!(waits[0] <= 5 * SECOND, "{waits:?}");
    assert!(waits[1] <= 5 * SECOND, "{waits:?}");
    assert!(waits[2] >= 250 * SECOND, "{waits:?}");
}
