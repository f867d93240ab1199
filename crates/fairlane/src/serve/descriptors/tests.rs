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

#[test]
fn what_is_less_than_configured_is_told() {
    let shares = Shares::of(1_024);
    let told = |connections_max, in_flight_max| -> Vec<_> {
        shares.taken_away(connections_max, in_flight_max).collect()
    };
    assert_eq!(
        told(4_096, 2_048),
        [
            ("connections_max", 4_096, 416),
            ("in_flight_max", 2_048, 208)
        ]
    );
    assert_eq!(told(416, 209), [("in_flight_max", 209, 208)]);
    assert_eq!(told(416, 208), []);
}
