//! The scheduler under virtual time. A handful of fixed seeds here; many by
//! `FAIRLANE_SEEDS=10000 cargo test --release -p scheduler --test simulation random`.

use model::Failure;
use scheduler::Options;
use scheduler::simulation::{self, FaultKind, LaneModel, Model, Report, Scenario, StreamModel};

const SECOND: u64 = 1_000_000;

fn run(scenario: &Scenario) -> Report {
    match simulation::run(scenario) {
        Ok(report) => report,
        Err(violation) => panic!("seed {}: {violation}\n{scenario:#?}", scenario.seed),
    }
}

/// Lanes of these streams and groups, each to a destination of its own.
fn own_destinations(
    seed: u64,
    streams: Vec<StreamModel>,
    lanes: Vec<(usize, u32, Model)>,
) -> Scenario {
    let (mut models, mut places) = (Vec::new(), Vec::new());
    for (stream, group, model) in lanes {
        places.push(LaneModel::of(stream, group, models.len()));
        models.push(model);
    }
    Scenario::new(seed, streams, models, places)
}

#[test]
fn random_worlds_keep_the_invariants() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, seeds): (u64, u64) = (
        number("FAIRLANE_FIRST_SEED", 0),
        number("FAIRLANE_SEEDS", 200),
    );
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    // Each thread takes every so-many-th seed.
    let share = |thread| {
        let seeds = (first + thread..first + seeds).step_by(threads as usize);
        seeds
            .map(|seed| run(&Scenario::random(seed)).steps)
            .sum::<u64>()
    };
    let steps: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || share(thread)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("see above"))
            .sum()
    });
    println!("{seeds} seeds, {steps} steps");
}

#[test]
fn a_seed_determines_the_run() {
    let reports = [11, 11].map(|seed| format!("{:?}", run(&Scenario::random(seed))));
    assert_eq!(reports[0], reports[1]);
}

/// T17: one of twelve destinations is bad; the others do not notice.
fn neighbours(fault: Option<FaultKind>) -> (u64, u64) {
    let lanes = (0..12).map(|lane| {
        let healthy = Model::healthy(5_000, 20_000);
        let model = match (&fault, lane) {
            (Some(kind), 0) => healthy.with_fault(0, 60 * SECOND, kind.clone()),
            _ => healthy,
        };
        (0, lane, model)
    });
    let streams = vec![StreamModel::steady(200.0)];
    let report = run(&Scenario {
        duration_us: 60 * SECOND,
        ..own_destinations(5, streams, lanes.collect())
    });
    let others = &report.lanes[1..];
    assert!(
        others
            .iter()
            .all(|lane| lane.counts.delivered == lane.accepted)
    );
    let p99 = others
        .iter()
        .map(|lane| lane.delays.percentile_us(99))
        .max()
        .expect("there are eleven others");
    (p99, report.lanes[0].counts.delivered)
}

#[test]
fn a_bad_neighbour_delays_nobody() {
    let (healthy, _) = neighbours(None);
    for kind in [
        FaultKind::Hanging {
            timeout_us: 30 * SECOND,
        },
        FaultKind::Failing {
            percent: 100,
            failure: Failure::ServerError,
        },
        FaultKind::RateLimited {
            per_s: 1,
            retry_after_s: Some(1),
        },
        FaultKind::Failing {
            percent: 100,
            failure: Failure::Unauthorized,
        },
    ] {
        let name = format!("{kind:?}");
        let (p99, delivered) = neighbours(Some(kind));
        assert!(
            p99 <= healthy + healthy / 10,
            "{name}: p99 {p99} us against {healthy} us"
        );
        assert!(delivered > 0, "{name}: its events arrive in the end");
    }
}

/// T28: an outage costs probes, not attempts, and the backlog drains at the destination's pace.
#[test]
fn an_outage_is_not_amplified() {
    let outage = FaultKind::Failing {
        percent: 100,
        failure: Failure::Unavailable {
            retry_after_s: None,
        },
    };
    let model = Model {
        capacity_per_s: Some(100),
        ..Model::healthy(5_000, 30_000)
    };
    let model = model.with_fault(60 * SECOND, 360 * SECOND, outage);
    let streams = vec![StreamModel::steady(70.0)];
    let scenario = Scenario {
        duration_us: 1_500 * SECOND,
        ..own_destinations(3, streams, vec![(0, 0, model)])
    };
    let report = run(&scenario);
    let lane = &report.lanes[0];
    assert_eq!(lane.counts.delivered, lane.accepted);
    assert!(
        lane.amplification() <= 1.2,
        "{} attempts a delivery",
        lane.amplification()
    );
    let in_outage: u32 = report.attempts_by_second[70..355].iter().sum();
    assert!(in_outage < 60, "{in_outage} attempts while it was down");
}

/// T28: while the backlog drains, new events hardly wait; without their share they would wait for
/// all of it.
#[test]
fn new_events_pass_the_backlog_of_an_outage() {
    let outage_s = 1_800;
    let drain = |recent_percent, duration_s: u64| {
        let outage = FaultKind::Failing {
            percent: 100,
            failure: Failure::Unavailable {
                retry_after_s: None,
            },
        };
        let model = Model {
            capacity_per_s: Some(100),
            ..Model::healthy(5_000, 30_000)
        };
        let model = model.with_fault(60 * SECOND, (60 + outage_s) * SECOND, outage);
        let mut scenario =
            own_destinations(3, vec![StreamModel::steady(70.0)], vec![(0, 0, model)]);
        scenario.duration_us = duration_s * SECOND;
        for lane in &mut scenario.lanes {
            *lane = lane
                .clone()
                .with_policy(|policy| policy.recent_percent = recent_percent);
        }
        let report = run(&scenario);
        let (lane, cohort) = (&report.lanes[0], &report.cohorts[0]);
        assert_eq!(lane.counts.delivered, lane.accepted);
        assert!(lane.amplification() <= 1.2, "{}", lane.amplification());
        // The backlog is what came in the outage: it has drained when the last of it is there.
        let slots = (0..).zip(&cohort.series.slots);
        let in_outage = slots.filter(|(minute, _)| (1..=31).contains(minute));
        let drained_s = in_outage
            .map(|(minute, slot)| minute * 60 + slot.delays.us_max() / SECOND)
            .max()
            .expect("31 minutes");
        let fresh = (33 * 60 * SECOND)..(45 * 60 * SECOND);
        let p99_s = cohort.series.delays_within(fresh).percentile_us(99) / SECOND;
        println!("{recent_percent}%: drained at {drained_s} s, new events' p99 {p99_s} s");
        (drained_s, p99_s)
    };
    let (fifo_drained_s, fifo_p99_s) = drain(0, 2_700);
    let (drained_s, p99_s) = drain(80, 6_600);
    assert!(fifo_p99_s > 600, "{fifo_p99_s} s, oldest first");
    assert!(p99_s <= 120, "{p99_s} s");
    let least_s = 60 + outage_s + outage_s * 70 / 30;
    assert!(
        drained_s <= least_s + least_s * 15 / 100,
        "{drained_s} s, least {least_s}, oldest first {fifo_drained_s}"
    );
}

/// The same where some got through in the outage: what came during it is backlog, all of it.
#[test]
fn new_events_pass_a_backlog_of_which_some_was_tried() {
    let failing = FaultKind::Failing {
        percent: 85,
        failure: Failure::Unavailable {
            retry_after_s: None,
        },
    };
    let model = Model {
        capacity_per_s: Some(160),
        ..Model::healthy(20_000, 60_000)
    };
    let model = model.with_fault(60 * SECOND, 3_660 * SECOND, failing);
    let mut scenario = own_destinations(1, vec![StreamModel::steady(32.0)], vec![(0, 0, model)]);
    scenario.duration_us = 5_400 * SECOND;
    let report = run(&scenario);
    assert_eq!(report.lanes[0].counts.delivered, report.lanes[0].accepted);
    let fresh = (63 * 60 * SECOND)..(75 * 60 * SECOND);
    let p99_s = report.cohorts[0]
        .series
        .delays_within(fresh)
        .percentile_us(99)
        / SECOND;
    assert!(p99_s <= 120, "{p99_s} s");
    let drained_s = report.cohorts[0].behind_us / SECOND - 3_660;
    let least_s = 3_600 * 32 / (160 - 32);
    assert!(
        drained_s <= least_s + least_s * 15 / 100,
        "{drained_s} s, least {least_s}"
    );
}

/// T29: whatever a 429 says, no busy loop.
#[test]
fn rate_limits_are_honoured() {
    for retry_after_s in [None, Some(0), Some(1), Some(3_600), Some(1_000_000_000)] {
        let kind = FaultKind::RateLimited {
            per_s: 0,
            retry_after_s,
        };
        let model = Model::healthy(5_000, 20_000).with_fault(0, 600 * SECOND, kind);
        let streams = vec![StreamModel::steady(50.0)];
        let lanes = vec![(0, 0, model)];
        let report = run(&Scenario {
            duration_us: 600 * SECOND,
            ..own_destinations(8, streams, lanes)
        });
        let attempts: u32 = report.attempts_by_second[..600].iter().sum();
        let lane = &report.lanes[0];
        assert_eq!(lane.counts.delivered, lane.accepted, "{retry_after_s:?}");
        assert!(
            attempts < 1_500,
            "{retry_after_s:?}: {attempts} attempts in ten minutes"
        );
    }
}

/// T31: a poison event is given up soon, and holds nobody up.
#[test]
fn a_poison_event_is_isolated() {
    for batch_events_max in [1, 20] {
        let model = Model {
            poison_one_in: Some(2_000),
            ..Model::healthy(5_000, 20_000)
        };
        let streams = vec![StreamModel::steady(100.0)];
        let lane = LaneModel::of(0, 0, 0).with_policy(|policy| {
            policy.batch_events_max = batch_events_max;
            policy.batch_wait_us = 50_000;
        });
        let scenario = Scenario {
            duration_us: 120 * SECOND,
            ..Scenario::new(21, streams, vec![model], vec![lane])
        };
        let report = run(&scenario);
        let lane = &report.lanes[0];
        let poison = lane.counts.rejected + lane.counts.expired;
        assert!(
            poison > 0 && lane.counts.delivered + poison == lane.accepted,
            "{lane:?}"
        );
        let p99 = lane.delays.percentile_us(99);
        assert!(p99 < SECOND, "batches of {batch_events_max}: p99 {p99} us");
    }
}

/// T31, where hardly anything comes: the breaker sees little but the one event that fails.
#[test]
fn a_poison_event_does_not_stop_a_quiet_lane() {
    for seed in 0..20 {
        let model = Model {
            poison_one_in: Some(50),
            ..Model::healthy(5_000, 20_000)
        };
        let ordered = seed % 2 == 1;
        let streams = vec![StreamModel {
            keys: if ordered { 1_000 } else { 0 },
            ..StreamModel::steady(0.02)
        }];
        let lane = LaneModel::of(0, 0, 0).with_policy(|policy| policy.ordered = ordered);
        let scenario = Scenario {
            duration_us: 4 * 3_600 * SECOND,
            ..Scenario::new(seed, streams, vec![model], vec![lane])
        };
        let report = run(&scenario);
        let lane = &report.lanes[0];
        assert!(lane.counts.delivered > 200, "seed {seed}: {lane:?}");
        // A few may be behind a breaker for a probe or two.
        let p95 = lane.delays.percentile_us(95);
        assert!(p95 < SECOND, "seed {seed}: p95 {p95} us");
        // In order, one that comes behind it waits until it is given up.
        let longest = lane.delays.percentile_us(100);
        assert!(longest < 3_600 * SECOND, "seed {seed}: {longest} us");
    }
}

/// An outage that begins by and by, with answers under way: no event of an ordered lane is taken for
/// the culprit.
#[test]
fn an_outage_that_begins_slowly_costs_an_ordered_lane_no_event() {
    let failing = |percent| FaultKind::Failing {
        percent,
        failure: Failure::ServerError,
    };
    for seed in 0..10 {
        let model = Model::healthy(5_000, 900_000)
            .with_fault(60 * SECOND, 80 * SECOND, failing(40))
            .with_fault(80 * SECOND, 700 * SECOND, failing(100));
        let streams = vec![StreamModel {
            keys: 3,
            ..StreamModel::steady(2.0)
        }];
        let lane = LaneModel::of(0, 0, 0).with_policy(|policy| policy.ordered = true);
        let scenario = Scenario {
            duration_us: 900 * SECOND,
            ..Scenario::new(seed, streams, vec![model], vec![lane])
        };
        let lane = &run(&scenario).lanes[0];
        assert_eq!(
            lane.counts.delivered, lane.accepted,
            "seed {seed}: {lane:?}"
        );
    }
}

/// T38: after a restart with work pending everywhere, attempts begin spread out and slowly.
#[test]
fn a_restart_is_no_stampede() {
    let streams = vec![StreamModel::steady(100.0).with_burst(0, 3_000)];
    let lanes = (0..12).map(|lane| (0, lane, Model::healthy(50_000, 100_000)));
    let scenario = Scenario {
        duration_us: 30 * SECOND,
        crashes_us: vec![2 * SECOND],
        ..own_destinations(4, streams, lanes.collect())
    };
    let report = run(&scenario);
    let first = report.attempts_by_second[3];
    let steady = *report.attempts_by_second[..20].iter().max().unwrap();
    assert!(
        u64::from(first) * 4 < u64::from(steady),
        "{first} at first, {steady} at best"
    );
}

/// T39: independent failures cost what they must and no more, and the lane does not crawl.
#[test]
fn partial_failures_cost_what_they_must() {
    for percent in [10, 30, 45, 60, 90] {
        let failing = FaultKind::Failing {
            percent,
            failure: Failure::ServerError,
        };
        let model = Model::healthy(5_000, 20_000).with_fault(0, 10_000 * SECOND, failing);
        let streams = vec![StreamModel::steady(0.0).with_burst(0, 30_000)];
        // The last attempts of each event are not what is measured: nothing expires.
        let lane =
            LaneModel::of(0, 0, 0).with_policy(|policy| policy.expiry_us = 7 * 86_400 * SECOND);
        let scenario = Scenario {
            duration_us: 2 * SECOND,
            ..Scenario::new(6, streams, vec![model], vec![lane])
        };
        let report = run(&scenario);
        let lane = &report.lanes[0];
        let least = 100.0 / (100.0 - percent as f64);
        let cost = lane.attempts as f64 / lane.accepted as f64;
        println!(
            "{percent}%: {cost:.2} attempts an event, least {least:.2}, {} s",
            report.settled_us / SECOND
        );
        if percent <= 45 {
            assert!(
                cost <= 1.1 * least,
                "{percent}%: {cost} attempts an event, least {least}"
            );
        }
        // Bad luck is no poison.
        let dead = lane.accepted - lane.counts.delivered;
        assert!(dead * 2_000 <= lane.accepted, "{percent}%: {dead} given up");
        assert!(lane.window_peak <= 10_000);
    }
}

/// T40: a tenant with twenty times the load takes its share and not the others'.
#[test]
fn a_flood_of_one_tenant_delays_nobody() {
    let p99 = |flood: u64| {
        let streams = vec![
            StreamModel::steady(20.0).with_burst(0, flood),
            StreamModel::steady(20.0),
        ];
        let slow = || Model::healthy(20_000, 40_000);
        let mut lanes: Vec<_> = (0..4).map(|_| (0, 0, slow())).collect();
        lanes.push((1, 1, slow()));
        let options = Options {
            in_flight_max: 64,
            ..Options::default()
        };
        let scenario = Scenario {
            options,
            duration_us: 20 * SECOND,
            ..own_destinations(2, streams, lanes)
        };
        run(&scenario).lanes[4].delays.percentile_us(99)
    };
    let (quiet, flooded) = (p99(0), p99(20_000));
    assert!(
        flooded <= quiet + quiet / 10,
        "p99 {flooded} us in a flood, {quiet} us without"
    );
}
