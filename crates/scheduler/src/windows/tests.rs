//! Two windows are one again when the first is done.

use super::*;
use crate::window::Phase;

fn push(windows: &mut Windows, part: Part, offset: u64) -> u64 {
    windows.part_mut(part).push(Entry {
        offset: Offset(offset),
        failing_since: 0,
        bytes: 10,
        attempts: 0,
        own_failures: 0,
        phase: Phase::Fresh,
    })
}

fn settle(windows: &mut Windows, seq: u64) {
    windows.begin(seq);
    windows.settle(seq);
}

#[test]
fn what_is_ahead_becomes_main_when_the_backlog_is_settled() {
    let mut windows = Windows::new(Offset(0), vec![], vec![], None);
    let first = push(&mut windows, Part::Main, 0);
    windows.fork(Offset(10));
    let recent: Vec<u64> = (10..13)
        .map(|at| push(&mut windows, Part::Ahead, at))
        .collect();
    assert_eq!((windows.len(), windows.fresh()), (4, 4));
    settle(&mut windows, recent[0]);
    settle(&mut windows, recent[1]);
    let span = SettledSpan {
        from: Offset(10),
        to: Offset(12),
        jobs: 2,
    };
    assert_eq!((windows.cursor(), windows.span()), (Offset(0), Some(span)));
    settle(&mut windows, first);
    assert!(
        windows.is_forked(),
        "what lies up to the fork is not known yet"
    );
    windows.fetching = Some(Part::Ahead);
    windows.scanned(Part::Main, Offset(50));
    assert!(!windows.is_forked());
    assert_eq!(
        (windows.cursor(), windows.fetching),
        (Offset(12), Some(Part::Main))
    );
    assert_eq!(
        windows.get(recent[2]).map(|entry| entry.offset),
        Some(Offset(12))
    );

    // And once more: the sides have changed.
    windows.fork(Offset(20));
    let again = push(&mut windows, Part::Ahead, 20);
    assert_ne!(again >> 63, recent[2] >> 63);
    settle(&mut windows, recent[2]);
    windows.scanned(Part::Main, Offset(20));
    assert_eq!((windows.cursor(), windows.len()), (Offset(20), 1));
    assert_eq!(windows.find(Offset(20)), Some(again));
}

#[test]
fn what_was_saved_goes_to_the_window_it_came_from() {
    let span = SettledSpan {
        from: Offset(10),
        to: Offset(12),
        jobs: 2,
    };
    let settled = vec![Offset(3), Offset(14)];
    let parked = vec![ParkedJob {
        offset: Offset(13),
        attempts: 1,
        failing_ms: 5,
    }];
    let windows = Windows::new(Offset(1), settled.clone(), parked.clone(), Some(span));
    assert_eq!(windows.part(Part::Main).scanned_to(), Offset(1));
    assert_eq!(windows.part(Part::Ahead).scanned_to(), Offset(12));
    assert_eq!(windows.span(), Some(span));
    let (mut settled_again, mut parked_again) = (vec![], vec![]);
    for window in windows.each() {
        window.save(0, &mut settled_again, &mut parked_again);
    }
    assert_eq!((settled_again, parked_again), (settled, parked));
}
