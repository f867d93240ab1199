//! An index file with any bit flipped, cut anywhere, or of any bytes at all.

use model::UnixMillis;

use super::*;
use crate::record::{Header, Kind, RecordFlags};
use model::Position;

fn index() -> SegmentIndex {
    let first = Offset(40);
    let key = SegmentKey { epoch: 3, first };
    let totals = [(SourceId(1), 30), (SourceId(200), 10)].into();
    let mut index = SegmentIndex::new(key, 20_000, totals);
    for ordinal in 0..24_u32 {
        if ordinal == 7 {
            index.push_lost(9);
        }
        let header = Header {
            ordinal,
            length: ordinal * 31,
            received_at: UnixMillis(1_000_000 - u64::from(ordinal % 5)),
            message_hash: u64::from(ordinal) << 40,
            stream: SourceId([1, 2, 200][usize::try_from(ordinal % 3).unwrap()]),
            flags: RecordFlags::NONE,
            kind: Kind::Event,
            batch: 1,
        };
        index.push(&header, Position(8192 + ordinal * 800));
    }
    index
}

/// What is read of a file with these bytes.
fn read(file: &File, bytes: &[u8]) -> Option<SegmentIndex> {
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    let head = IndexHead::read(file).unwrap()?;
    head.read_body(file, true).unwrap()
}

#[test]
fn an_index_comes_back_whole_or_not_at_all() {
    let (index, file) = (index(), tempfile::tempfile().unwrap());
    let bytes = encode(&index);
    assert_eq!(read(&file, &bytes), Some(index.clone()));
    for at in 0..bytes.len() {
        assert_eq!(read(&file, &bytes[..at]), None, "cut at {at}");
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(read(&file, &flipped), None, "bit {bit} of byte {at}");
        }
    }
}

/// Behind its checksum too, a body that makes no sense is refused and takes no memory.
#[test]
fn a_body_of_any_bytes_is_refused_without_a_panic() {
    let index = index();
    let mut body = Vec::new();
    index.encode_body(&mut body);
    let mut seed = 5_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..20_000 {
        let mut bytes = body.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        bytes.truncate(bytes.len() - random(3));
        let empty = SegmentIndex::new(index.key, 0, [].into());
        if let Some(read) = empty.decode_body(&bytes, index.len(), &index.streams(), true) {
            assert_eq!(read.len(), index.len());
            assert!(read.memory_bytes() < 100_000);
        }
    }
}
