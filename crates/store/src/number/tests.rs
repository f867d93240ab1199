//! The edge at which the two kinds of integer differ.

use super::{from_sql, to_sql};

#[test]
fn ordinary_numbers_and_the_open_end_come_back() {
    for number in [0, 1, 1 << 40, u64::MAX] {
        assert_eq!(from_sql(to_sql(number)), number);
    }
    assert_eq!(from_sql(to_sql(1 << 63)), u64::MAX);
    assert_eq!(from_sql(-1), 0);
}
