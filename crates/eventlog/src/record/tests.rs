//! The bytes of a record: frozen, and proof against any flipped bit.

use expect_test::expect;

use super::*;

fn key() -> SegmentKey {
    SegmentKey {
        epoch: 77,
        first: Offset(1_000),
    }
}

/// A record as the writer leaves it.
fn placed(payload: &[u8]) -> Vec<u8> {
    let header = Header {
        ordinal: 0,
        length: u32::try_from(payload.len()).unwrap(),
        received_at: UnixMillis(0x0102_0304_0506),
        message_hash: 0x1112_1314_1516_1718,
        stream: SourceId(0x2122_2324),
        flags: RecordFlags::HAS_INTEGRATIONS,
        kind: Kind::Event,
        batch: 0,
    };
    let mut bytes = Vec::new();
    draft(&header, payload, &mut bytes);
    place(key().mark(), 5, 3, &mut bytes).expect("a whole draft");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    let words = bytes.chunks(8).map(|word| {
        word.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_format_is_frozen() {
    expect![[r#"
        69ff3a7e7f69478a
        0500000007000000
        0605040302010000
        1817161514131211
        2423222101010300
        7b2261223a317d00"#]]
    .assert_eq(&hex(&placed(b"{\"a\":1}")));
    let mut seal = Vec::new();
    write_closing(key().mark(), Kind::Seal, 6, 4, Offset(1_006), &mut seal);
    expect![[r#"
        69ff3a7e7867d592
        0600000000000000
        0000000000000000
        ee03000000000000
        0000000000030400"#]]
    .assert_eq(&hex(&seal));
}

#[test]
fn what_was_drafted_is_read() {
    for payload in [&b""[..], b"1", b"12345678", &[0; 1_000]] {
        let bytes = placed(payload);
        assert_eq!(bytes.len(), stored_bytes(payload.len()));
        let header = decode(key().mark(), &bytes).unwrap();
        assert_eq!(
            (header.ordinal, header.batch, header.kind),
            (5, 3, Kind::Event)
        );
        assert_eq!(header.length, u32::try_from(payload.len()).unwrap());
        assert_eq!(header.stream, SourceId(0x2122_2324));
        assert_eq!(bytes[HEADER_BYTES..][..payload.len()], *payload);
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for payload in [&b"{\"event\":\"Order Completed\"}"[..], b"", b"12345678"] {
        let good = placed(payload);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(key().mark(), &bad).is_err(),
                "bit {bit} of {}",
                good.len() * 8
            );
        }
    }
}

#[test]
fn a_record_passes_in_its_own_segment_only() {
    let bytes = placed(b"{}");
    for other in [
        SegmentKey { epoch: 78, ..key() },
        SegmentKey {
            first: Offset(1_001),
            ..key()
        },
        SegmentKey {
            epoch: 0,
            first: Offset(0),
        },
    ] {
        assert_eq!(decode(other.mark(), &bytes), Err(NotARecord::Mark));
        // Also where the mark itself is forged.
        let mut forged = bytes.clone();
        forged[..4].copy_from_slice(&other.mark().0.to_le_bytes());
        assert_eq!(decode(other.mark(), &forged), Err(NotARecord::Checksum));
    }
}

#[test]
fn short_bytes_are_no_record() {
    let bytes = placed(b"{\"a\":1}");
    for len in 0..HEADER_BYTES + 7 {
        assert!(matches!(
            decode(key().mark(), &bytes[..len]),
            Err(NotARecord::Short { .. })
        ));
    }
    assert!(
        decode(key().mark(), &bytes[..HEADER_BYTES + 7]).is_ok(),
        "padding may be missing"
    );
    let zeros = [0; 200];
    assert_eq!(decode(key().mark(), &zeros), Err(NotARecord::Mark));
}
