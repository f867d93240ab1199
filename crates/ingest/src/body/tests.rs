//! Unpacking, friendly and hostile.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress well.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        b'a' + u8::try_from(state >> 60).unwrap()
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn gzip_is_unpacked() {
    let options = Options::default();
    let text = noise(100_000);
    assert_eq!(inflate(&gzip(&text), &options), Ok(text));
    assert_eq!(inflate(&gzip(b"{}"), &options), Ok(b"{}".to_vec()));
}

#[test]
fn bombs_are_refused_after_bounded_work() {
    let options = Options::default();
    let bomb = gzip(&vec![b' '; 16 * 1024 * 1024]);
    assert_eq!(
        inflate(&bomb, &options),
        Err(Refusal::BodyTooLarge {
            bytes_max: 512 * 1024
        })
    );
    let small = gzip(&vec![b' '; 400 * 1024]);
    assert_eq!(
        inflate(&small, &options),
        Err(Refusal::InflatesTooMuch { ratio_max: 100 })
    );
    let large = gzip(&noise(513 * 1024));
    assert_eq!(
        inflate(&large, &options),
        Err(Refusal::BodyTooLarge {
            bytes_max: 512 * 1024
        })
    );
}

#[test]
fn what_is_no_gzip_is_said_so() {
    let options = Options::default();
    let whole = gzip(&noise(10_000));
    assert_eq!(
        inflate(&whole[..whole.len() / 2], &options),
        Err(Refusal::BadGzip)
    );
    assert_eq!(inflate(b"{}", &options), Err(Refusal::BadGzip));
    assert_eq!(inflate(b"", &options), Err(Refusal::BadGzip));
    let mut flipped = whole;
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    assert_eq!(
        inflate(&flipped, &options),
        Err(Refusal::BadGzip),
        "the checksum is wrong"
    );
}
