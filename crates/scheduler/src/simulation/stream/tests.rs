//! What follows from a record's number, held against counting.

use super::super::Burst;
use super::*;

fn stream(events_per_s: f64, offsets_apart: u64) -> Stream {
    let model = StreamModel {
        offsets_apart,
        bursts: vec![
            Burst {
                at_us: 0,
                events: 3,
            },
            Burst {
                at_us: 2_500_000,
                events: 40,
            },
        ],
        ..StreamModel::steady(events_per_s)
    };
    Stream::new(model, 77, 10_000_000)
}

#[test]
fn records_come_when_they_say() {
    for events_per_s in [0.0, 0.7, 9.0, 1_234.5] {
        let mut stream = stream(events_per_s, 1);
        let mut arrivals = Vec::new();
        stream.grow(0);
        assert_eq!(stream.len(), 3, "the burst at the beginning");
        while let Some(next_us) = stream.next_us() {
            let known = stream.len();
            assert_eq!(
                stream.grow(next_us.saturating_sub(1)),
                0,
                "none comes before the next"
            );
            assert!(stream.grow(next_us) > 0, "the next one comes");
            arrivals.extend((known..stream.len()).map(|index| stream.arrived_us(index)));
            assert_eq!(arrivals.last(), Some(&next_us));
        }
        assert!(arrivals.is_sorted());
        assert!(arrivals.iter().all(|at| *at < 10_000_000));
        let expected = 10.0 * events_per_s + 43.0;
        assert!(
            (stream.len() as f64 - expected).abs() <= 2.0,
            "{} records",
            stream.len()
        );
        let burst = arrivals.iter().filter(|at| **at == 2_500_000).count();
        assert!(burst >= 40, "{burst} at once");
    }
}

#[test]
fn offsets_and_numbers_agree() {
    for apart in [1, 2, 5] {
        let mut stream = stream(20.0, apart);
        stream.grow(10_000_000);
        let offsets: Vec<Offset> = (0..stream.len())
            .map(|index| stream.offset_of(index))
            .collect();
        assert!(offsets.is_sorted());
        for at in 0..stream.end().0 + 3 {
            let below = offsets.iter().filter(|offset| offset.0 < at).count();
            assert_eq!(
                stream.index_of(Offset(at)),
                below as u64,
                "{at} with {apart} apart"
            );
            let there = offsets.iter().position(|offset| offset.0 == at);
            assert_eq!(stream.find(Offset(at)), there.map(|index| index as u64));
        }
        let (fetches, to) = stream.fetch(Offset(7), Offset(60), 4);
        let expected: Vec<Offset> = offsets
            .iter()
            .copied()
            .filter(|offset| offset.0 >= 7 && offset.0 < 60)
            .take(4)
            .collect();
        assert_eq!(
            fetches.iter().map(|fetch| fetch.offset).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(to, fetches[fetches.len() - 1].offset.next());
        let (_, to) = stream.fetch(stream.end(), Offset::MAX, 4);
        assert_eq!(to, stream.end());
    }
}
