//! Attempts in flight, found again by their ids.

use super::*;

fn flight(bytes: u64) -> Flight {
    Flight {
        lane_slot: 0,
        lane_serial: 0,
        group_slot: 0,
        queue_slot: 0,
        jobs: Seqs::One(0),
        bytes,
        began: MonoMicros(0),
        probe: false,
    }
}

#[test]
fn an_attempt_finishes_once_and_its_id_never_comes_back() {
    let mut flights = Flights::default();
    let first = flights.begin(flight(10));
    let second = flights.begin(flight(20));
    assert_eq!((flights.count(), flights.bytes()), (2, 30));
    assert_eq!(flights.finish(first).unwrap().bytes, 10);
    assert!(flights.finish(first).is_none());
    let third = flights.begin(flight(40));
    assert!(third != first && third != second);
    assert!(flights.finish(first).is_none());
    assert_eq!((flights.count(), flights.bytes()), (2, 60));
}
