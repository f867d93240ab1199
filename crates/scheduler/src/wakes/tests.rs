//! Wakes come in the order of their times.

use super::*;

#[test]
fn lanes_come_up_in_order_once() {
    let mut wakes = Wakes::default();
    wakes.grow(2);
    wakes.wake_by(0, MonoMicros(30));
    wakes.wake_by(1, MonoMicros(10));
    wakes.wake_by(2, MonoMicros(20));
    wakes.wake_by(0, MonoMicros(5));
    wakes.wake_by(1, MonoMicros(50));
    wakes.cancel(2);
    assert_eq!(wakes.next(), Some(MonoMicros(5)));
    assert_eq!(wakes.pop_due(MonoMicros(4)), None);
    assert_eq!(wakes.pop_due(MonoMicros(40)), Some(0));
    assert_eq!(wakes.pop_due(MonoMicros(40)), Some(1));
    assert_eq!(wakes.pop_due(MonoMicros(40)), None);
    assert_eq!(wakes.next(), None);
}

#[test]
fn stale_entries_do_not_pile_up() {
    let mut wakes = Wakes::default();
    wakes.grow(10);
    for round in 0..100_000_u64 {
        wakes.wake_by(3, MonoMicros(10_000_000 - round));
    }
    assert!(wakes.heap.len() <= 1_100, "{}", wakes.heap.len());
    assert_eq!(wakes.pop_due(MonoMicros(u64::MAX - 1)), Some(3));
    assert_eq!(wakes.pop_due(MonoMicros(u64::MAX - 1)), None);
}
