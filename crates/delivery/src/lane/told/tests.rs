//! Each change once, and few lines of many changes.

use model::{HoldReason, LaneState, MonoMicros};

use super::Told;

const HELD: LaneState = LaneState::Held {
    reason: HoldReason::Auth,
};

fn at(ms: u64) -> MonoMicros {
    MonoMicros(ms * 1_000)
}

#[test]
fn a_change_is_told_once() {
    let mut told = Told::new(LaneState::Active);
    assert_eq!(told.changed(LaneState::Active, at(1)), None, "it was so");
    let open = told.changed(LaneState::Open, at(2));
    assert_eq!(open, Some((LaneState::Active, 0)));
    assert_eq!(
        told.overdue(LaneState::Open, at(5_000)),
        None,
        "told already"
    );
    // A hold is told however soon it comes.
    assert_eq!(told.changed(HELD, at(3)), Some((LaneState::Open, 0)));
    assert_eq!(told.changed(HELD, at(9_000)), None);
}

#[test]
fn flapping_is_a_line_a_second() {
    let mut told = Told::new(LaneState::Active);
    let mut lines = Vec::new();
    for ms in 0..3_000 {
        let state = if ms % 2 == 0 {
            LaneState::Throttled
        } else {
            LaneState::Active
        };
        lines.extend(told.changed(state, at(ms)).map(|(_, untold)| (ms, untold)));
    }
    // At 1,000 ms it becomes throttled, as was told last: that is no news.
    assert_eq!(lines, [(0, 0), (1_001, 999), (2_002, 999)]);
}

#[test]
fn what_was_left_out_is_told_in_the_end() {
    let mut told = Told::new(LaneState::Active);
    told.changed(LaneState::Throttled, at(0));
    assert_eq!(told.changed(LaneState::Active, at(10)), None);
    assert_eq!(told.overdue(LaneState::Active, at(500)), None, "too soon");
    let line = told.overdue(LaneState::Active, at(5_000));
    assert_eq!(line, Some((LaneState::Throttled, 1)));
}
