//! Delays between attempts: a floor, a cap, and jitter between them.

use expect_test::{Expect, expect};

use super::*;

fn check(round: u32, expect: Expect) {
    let mut rng = Rng::new(1);
    let drawn: Vec<u64> = (0..10_000)
        .map(|_| backoff_us(&mut rng, round, 2_000_000, 3, 1_800_000_000))
        .collect();
    let (low, high) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
    expect.assert_eq(&format!(
        "{:.1} s to {:.0} s",
        *low as f64 / 1e6,
        *high as f64 / 1e6
    ));
}

#[test]
fn back_off_grows_threefold_up_to_its_cap() {
    check(1, expect!["0.2 s to 2 s"]);
    check(2, expect!["0.6 s to 6 s"]);
    check(5, expect!["16.2 s to 162 s"]);
    check(7, expect!["145.8 s to 1458 s"]);
    check(8, expect!["180.1 s to 1800 s"]);
    check(400, expect!["180.1 s to 1800 s"]);
}

#[test]
fn retry_after_is_clamped_and_jittered() {
    let mut rng = Rng::new(1);
    for (wish, least, most) in [
        (1, 900_000, 1_100_000),
        (3_600, 3_240_000_000, 3_960_000_000),
    ] {
        for _ in 0..1_000 {
            let wait = retry_after_us(&mut rng, Some(wish)).unwrap();
            assert!((least..=most).contains(&wait), "{wish} s became {wait} us");
        }
    }
    for wish in [
        None,
        Some(0),
        Some(3_601),
        Some(1_000_000_000),
        Some(u64::MAX),
    ] {
        assert_eq!(retry_after_us(&mut rng, wish), None, "{wish:?}");
    }
}
