//! Figures of a simulated run.

use super::delays::{bucket_of, upper_bound};
use super::*;

#[test]
fn a_bucket_holds_what_its_bound_says() {
    for us in (0..2_000).chain([123_456, 7_654_321, u64::MAX >> 3]) {
        let upper = upper_bound(bucket_of(us));
        assert!(
            upper >= us && upper <= us + us / 8 + 1,
            "{us} in a bucket up to {upper}"
        );
    }
}

#[test]
fn percentiles_are_within_an_eighth() {
    let mut delays = Delays::default();
    (1..=1_000).for_each(|ms| delays.add(ms * 1_000));
    for (percent, us) in [(50, 500_000), (99, 990_000), (100, 1_000_000)] {
        let measured = delays.percentile_us(percent);
        assert!(
            measured >= us && measured <= us + us / 8,
            "p{percent}: {measured}"
        );
    }
    assert_eq!(Delays::default().percentile_us(99), 0);
}
