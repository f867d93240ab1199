//! The clock that retention goes by.

use super::*;

#[test]
fn a_jump_counts_for_minutes_only() {
    let hour = 3_600_000;
    let mut clock = SteadyClock::new(UnixMillis(hour));
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
