//! When a breaker opens, probes and closes.

use expect_test::{Expect, expect};

use super::*;

const TIMES: Times = Times {
    window_us: 30_000_000,
    probe_us_max: 60_000_000,
};

/// `+` a success, `-` a failure, `p+` and `p-` those of a probe, each 100 ms after the last;
/// `12*+` repeats.
fn check(script: &str, expect: Expect) {
    let (mut breaker, mut rng) = (Breaker::new(), Rng::new(3));
    let mut now = MonoMicros(1);
    let mut seen = vec![name(breaker.phase())];
    for word in script.split_whitespace() {
        let (times, what) = word.split_once('*').unwrap_or(("1", word));
        for _ in 0..times.parse().unwrap() {
            now = now.plus(100_000);
            let sample = if what.ends_with('+') {
                Sample::Good
            } else {
                Sample::Bad
            };
            breaker.record(sample, what.starts_with('p'), now, TIMES, &mut rng);
            if seen.last() != Some(&name(breaker.phase())) {
                seen.push(name(breaker.phase()));
            }
        }
    }
    expect.assert_eq(&seen.join(" -> "));
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open { .. } => "open",
        Phase::HalfOpen => "half-open",
    }
}

#[test]
fn opens_on_failures_in_a_row_when_quiet() {
    check("4*-", expect!["closed"]);
    check("5*-", expect!["closed -> open"]);
    check("3*- + 4*-", expect!["closed"]);
}

#[test]
fn opens_on_the_share_of_failures_when_busy() {
    check("100*+ 19*-", expect!["closed"]);
    check("100*+ 20*-", expect!["closed -> open"]);
    check("10*+ 2*- + 15*-", expect!["closed"]);
    check("2*+ 2*- + 7*-", expect!["closed"]);
    check("2*+ 2*- + 11*-", expect!["closed -> open"]);
}

#[test]
fn only_a_probe_ends_an_outage() {
    check("5*- 10*+", expect!["closed -> open"]);
    check("5*- p- p- p+", expect!["closed -> open -> half-open"]);
}

#[test]
fn closes_when_trusted_again_and_reopens_when_not() {
    check(
        "5*- p+ 20*+",
        expect!["closed -> open -> half-open -> closed"],
    );
    check(
        "5*- p+ 3*+ 5*-",
        expect!["closed -> open -> half-open -> open"],
    );
    check(
        "5*- p+ 2*+ - 2*+ - 2*+ - 2*+ - 2*+ - 2*+ - 2*+ -",
        expect!["closed -> open -> half-open"],
    );
}

#[test]
fn a_quiet_one_closes_when_nothing_failed_for_a_window() {
    let (mut breaker, mut rng) = (Breaker::new(), Rng::new(3));
    let mut record = |sample, probe, at_s: u64| {
        breaker.record(sample, probe, MonoMicros(at_s * 1_000_000), TIMES, &mut rng);
        name(breaker.phase())
    };
    for at_s in 1..=5 {
        record(Sample::Bad, false, at_s);
    }
    assert_eq!(record(Sample::Good, true, 10), "half-open");
    assert_eq!(record(Sample::Bad, false, 30), "half-open");
    assert_eq!(record(Sample::Good, false, 45), "half-open");
    assert_eq!(record(Sample::Good, false, 61), "closed");
}

#[test]
fn random_failures_below_half_do_not_trip_a_busy_breaker() {
    let mut rng = Rng::new(9);
    let mut opened = 0;
    for seed in 0..50 {
        let (mut breaker, mut own) = (Breaker::new(), Rng::new(seed));
        let mut now = MonoMicros(1);
        for round in 0..20_000 {
            now = now.plus(5_000);
            let bad = round > 100 && rng.chance(45);
            let sample = if bad { Sample::Bad } else { Sample::Good };
            breaker.record(sample, false, now, TIMES, &mut own);
        }
        opened += u32::from(breaker.is_open());
    }
    assert_eq!(opened, 0);
}

#[test]
fn waits_between_probes_grow_to_a_minute() {
    let (mut breaker, mut rng) = (Breaker::new(), Rng::new(5));
    let now = MonoMicros(1);
    for _ in 0..5 {
        breaker.record(Sample::Bad, false, now, TIMES, &mut rng);
    }
    for round in 1..20_u32 {
        let Phase::Open { probe_at } = breaker.phase() else {
            panic!("{breaker:?}")
        };
        let cap = (1_000_000_u64 << (round - 1)).min(60_000_000);
        assert!(
            (cap / 10..=cap).contains(&probe_at.since(now)),
            "round {round}"
        );
        breaker.record(Sample::Bad, true, now, TIMES, &mut rng);
    }
}
