//! The division of descriptors.

use super::{OTHERS, Shares};

#[test]
fn the_shares_leave_room_for_the_others() {
    for limit in [256, 1_024, 4_096, 524_288, u64::MAX] {
        let shares = Shares::of(limit);
        let held = shares.connections + shares.attempts + shares.idle;
        assert!(held + OTHERS <= limit, "{limit}: {shares:?}");
        assert!(shares.attempts >= 16, "{limit}: {shares:?}");
    }
}

#[test]
fn a_hopeless_limit_still_gives_each_something() {
    let shares = Shares::of(3);
    assert!(shares.connections > 0 && shares.attempts > 0, "{shares:?}");
}
