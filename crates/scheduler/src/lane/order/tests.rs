//! What waits behind what.

use std::num::NonZeroU64;

use super::*;

fn key(number: u64) -> Option<Key> {
    NonZeroU64::new(number).map(Key)
}

#[test]
fn each_key_lets_one_go_at_a_time() {
    let mut order = Order::new(0);
    let joined: Vec<bool> = [key(7), key(8), None, key(7), key(7), key(8)]
        .into_iter()
        .zip(0..)
        .map(|(key, seq)| order.join(seq, key))
        .collect();
    assert_eq!(joined, [false, false, false, true, true, true]);
    assert_eq!(order.leave(0), Some(3));
    order.forget_below(1);
    assert_eq!(order.leave(2), None, "it has no key");
    assert_eq!(order.leave(1), Some(5));
    order.forget_below(3);
    assert_eq!(order.leave(3), Some(4));
    assert!(order.join(6, key(7)), "4 is unsettled");
    assert_eq!(order.leave(4), Some(6));
    assert_eq!(order.leave(6), None);
    assert!(!order.join(7, key(7)), "all before are settled");
}

#[test]
fn what_leaves_from_behind_takes_nobody_along() {
    let mut order = Order::new(0);
    for seq in 0..4 {
        order.join(seq, key(7));
    }
    order.leave_from_behind(1);
    order.leave_from_behind(3);
    assert_eq!(order.leave(0), Some(2));
    assert!(order.join(4, key(7)), "2 is the last now");
    assert_eq!(order.leave(2), Some(4));
}

#[test]
fn numbers_begin_anew_when_everything_has_left() {
    let mut order = Order::new(0);
    order.join(0, key(7));
    assert_eq!(order.leave(0), None);
    order.forget_below(1 << 63 | 5);
    assert!(!order.join(1 << 63 | 9, key(7)));
    assert!(order.join(1 << 63 | 10, key(7)));
    assert_eq!(order.leave(1 << 63 | 9), Some(1 << 63 | 10));
}
