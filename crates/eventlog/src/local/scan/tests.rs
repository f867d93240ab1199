//! Crash images of one small segment: every cut, every flipped bit, and thousands of seeded
//! mixtures of lost, torn, foreign and random bytes.

use std::collections::HashSet;
use std::ops::Range;

use model::{SourceId, UnixMillis};

use super::*;
use crate::record::RecordFlags;

/// Payload lengths, commit by commit. Odd ones, so that padding is hit too.
const COMMITS: [&[usize]; 6] = [&[9], &[30, 0, 17], &[61], &[600, 3], &[12, 12, 700], &[40]];
/// Zeros behind the last record, as in a segment that was not filled.
const SLACK: usize = 600;
const START: usize = 8192;

/// A segment as the writer leaves it, and where in it everything stands.
struct Image {
    bytes: Vec<u8>,
    key: SegmentKey,
    /// Bytes of each record, and the number of its commit.
    records: Vec<(Range<usize>, usize)>,
    /// The bytes of each commit, its closing record included.
    commits: Vec<Range<usize>>,
    seal: Range<usize>,
}

impl Image {
    fn new(epoch: u64, sealed: bool) -> Self {
        let first = Offset(500);
        let key = SegmentKey { epoch, first };
        let mut image = Self {
            bytes: vec![0; START],
            key,
            records: Vec::new(),
            commits: Vec::new(),
            seal: 0..0,
        };
        for (commit, lengths) in COMMITS.iter().enumerate() {
            let start = image.bytes.len();
            let synced = image.records.len();
            for &length in *lengths {
                image.append(length, commit);
            }
            image.close(Kind::Commit, commit, synced);
            image.commits.push(start..image.bytes.len());
        }
        let end = image.bytes.len();
        if sealed {
            image.close(Kind::Seal, COMMITS.len(), image.records.len());
        }
        image.seal = end..image.bytes.len();
        image.bytes.resize(image.bytes.len() + SLACK, 0);
        image
    }

    fn append(&mut self, length: usize, commit: usize) {
        let ordinal = u32::try_from(self.records.len()).unwrap();
        let batch = u16::try_from(commit + 1).unwrap();
        let start = self.bytes.len();
        let header = Header {
            ordinal: 0,
            length: u32::try_from(length).unwrap(),
            received_at: UnixMillis(1_000 + u64::from(ordinal)),
            message_hash: self.key.epoch,
            stream: SourceId(ordinal % 3),
            flags: RecordFlags::NONE,
            kind: Kind::Event,
            batch: 0,
        };
        record::draft(&header, &vec![b'e'; length], &mut self.bytes);
        record::place(self.key.mark(), ordinal, batch, &mut self.bytes[start..]).unwrap();
        self.records.push((start..self.bytes.len(), commit));
    }

    fn close(&mut self, kind: Kind, commit: usize, synced: usize) {
        let next = u32::try_from(self.records.len()).unwrap();
        let batch = u16::try_from(commit + 1).unwrap();
        let synced = Offset(self.key.first.0 + to_u64(synced));
        record::write_closing(self.key.mark(), kind, next, batch, synced, &mut self.bytes);
    }

    fn used(&self) -> Range<usize> {
        START..self.seal.end
    }

    fn scan(&self, file: &File, bytes: &[u8], recycled: bool) -> Scan {
        file.set_len(to_u64(bytes.len())).unwrap();
        file.write_all_at(&bytes[START.min(bytes.len())..], DATA_START)
            .unwrap();
        let header = SegmentHeader {
            key: self.key,
            bytes: to_u64(self.bytes.len()),
            recycled,
        };
        let scan = scan(file, header, [].into()).unwrap();
        self.check_sound(&scan);
        scan
    }

    /// What was found was written so, and what was not found is told.
    fn check_sound(&self, scan: &Scan) {
        for (ordinal, (range, _)) in self.records.iter().enumerate() {
            let ordinal = u32::try_from(ordinal).unwrap();
            let entry = scan.index.entry(ordinal);
            if ordinal < scan.index.len() && Self::is_told(scan, ordinal) {
                // Where its header looks right, whoever comes to it finds what was damaged.
                let position = entry.map(|entry| u64::from(entry.position.0));
                let mut ranges = scan.damaged.iter().map(|at| &at.bytes);
                assert!(
                    position.is_none_or(|position| ranges.any(|at| at.contains(&position))),
                    "record {ordinal} is shown at {position:?}"
                );
            } else if let Some(entry) = entry {
                assert_eq!(u64::from(entry.position.0), to_u64(range.start));
                assert_eq!(entry.received_at.0, 1_000 + u64::from(ordinal));
            } else {
                let lost = ordinal < scan.index.len();
                assert!(!lost, "record {ordinal} is lost, and nobody is told");
            }
        }
        assert!(usize::try_from(scan.index.len()).unwrap() <= self.records.len());
    }

    /// The ordinals that a scan lost, by what it reports.
    fn reported(&self, scan: &Scan) -> Vec<usize> {
        let ordinal = |offset: u64| usize::try_from(offset - self.key.first.0).unwrap();
        let ranges = scan.damaged.iter();
        ranges
            .flat_map(|at| ordinal(at.offsets.start.0)..ordinal(at.offsets.end.0))
            .collect()
    }

    fn is_told(scan: &Scan, ordinal: u32) -> bool {
        let offset = scan.index.offset(ordinal);
        scan.damaged.iter().any(|at| at.offsets.contains(&offset))
    }

    /// The ordinals of what can be read.
    fn found(scan: &Scan) -> HashSet<usize> {
        let ordinals = (0..scan.index.len())
            .filter(|&at| scan.index.entry(at).is_some() && !Self::is_told(scan, at));
        ordinals.map(|at| usize::try_from(at).unwrap()).collect()
    }
}

fn scratch() -> File {
    tempfile::tempfile().unwrap()
}

#[test]
fn a_whole_segment_is_read_whole() {
    for sealed in [true, false] {
        let (image, file) = (Image::new(9, sealed), scratch());
        let scan = image.scan(&file, &image.bytes, false);
        assert_eq!(Image::found(&scan).len(), image.records.len());
        assert_eq!((scan.sealed, scan.torn_bytes), (sealed, 0));
        assert_eq!(scan.damaged, []);
    }
}

/// The file ends, or holds only zeros, from any byte on.
#[test]
fn every_cut() {
    let (image, file) = (Image::new(9, true), scratch());
    for cut in image.used() {
        let mut zeroed = image.bytes.clone();
        zeroed[cut..].fill(0);
        for bytes in [&image.bytes[..cut], &zeroed] {
            let scan = image.scan(&file, bytes, false);
            assert_eq!(scan.damaged, [], "cut at {cut}");
            let found = Image::found(&scan);
            for (ordinal, (range, commit)) in image.records.iter().enumerate() {
                let whole = image.commits[*commit].end <= cut;
                assert!(
                    !whole || found.contains(&ordinal),
                    "{ordinal}, cut at {cut}"
                );
                assert!(
                    range.end <= cut + ALIGN_BYTES || !found.contains(&ordinal),
                    "{ordinal}, cut at {cut}"
                );
            }
        }
    }
}

/// One flipped bit costs the record it hit, told with its offset and bytes; or, where nothing
/// shows that the last commit was durable, that commit from there on.
#[test]
fn every_flipped_bit() {
    for sealed in [true, false] {
        let (image, file) = (Image::new(9, sealed), scratch());
        for at in image.used() {
            for bit in 0..8 {
                let mut bytes = image.bytes.clone();
                bytes[at] ^= 1 << bit;
                let scan = image.scan(&file, &bytes, false);
                check_flip(&image, &scan, at, sealed);
            }
        }
    }
}

/// Whether a flip at `at` leaves the header of its record as it looks when nobody checks it.
fn leaves_header(range: &Range<usize>, at: usize) -> bool {
    let at = at - range.start;
    at >= HEADER_BYTES || (4..8).contains(&at) || (16..32).contains(&at) || at == 36 || at > 37
}

fn check_flip(image: &Image, scan: &Scan, at: usize, sealed: bool) {
    let found = Image::found(scan);
    let last = image.commits.last().unwrap();
    if image.seal.contains(&at) {
        assert_eq!(found.len(), image.records.len());
        assert!(scan.damaged.is_empty() && !scan.sealed);
        return;
    }
    if last.contains(&at) && !sealed {
        let durable = image
            .records
            .iter()
            .filter(|(range, _)| range.end <= last.start);
        assert!(found.len() >= durable.count() && scan.torn_bytes > 0);
        assert_eq!(scan.damaged, [], "a flip at {at}");
        return;
    }
    let hit = image
        .records
        .iter()
        .position(|(range, _)| range.contains(&at));
    let expected: HashSet<_> = (0..image.records.len())
        .filter(|&n| Some(n) != hit)
        .collect();
    assert_eq!(found, expected, "a flip at {at}");
    assert_eq!(image.reported(scan), hit.into_iter().collect::<Vec<_>>());
    if let Some(hit) = hit.filter(|&hit| leaves_header(&image.records[hit].0, at)) {
        let ordinal = u32::try_from(hit).unwrap();
        let stream = SourceId(ordinal % 3);
        let shown = scan.index.postings_from(stream, ordinal);
        assert_eq!(shown.first(), Some(&ordinal), "a flip at {at}");
    }
    let told = scan
        .damaged
        .iter()
        .any(|range| range.bytes.contains(&to_u64(at)));
    assert!(
        told,
        "a flip at {at} is not where it is said to be: {:?}",
        scan.damaged
    );
}

/// Numbers of commits wrap; a loss of very many must not be taken for a torn tail.
#[test]
fn a_loss_of_more_commits_than_half_of_their_numbers() {
    let key = SegmentKey {
        epoch: 4,
        first: Offset(0),
    };
    let mut image = Image {
        bytes: vec![0; START],
        key,
        records: Vec::new(),
        commits: Vec::new(),
        seal: 0..0,
    };
    let commits = 40_000_usize;
    for commit in 0..commits {
        image.append(0, commit);
        image.close(Kind::Commit, commit, commit);
    }
    let (lost, kept) = (
        image.records[10].0.start,
        image.records[commits - 2].0.start,
    );
    let mut bytes = image.bytes.clone();
    bytes[lost..kept].fill(0);
    let scan = image.scan(&scratch(), &bytes, false);
    assert_eq!(Image::found(&scan).len(), 12);
    assert_eq!(image.reported(&scan), (10..commits - 2).collect::<Vec<_>>());
}

/// A seeded sequence of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % to_u64(below)).unwrap()
    }

    fn range(&mut self, within: Range<usize>, len_max: usize) -> Range<usize> {
        let start = within.start + self.next(within.len());
        start..(start + 1 + self.next(len_max)).min(within.end)
    }
}

/// Power was cut during a commit: its sectors are there in any mixture, over zeros or over what an
/// earlier segment left in the file. What was acknowledged is there, and no damage is told.
#[test]
fn torn_commits_of_ten_thousand_crashes() {
    let (image, file) = (Image::new(9, false), scratch());
    let earlier = Image::new(8, false);
    let mut random = Random(1);
    for crash in 0..10_000 {
        let recycled = crash % 2 == 0;
        let during = random.next(image.commits.len());
        let torn = image.commits[during].clone();
        let mut bytes = if recycled {
            // Its records stand at other places than the new ones.
            [
                &earlier.bytes[..START],
                &earlier.bytes[START + 56..],
                &[0; 56],
            ]
            .concat()
        } else {
            vec![0; image.bytes.len()]
        };
        bytes[..torn.start].copy_from_slice(&image.bytes[..torn.start]);
        for sector in torn.start / 512..torn.end.div_ceil(512) {
            let kept = (sector * 512).max(torn.start)..(sector * 512 + 512).min(torn.end);
            if random.next(2) == 0 {
                bytes[kept.clone()].copy_from_slice(&image.bytes[kept]);
            }
        }
        let scan = image.scan(&file, &bytes, recycled);
        assert_eq!(scan.damaged, [], "crash {crash}");
        let found = Image::found(&scan);
        for (ordinal, (_, commit)) in image.records.iter().enumerate() {
            assert!(
                *commit >= during || found.contains(&ordinal),
                "crash {crash}: {ordinal}"
            );
            assert!(
                *commit <= during || !found.contains(&ordinal),
                "crash {crash}: {ordinal}"
            );
        }
    }
}

/// Anything went bad anywhere: nothing is taken for a record that is none, what is whole and shown
/// to be durable is served, and what was hit is told.
#[test]
fn damage_in_ten_thousand_images() {
    let (image, file) = (Image::new(9, true), scratch());
    let foreign = Image::new(8, true);
    let mut random = Random(2);
    for round in 0..10_000 {
        let mut bytes = image.bytes.clone();
        for _ in 0..=random.next(3) {
            let hit = random.range(image.used(), 300);
            match random.next(4) {
                0 => bytes[hit.start] ^= 1 << random.next(8),
                1 => bytes[hit].fill(0),
                2 => bytes[hit].fill_with(|| u8::try_from(random.next(256)).unwrap()),
                // A misdirected write of another segment.
                _ => bytes[hit.clone()].copy_from_slice(&foreign.bytes[hit]),
            }
        }
        let scan = image.scan(&file, &bytes, false);
        let found = Image::found(&scan);
        let whole = |range: &Range<usize>| bytes[range.clone()] == image.bytes[range.clone()];
        let parts = image.commits.iter().chain([&image.seal]);
        let shown = parts.enumerate().filter(|(_, range)| whole(range)).last();
        let shown = shown.map_or(0, |(commit, _)| commit);
        for (ordinal, (range, commit)) in image.records.iter().enumerate() {
            let expected = whole(range);
            if *commit < shown {
                assert_eq!(
                    found.contains(&ordinal),
                    expected,
                    "round {round}: {ordinal}"
                );
            } else {
                assert!(
                    expected || !found.contains(&ordinal),
                    "round {round}: {ordinal}"
                );
            }
        }
    }
}
