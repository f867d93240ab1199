//! The clock that retention goes by.

use super::*;

#[test]
fn a_jump_counts_for_minutes_only() {
    let hour = 3_600_000;
    let mut clock = SteadyClock::new(UnixMillis(hour), None);
    assert_eq!(
        clock.advance(UnixMillis(hour + 10)),
        UnixMillis(hour + 10),
        "it goes along"
    );
    assert_eq!(
        clock.advance(UnixMillis(u64::MAX)),
        UnixMillis(hour + 300_010)
    );
    assert_eq!(
        clock.advance(UnixMillis(hour + 20)),
        UnixMillis(hour + 20),
        "set right again"
    );
    assert_eq!(clock.advance(UnixMillis(0)), UnixMillis(0));
}

#[test]
fn a_start_with_a_wrong_clock_counts_from_the_newest_record() {
    for wrong in [0, u64::MAX] {
        let mut clock = SteadyClock::new(UnixMillis(wrong), Some(UnixMillis(1_000)));
        assert_eq!(clock.advance(UnixMillis(2_000)), UnixMillis(2_000));
        assert_eq!(clock.advance(UnixMillis(u64::MAX)), UnixMillis(302_000));
    }
}
