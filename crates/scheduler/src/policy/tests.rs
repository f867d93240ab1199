//! Policies that make no sense are refused.

use expect_test::{Expect, expect};

use super::*;
use crate::Options;

fn check(change: impl FnOnce(&mut LanePolicy), expect: Expect) {
    let mut policy = LanePolicy::default();
    change(&mut policy);
    expect.assert_eq(&policy.validate().unwrap_err().to_string());
}

#[test]
fn defaults_are_valid() {
    LanePolicy::default().validate().unwrap();
    Options::default().validate().unwrap();
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    check(
        |p| p.concurrency_max = 0,
        expect!["concurrency_max is 0: it must be at least 1"],
    );
    check(
        |p| p.batch_events_max = 20_000,
        expect!["batch_events_max is 20000: it must be at most 10000"],
    );
    check(
        |p| p.window_jobs_max = 20_000,
        expect!["window_jobs_max is 20000: it must be at most 10000"],
    );
    check(
        |p| p.rate_limit_per_s = Some(-1.0),
        expect!["rate_limit_per_s is -1: it must be a number above 0, or not be set"],
    );
    let options = Options {
        in_flight_max: 0,
        ..Options::default()
    };
    expect!["in_flight_max is 0: it must be at least 1"]
        .assert_eq(&options.validate().unwrap_err().to_string());
}
