//! Every progress comes back; no damaged one does.

use expect_test::{Expect, expect};
use model::{HoldReason, LaneId, LaneProgress, Offset, OutcomeCounts, ParkedJob, SettledSpan};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{decode, encode};

fn encoded(progress: &LaneProgress) -> Vec<u8> {
    let mut out = Vec::new();
    encode(progress, &mut out);
    out
}

fn check(progress: &LaneProgress, bytes: Expect) {
    let out = encoded(progress);
    let lines = out.chunks(16).map(|line| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.join(" ") + "\n"
    });
    bytes.assert_eq(&lines.collect::<String>());
    assert_eq!(
        decode(progress.lane, progress.cursor, &out).as_ref(),
        Some(progress)
    );
}

fn example() -> LaneProgress {
    LaneProgress {
        lane: LaneId(7),
        cursor: Offset(1_000),
        ahead: None,
        settled_above: vec![Offset(1_001), Offset(1_002), Offset(1_500)],
        parked: vec![ParkedJob {
            offset: Offset(1_000),
            attempts: 3,
            failing_ms: 90_000,
        }],
        counts: OutcomeCounts {
            delivered: 300,
            rejected: 1,
            expired: 2,
            filtered: [3, 0, 0, 128, 5],
        },
        hold: Some(HoldReason::Auth),
    }
}

/// Frozen: a store that is kept must be read by every later version.
#[test]
fn the_bytes_of_version_1() {
    let fresh = LaneProgress::new(LaneId(1), Offset(5));
    check(
        &fresh,
        expect![[r#"
        01 00 00 00 05 00 00 00 00 00 00 00 00 5a d2 85
        10
    "#]],
    );
    check(
        &example(),
        expect![[r#"
        01 ac 02 01 02 05 03 00 00 80 01 05 04 61 75 74
        68 03 01 01 f2 03 01 00 03 90 bf 05 09 30 f8 7f
    "#]],
    );
}

/// Frozen, too.
#[test]
fn the_bytes_of_version_2() {
    let ahead = SettledSpan {
        from: Offset(2_000),
        to: Offset(5_000),
        jobs: 700,
    };
    let forked = LaneProgress {
        ahead: Some(ahead),
        ..example()
    };
    check(
        &forked,
        expect![[r#"
        02 e8 07 b8 17 bc 05 ac 02 01 02 05 03 00 00 80
        01 05 04 61 75 74 68 03 01 01 f2 03 01 00 03 90
        bf 05 a4 92 39 60
    "#]],
    );
}

#[test]
fn a_window_of_another_lane_or_cursor_is_damage() {
    let bytes = encoded(&example());
    assert!(decode(LaneId(8), Offset(1_000), &bytes).is_none());
    assert!(decode(LaneId(7), Offset(1_001), &bytes).is_none());
    assert!(decode(LaneId(7), Offset(1_000), &[]).is_none());
}

#[test]
fn a_full_window_is_small() {
    let mut progress = example();
    progress.settled_above = (1_001..11_001).map(Offset).collect();
    assert!(encoded(&progress).len() < 10_100);
}

fn any_progress() -> impl Strategy<Value = LaneProgress> {
    let job = (any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(offset, attempts, failing)| {
        ParkedJob {
            offset: Offset(offset),
            attempts,
            failing_ms: failing,
        }
    });
    let hold = prop::option::of(prop::sample::select(HoldReason::ALL.to_vec()));
    let span = any::<[u64; 3]>().prop_map(|[from, to, jobs]| SettledSpan {
        from: Offset(from),
        to: Offset(to),
        jobs,
    });
    (
        (any::<u32>(), any::<u64>(), hold, prop::option::of(span)),
        vec(any::<u64>().prop_map(Offset), 0..50),
        vec(job, 0..50),
        (any::<[u64; 3]>(), any::<[u64; 5]>()),
    )
        .prop_map(
            |((lane, cursor, hold, ahead), settled_above, parked, (ended, filtered))| {
                LaneProgress {
                    lane: LaneId(lane),
                    cursor: Offset(cursor),
                    ahead,
                    settled_above,
                    parked,
                    counts: OutcomeCounts {
                        delivered: ended[0],
                        rejected: ended[1],
                        expired: ended[2],
                        filtered,
                    },
                    hold,
                }
            },
        )
}

proptest! {
    #[test]
    fn every_progress_comes_back(progress in any_progress()) {
        let bytes = encoded(&progress);
        prop_assert_eq!(decode(progress.lane, progress.cursor, &bytes), Some(progress));
    }

    #[test]
    fn a_flipped_bit_is_noticed(progress in any_progress(), at in any::<prop::sample::Index>(),
                                bit in 0..8u8) {
        let mut bytes = encoded(&progress);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert_eq!(decode(progress.lane, progress.cursor, &bytes), None);
    }

    #[test]
    fn a_cut_is_noticed(progress in any_progress(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&progress);
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert_eq!(decode(progress.lane, progress.cursor, cut), None);
    }

    /// The checksum is right and the rest is noise: no panic, no memory for what is not there.
    #[test]
    fn noise_is_harmless(mut bytes in vec(any::<u8>(), 0..200), lane in any::<u32>()) {
        let checksum = super::checksum(LaneId(lane), Offset(9), &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let _ = decode(LaneId(lane), Offset(9), &bytes);
    }
}
