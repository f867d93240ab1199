//! Shedding over a made-up clock.

use super::*;

#[test]
fn a_standing_queue_is_halved_until_the_wait_is_short_again() {
    let overload = Overload::new(100, 500);
    let mut guards: Vec<_> = (0..64).map(|_| overload.waiting()).collect();
    overload.waited(1_000, 0);
    assert!(overload.admits(), "short waits shed nothing");

    // A burst: long waits, but the least of the interval is short.
    overload.waited(900_000, 100_000);
    overload.waited(1_000, 200_000);
    overload.waited(900_000, 600_000);
    assert!(overload.admits());

    // A standing queue.
    overload.waited(300_000, 700_000);
    overload.waited(300_000, 1_200_000);
    assert!(!overload.admits(), "64 wait, 32 may");
    guards.truncate(31);
    assert!(overload.admits());
    overload.waited(300_000, 1_800_000);
    assert!(!overload.admits(), "31 wait, 15 may");
    guards.clear();
    assert!(
        overload.admits(),
        "one may always, or nothing would ever tell that it is over"
    );

    // Short again: doubled every interval until nothing is shed.
    let _guards: Vec<_> = (0..64).map(|_| overload.waiting()).collect();
    for interval in 0..3 {
        assert!(!overload.admits(), "interval {interval}");
        overload.waited(1_000, 2_400_000 + interval * 600_000);
    }
    assert!(overload.admits());
}
