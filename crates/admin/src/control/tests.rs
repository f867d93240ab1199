//! The books and the tally, from lanes.

use super::*;
use crate::routes::fixture;

#[test]
fn the_balance_sheet_adds_up_and_says_when_it_does_not() {
    let mut lanes = [fixture::lane(1, "web:a"), fixture::lane(2, "web:b")];
    lanes[0].accepted = 10;
    lanes[0].counts.delivered = 4;
    lanes[0].counts.filtered = [1, 0, 0, 2, 0];
    lanes[0].counts.expired = 1;
    lanes[0].pending = 2;
    lanes[1].accepted = 10;
    lanes[1].counts.rejected = 3;
    lanes[1].pending = 7;
    let sheet = BalanceSheet::of(10, &lanes);
    assert_eq!(
        sheet,
        BalanceSheet {
            accepted: 10,
            connections: 2,
            jobs: 20,
            delivered: 4,
            rejected: 3,
            filtered: 3,
            expired: 1,
            pending: 9,
            balanced: true,
        }
    );
    lanes[1].pending = 6;
    assert!(!BalanceSheet::of(10, &lanes).balanced);
}

#[test]
fn every_lane_is_tallied_once() {
    let mut lanes = [fixture::lane(1, "web:a"), fixture::lane(2, "web:b")];
    lanes[1].state = model::LaneState::Held {
        reason: model::HoldReason::Auth,
    };
    let tally = LaneTally::of(&lanes);
    assert_eq!((tally.total, tally.active, tally.held), (2, 1, 1));
}

#[test]
fn what_was_filtered_is_told_by_reason() {
    let mut counts = model::OutcomeCounts::default();
    counts.filtered[model::FilterReason::EventType.index()] = 3;
    let told = serde_json::to_value(counts).unwrap();
    assert_eq!(told["filtered"]["event_type"], 3);
    assert_eq!(told["filtered"]["filter"], 0);
    assert_eq!(
        serde_json::from_value::<model::OutcomeCounts>(told).unwrap(),
        counts
    );
}
