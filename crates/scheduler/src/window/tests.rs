//! The window: bounded, and its cursor never passes an unsettled job.

use expect_test::{Expect, expect};

use super::*;

fn entry(offset: u64, phase: Phase) -> Entry {
    Entry {
        offset: Offset(offset),
        failing_since: 0,
        bytes: 10,
        attempts: 0,
        own_failures: 0,
        phase,
    }
}

/// `f5` pushes a fresh record at 5, `s5` a settled one, `p5` a parked one; `>9` scans to 9;
/// `b` begins the next fresh one; `!5` settles, `~5` parks.
fn check(script: &str, expect: Expect) {
    let mut window = Window::new(Offset(0), 0, None);
    for word in script.split_whitespace() {
        let offset = word[1..].parse().unwrap_or(0);
        match &word[..1] {
            "f" => drop(window.push(entry(offset, Phase::Fresh))),
            "s" => drop(window.push(entry(offset, Phase::Settled))),
            "p" => drop(window.push(entry(offset, Phase::Parked))),
            ">" => window.scanned(Offset(offset)),
            "b" => {
                let (seq, _) = window.next_fresh().expect("a fresh entry");
                window.begin(seq);
            }
            "!" => {
                let seq = window.find(Offset(offset)).expect("an unsettled entry");
                window.settle(seq);
            }
            "~" => {
                let seq = window.find(Offset(offset)).expect("an unsettled entry");
                window.park(seq);
            }
            other => panic!("{other}"),
        }
    }
    let entries: Vec<String> = window
        .entries
        .iter()
        .map(|e| format!("{}{:?}", e.offset, e.phase))
        .collect();
    expect.assert_eq(&format!(
        "cursor {} scanned {} fresh {} ({} B) unsettled {} ({} B) [{}]",
        window.cursor(),
        window.scanned_to(),
        window.fresh(),
        window.fresh_bytes(),
        window.unsettled(),
        window.unsettled_bytes(),
        entries.join(" ")
    ));
}

#[test]
fn the_cursor_stands_at_the_first_unsettled_job() {
    check(
        "f3 f5 f9 >12 b b b !5 !9",
        expect![
            "cursor 3 scanned 12 fresh 0 (0 B) unsettled 1 (10 B) [3InFlight 5Settled 9Settled]"
        ],
    );
    check(
        "f3 f5 f9 >12 b b b !5 !9 !3",
        expect!["cursor 12 scanned 12 fresh 0 (0 B) unsettled 0 (0 B) []"],
    );
    check(
        "f3 f5 >6 b !3",
        expect!["cursor 5 scanned 6 fresh 1 (10 B) unsettled 1 (10 B) [5Fresh]"],
    );
}

#[test]
fn a_stretch_without_records_moves_the_cursor() {
    check(
        ">700",
        expect!["cursor 700 scanned 700 fresh 0 (0 B) unsettled 0 (0 B) []"],
    );
    check(
        "f3 >700",
        expect!["cursor 3 scanned 700 fresh 1 (10 B) unsettled 1 (10 B) [3Fresh]"],
    );
}

#[test]
fn what_was_settled_or_parked_before_a_crash_is_not_fresh() {
    check(
        "s1 p2 s3 f4 >9 b",
        expect!["cursor 2 scanned 9 fresh 0 (0 B) unsettled 2 (20 B) [2Parked 3Settled 4InFlight]"],
    );
}

#[test]
fn a_damaged_fresh_job_in_the_middle_is_passed_over() {
    check(
        "f1 f2 f3 >4 !2 b b",
        expect![
            "cursor 1 scanned 4 fresh 0 (0 B) unsettled 2 (20 B) [1InFlight 2Settled 3InFlight]"
        ],
    );
}

#[test]
fn a_parked_job_keeps_the_cursor() {
    check(
        "f1 f2 >4 b b ~1 !2",
        expect!["cursor 1 scanned 4 fresh 0 (0 B) unsettled 1 (10 B) [1Parked 2Settled]"],
    );
}
