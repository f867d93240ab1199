//! What the tests share: a small log, records that tell what they are, and ways to look at files.

use std::future::Future;
use std::path::{Path, PathBuf};

use eventlog::{AppendBatch, Appended, EventLog, Opened, Options, Record, RecordFlags};
use model::{Offset, SourceId, UnixMillis};

pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Where the first record of a segment begins.
pub const DATA_START: u64 = 8192;
/// What a commit record takes.
pub const COMMIT_BYTES: u64 = 40;

/// Small segments, and no seal while a test is at work.
pub fn options(dir: &Path) -> Options {
    Options {
        segment_bytes_max: 512 << 10,
        idle_seal_ms: 3_600_000,
        // There is nothing but the log on a test's disk.
        free_bytes_min: 0,
        ..Options::new(dir.to_owned())
    }
}

pub fn open(options: Options) -> Opened {
    EventLog::open(options, NOW).expect("a log that opens")
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// The `n`th record of a test: all its fields follow from `n`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub n: u64,
    pub bytes: usize,
}

impl Sample {
    pub fn stream(self) -> SourceId {
        SourceId(u32::try_from(self.n % 3).unwrap() + 7)
    }

    pub fn received_at(self) -> UnixMillis {
        UnixMillis(NOW.0 + self.n * 10)
    }

    pub fn message_hash(self) -> u64 {
        self.n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    pub fn flags(self) -> RecordFlags {
        RecordFlags(u8::from(self.n.is_multiple_of(2)))
    }

    pub fn payload(self) -> Vec<u8> {
        let text = format!("{{\"n\":{},\"filler\":\"", self.n);
        let mut seed = self.n | 1;
        let filler = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + u8::try_from(seed >> 60).unwrap()
        });
        text.bytes()
            .chain(filler)
            .take(self.bytes.max(text.len()))
            .collect()
    }

    pub fn push(self, batch: &mut AppendBatch) {
        batch.push(
            self.stream(),
            self.received_at(),
            self.message_hash(),
            self.flags(),
            &self.payload(),
        );
    }

    pub fn check(self, record: &Record) {
        assert_eq!(record.stream, self.stream());
        assert_eq!(record.received_at, self.received_at());
        assert_eq!(record.message_hash, self.message_hash());
        assert_eq!(record.flags, self.flags());
        assert!(
            record.payload == self.payload(),
            "record {} has another payload",
            self.n
        );
    }
}

pub fn batch_of(samples: &[Sample]) -> AppendBatch {
    let mut batch = AppendBatch::new();
    samples.iter().for_each(|sample| sample.push(&mut batch));
    batch
}

/// `count` samples of `bytes` bytes from number `from` on.
pub fn samples(from: u64, count: u64, bytes: usize) -> Vec<Sample> {
    (from..from + count).map(|n| Sample { n, bytes }).collect()
}

/// Appends one batch; record numbers and offsets are alike in a test that only uses this.
pub fn append(log: &EventLog, samples: &[Sample]) -> Appended {
    run(log.append(batch_of(samples))).expect("an append that succeeds")
}

/// Reads every record from `from` to the end and checks it against the samples.
pub fn check_all(log: &EventLog, from: u64, expected: &[Sample]) {
    for sample in expected.iter().filter(|sample| sample.n >= from) {
        let record = log.read(Offset(sample.n));
        sample.check(&record.unwrap_or_else(|error| panic!("record {}: {error}", sample.n)));
    }
}

/// What a crash leaves, if the log in `from` is open. `to` may be a directory in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let unfinished = entry.path().extension().is_some_and(|found| found == "tmp");
        if entry.path() != to && !unfinished {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files with this extension, by name.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Waits until `done`: what a background thread does has no moment of its own.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(
            began.elapsed().as_secs() < 60,
            "waited a minute until {what}"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
