//! How a lane's concurrency limit grows and shrinks.

use super::*;

/// Runs `rounds` round trips at the limit, with each attempt's latency from `latency_us(limit)`.
fn run(
    concurrency: &mut Concurrency,
    now: &mut MonoMicros,
    rounds: u32,
    mut latency_us: impl FnMut(u32) -> u64,
) -> Vec<u32> {
    (0..rounds)
        .map(|_| {
            let (limit, began) = (concurrency.limit(64), *now);
            let slowest = (0..limit).map(|_| latency_us(limit)).max().unwrap_or(0);
            *now = now.plus(slowest);
            for _ in 0..limit {
                concurrency.succeeded(began, slowest, true, *now, 64);
            }
            concurrency.limit(64)
        })
        .collect()
}

#[test]
fn doubles_each_round_trip_until_the_first_loss() {
    let (mut concurrency, mut now) = (Concurrency::new(4), MonoMicros(1));
    assert_eq!(
        run(&mut concurrency, &mut now, 5, |_| 1_000),
        [8, 16, 32, 64, 64]
    );
    concurrency.overloaded(now, now.plus(1));
    let limit_after = |concurrency: &mut Concurrency, now: &mut MonoMicros, seconds: u32| {
        *now = now.plus(2);
        run(concurrency, now, seconds * 1_000 + 100, |_| 1_000);
        concurrency.limit
    };
    let limits = [0, 1, 2, 13].map(|seconds| limit_after(&mut concurrency, &mut now, seconds));
    assert_eq!(limits, [44.8, 45.8, 47.8, 60.8]);
}

#[test]
fn one_flight_of_failures_cuts_once() {
    let (mut concurrency, began, now) = (Concurrency::new(64), MonoMicros(5), MonoMicros(1_000));
    for _ in 0..64 {
        concurrency.overloaded(began, now);
    }
    assert_eq!(concurrency.limit, 44.8);
    // Then a loss may be the odd one: many in a row are none.
    for _ in 0..9 {
        concurrency.overloaded(now, now.plus(1_000));
    }
    assert_eq!(concurrency.limit, 44.8);
    concurrency.overloaded(now, now.plus(1_000));
    assert_eq!(concurrency.limit, 44.8 * 0.7);
}

/// Runs attempts one by one for `seconds` against a destination that takes `capacity` of them a
/// second and loses the others; gives those that it took in each second.
fn paced(concurrency: &mut Concurrency, seconds: u64, capacity: u32) -> Vec<u32> {
    let (mut now, second) = (MonoMicros(1), 1_000_000);
    (1..=seconds)
        .map(|at| {
            let (mut taken, ends) = (0, MonoMicros(at * second));
            while now < ends {
                let began = now.max(concurrency.free_at(64));
                concurrency.started(began, 64);
                now = began.plus(10_000);
                if taken < capacity {
                    taken += 1;
                    concurrency.succeeded(began, 10_000, true, now, 64);
                } else {
                    concurrency.overloaded(began, now);
                }
            }
            taken
        })
        .collect()
}

/// Its first answers took long, all others are quick, and then one is too much: what had begun without
/// a pace is no debt.
#[test]
fn a_first_loss_stops_nobody() {
    let mut concurrency = Concurrency::new(4);
    let mut now = MonoMicros(1);
    for event in 0..9_000 {
        concurrency.started(now, 64);
        let latency_us = if event < 4 { 8_000_000 } else { 1_000 };
        let began = now;
        now = now.plus(latency_us);
        concurrency.succeeded(began, latency_us, true, now, 64);
    }
    concurrency.overloaded(now, now);
    let waits_us = concurrency.free_at(64).since(now);
    assert!(waits_us <= 1_000, "{waits_us} us");
    // From now on they begin evenly, some thousand a second.
    concurrency.started(now, 64);
    let gap_us = concurrency.free_at(64).since(now);
    assert!((1..=1_000).contains(&gap_us), "{gap_us} us");
}

/// It comes back from an outage, cold: its first answers take three seconds, all others a millisecond, and
/// within the first round one is too much.
#[test]
fn slow_answers_of_a_moment_ago_set_no_pace() {
    let mut concurrency = Concurrency::new(64);
    concurrency.restart_gently(MonoMicros(1));
    for (began, latency_us) in (0..4)
        .map(|n| (n, 3_000_000))
        .chain((0..100).map(|n| (3_000_000 + 1_000 * n, 1_000)))
    {
        let began = MonoMicros(began);
        concurrency.started(began, 64);
        let now = began.plus(latency_us);
        concurrency.succeeded(began, latency_us, true, now, 64);
    }
    let now = MonoMicros(3_200_000);
    concurrency.overloaded(now, now);
    concurrency.started(now, 64);
    let gap_us = concurrency.free_at(64).since(now);
    assert!(gap_us <= 1_000, "{gap_us} us");
}

#[test]
fn less_than_one_slot_is_found_too() {
    let mut concurrency = Concurrency::new(1);
    let taken = paced(&mut concurrency, 120, 30);
    let least = taken[20..].iter().min();
    assert!(least >= Some(&27), "of 30: {taken:?}");
    assert!(concurrency.limit < 1.0);
}

#[test]
fn what_a_destination_bears_is_used() {
    let taken = paced(&mut Concurrency::new(1), 120, 50);
    let sum: u32 = taken[20..].iter().sum();
    assert!(sum >= 50 * 97, "{sum} of {}: {taken:?}", 50 * 100);
}

#[test]
fn after_an_outage_it_rises_by_half_each_second() {
    let (mut concurrency, mut now) = (Concurrency::new(64), MonoMicros(1));
    concurrency.restart_gently(now);
    let limits = run(&mut concurrency, &mut now, 10_000, |_| 1_000);
    assert_eq!(limits[0], 2);
    assert_eq!([limits[1_050], limits[2_050], limits[9_999]], [3, 4, 64]);
}

#[test]
fn jitter_below_the_floor_is_no_overload() {
    let (mut concurrency, mut now) = (Concurrency::new(4), MonoMicros(1));
    let mut rng = crate::rng::Rng::new(4);
    let limits = run(&mut concurrency, &mut now, 5_000, |_| {
        rng.between(200, 40_000)
    });
    assert_eq!(limits[10..].iter().min(), Some(&64));
}

#[test]
fn latency_that_rises_with_the_load_keeps_the_limit_down() {
    let (mut concurrency, mut now) = (Concurrency::new(4), MonoMicros(1));
    // A destination that is at its best up to 10 at once, and queues beyond.
    let queueing = |limit: u32| 20_000 + u64::from(limit.saturating_sub(10)) * 60_000;
    let limits = run(&mut concurrency, &mut now, 300, queueing);
    assert!(limits.iter().any(|limit| *limit < 64), "{limits:?}");
}

#[test]
fn a_limit_is_never_below_one_nor_above_its_maximum() {
    let mut concurrency = Concurrency::new(1_000);
    assert_eq!(concurrency.limit(64), 64);
    for time in 1..300 {
        concurrency.overloaded(MonoMicros(time), MonoMicros(time));
    }
    assert_eq!(concurrency.limit(64), 1);
    concurrency.collapse(MonoMicros(500));
    assert_eq!(concurrency.limit(64), 1);
}

/// One answer in 200 that takes up to two seconds is how many services are.
#[test]
fn one_slow_answer_among_many_is_no_overload() {
    let (mut concurrency, mut now) = (Concurrency::new(4), MonoMicros(1_000_000));
    let mut rng = crate::rng::Rng::new(9);
    for _ in 0..100_000 {
        let latency_us = match rng.between(1, 200) {
            1 => rng.between(60_000, 2_000_000),
            _ => rng.between(10_000, 60_000),
        };
        now = now.plus(1_000);
        let began = MonoMicros(now.0.saturating_sub(latency_us));
        concurrency.succeeded(began, latency_us, true, now, 64);
    }
    assert_eq!(concurrency.limit(64), 64);
}
