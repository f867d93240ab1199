//! An index is what was pushed, also after a way through bytes.

use model::limits::RECORD_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::record::{Kind, RecordFlags};

fn header(stream: u32, length: u32, received_at: u64) -> Header {
    Header {
        ordinal: 0,
        length,
        received_at: UnixMillis(received_at),
        message_hash: received_at.wrapping_mul(31),
        stream: SourceId(stream),
        flags: RecordFlags::NONE,
        kind: Kind::Event,
        batch: 1,
    }
}

/// `None` in `records` is a lost one.
fn built(records: &[Option<(u32, u32, u64)>], totals: &[(SourceId, u64)]) -> SegmentIndex {
    let key = SegmentKey {
        epoch: 3,
        first: Offset(100),
    };
    let mut index = SegmentIndex::new(key, 8192, totals.into());
    let mut position = 8192;
    for record in records {
        match *record {
            Some((stream, length, received_at)) => {
                index.push(&header(stream, length, received_at), Position(position));
                position += 48 + length;
            }
            None => index.push_lost(index.len() + 1),
        }
    }
    index.data_end = u64::from(position);
    index
}

fn records() -> impl Strategy<Value = Vec<Option<(u32, u32, u64)>>> {
    let length = 0..u32::try_from(RECORD_BYTES_MAX).unwrap();
    let record = prop::option::weighted(0.9, (0..20_u32, length, any::<u64>()));
    prop::collection::vec(record, 0..200)
}

fn decoded(index: &SegmentIndex, body: &[u8], with_hashes: bool) -> Option<SegmentIndex> {
    let mut empty = SegmentIndex::new(index.key, index.data_end, [].into());
    (empty.received_min, empty.received_max) = (index.received_min, index.received_max);
    empty.decode_body(body, index.len(), &index.streams(), with_hashes)
}

proptest! {
    #[test]
    fn bytes_and_back(records in records(), totals in prop::collection::btree_map(any::<u32>(), any::<u64>(), 0..20)) {
        let totals: Vec<_> = totals.into_iter().map(|(stream, count)| (SourceId(stream), count)).collect();
        let index = built(&records, &totals);
        let mut body = Vec::new();
        index.encode_body(&mut body);
        prop_assert_eq!(decoded(&index, &body, true), Some(index.clone()));
        prop_assert_eq!(decoded(&index, &body, false), Some(index.into_lean()));
    }

    #[test]
    fn cut_bytes_are_refused_and_wild_ones_do_no_harm(records in records(), cut in any::<prop::sample::Index>(), wild in any::<Vec<u8>>()) {
        let index = built(&records, &[(SourceId(4), 5)]);
        let mut body = Vec::new();
        index.encode_body(&mut body);
        prop_assert_eq!(decoded(&index, &body[..cut.index(body.len())], true), None);
        let _ = decoded(&index, &wild, true);
    }
}

#[test]
fn lost_records_have_no_entry() {
    let index = built(
        &[Some((7, 10, 50)), None, Some((7, 20, 60))],
        &[(SourceId(7), 2)],
    );
    assert_eq!(
        (index.len(), index.present(), index.end()),
        (3, 2, Offset(103))
    );
    assert_eq!(index.entry(1), None);
    assert_eq!(index.postings_from(SourceId(7), 0), [0, 2]);
    assert_eq!(index.postings_from(SourceId(7), 1), [2]);
    assert_eq!(index.totals_after()[&SourceId(7)], 4);
    assert_eq!(index.ordinal(Offset(99)), None);
    assert_eq!(index.ordinal(Offset(103)), None);
}

#[test]
fn cutting_forgets_what_the_next_segment_holds() {
    let mut index = built(&[Some((7, 1, 1)), Some((8, 1, 2)), Some((7, 1, 3))], &[]);
    index.truncate(1);
    assert_eq!(index.streams(), [(SourceId(7), 1)]);
    assert_eq!(index.end(), Offset(101));
}
