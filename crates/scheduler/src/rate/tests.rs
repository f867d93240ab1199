//! A rate limit lets through what it says, and no more.

use super::*;

fn sent_within_10_s(per_s: f64) -> u64 {
    let mut rate = Rate::default();
    let mut now = MonoMicros(1_000_000_000);
    let end = now.plus(10_000_000);
    let mut sent = 0;
    while now < end {
        if rate.free_at() <= now {
            rate.take(per_s, now);
            sent += 1;
        } else {
            now = rate.free_at();
        }
    }
    sent
}

#[test]
fn attempts_keep_to_the_limit_with_a_tenth_of_a_second_of_burst() {
    assert_eq!(sent_within_10_s(100.0), 1_010);
    assert_eq!(sent_within_10_s(1_000.0), 10_100);
    assert_eq!(sent_within_10_s(0.5), 6);
}
