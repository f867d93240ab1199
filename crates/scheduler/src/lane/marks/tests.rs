//! What is told apart as old and recent.

use super::*;

#[test]
fn a_stream_that_is_looked_at_often_is_told_apart_within_half_the_time() {
    let second = |s: u64| MonoMicros(s * 1_000_000);
    // One record a second, the first at second 1.
    let mut marks = Marks::new(second(0), Offset(0));
    for now in 1..=1_000_u64 {
        marks.note(second(now), Offset(now), 60_000_000);
        let (old, recent) = (marks.old_below().0, marks.recent_from().0);
        assert!(old <= now.saturating_sub(60), "{now}: below {old} is old");
        assert!(old + 91 >= now, "{now}: only below {old} is old");
        assert!(recent + 60 >= now, "{now}: from {recent} on is recent");
        assert!(
            recent <= now.saturating_sub(29),
            "{now}: only from {recent} on is recent"
        );
    }
}

#[test]
fn after_a_pause_nothing_that_was_there_is_recent() {
    let mut marks = Marks::new(MonoMicros(1), Offset(5));
    marks.note(MonoMicros(3_600_000_000), Offset(9), 60_000_000);
    assert_eq!(
        (marks.old_below(), marks.recent_from()),
        (Offset(9), Offset(9))
    );
}
