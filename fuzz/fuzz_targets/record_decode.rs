//! Any bytes may stand where a record is expected: decoding them must neither panic nor accept a
//! record that is not there.
#![no_main]

use eventlog::record::{self, HEADER_BYTES, SegmentKey};
use libfuzzer_sys::fuzz_target;
use model::Offset;

fuzz_target!(|input: (u64, u64, Vec<u8>)| {
    let (epoch, first, mut bytes) = input;
    let mark = SegmentKey { epoch, first: Offset(first) }.mark();
    // Half of the inputs get the right mark and checksum, so that the fuzzer gets behind them.
    if epoch % 2 == 0 && bytes.len() >= HEADER_BYTES {
        bytes[..4].copy_from_slice(&mark.0.to_le_bytes());
        let length = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let used = HEADER_BYTES.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if let Some(covered) = bytes.get(8..used) {
            let crc = crc32c_of(mark.0, covered);
            bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        }
    }
    if let Ok(header) = record::decode(mark, &bytes) {
        let length = usize::try_from(header.length).expect("64 bits");
        assert!(bytes.len() >= HEADER_BYTES + length, "the payload is within the bytes");
    }
});

/// Bit by bit: shares no code with what is tested.
fn crc32c_of(seed: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!seed, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}
