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
    assert_eq!(concurrency.limit(64), 44);
    now = now.plus(2);
    let limits = run(&mut concurrency, &mut now, 3_100, |_| 1_000);
    assert_eq!([limits[0], limits[1_100], limits[3_099]], [44, 45, 47]);
}

#[test]
fn one_flight_of_failures_cuts_once() {
    let (mut concurrency, began, now) = (Concurrency::new(64), MonoMicros(5), MonoMicros(1_000));
    for _ in 0..64 {
        concurrency.overloaded(began, now);
    }
    assert_eq!(concurrency.limit(64), 44);
    concurrency.overloaded(now, now.plus(1_000));
    assert_eq!(concurrency.limit(64), 31);
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
    for second in 1..100 {
        concurrency.overloaded(MonoMicros(second), MonoMicros(second));
    }
    assert_eq!(concurrency.limit(64), 1);
    concurrency.collapse(MonoMicros(500));
    assert_eq!(concurrency.limit(64), 1);
}
