//! The log on this machine's own disk: segments in one directory.
//!
//! ```text
//!   append --> queue --> writer ----> active segment, index, tail
//!                          |  ^
//!              sealed ones v  | spares
//!                       housekeeper ----> index files
//!
//!   read, offsets --> reader --> tail | files of segments
//! ```

mod dir;
pub mod failpoint;
mod housekeeper;
mod index;
mod index_file;
mod queue;
mod reader;
mod rebuild;
mod recovery;
mod retention;
mod scan;
mod sealed;
mod segment;
mod shared;
mod tail;
mod varint;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use model::{Offset, SourceId, UnixMillis};

use crate::batch::AppendBatch;
use crate::error::{AppendError, Error};
use crate::growth::{Growth, GrowthReceiver};
use crate::guard::lock;
use crate::options::Options;
use crate::record::{HEADER_BYTES, Record};
use crate::report::{RecoveryReport, Stats, Trimmed};
use crate::{Appended, RecordRef};
use dir::Dir;
use housekeeper::Desk;
use queue::Queue;
use reader::Wait;
use recovery::Recovered;
use retention::SteadyClock;
use sealed::{FileCache, IndexCache};
use shared::{Counters, Damage, Shared, View};
use writer::Writer;

/// A handle; clones share one log. When the last one goes, the log is closed.
#[derive(Clone, Debug)]
pub struct LocalLog {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
}

impl LocalLog {
    /// See [`crate::EventLog::open`].
    pub(crate) fn open(options: Options, now: UnixMillis) -> Result<(Self, RecoveryReport), Error> {
        options.check()?;
        let dir = Dir::open(&options.dir, options.reserved_fds)?;
        let recovered = recovery::recover(&dir, &options, now)?;
        let report = recovered.report.clone();
        tracing::info!(
            clean = report.clean, records = report.records, end = %recovered.target.end(),
            torn_bytes = report.torn_bytes, relogged = report.relogged_records,
            quarantined = report.quarantined.len(), "event log opened"
        );
        let log = Self::start(options, dir, recovered, now)?;
        Ok((log, report))
    }

    fn start(
        options: Options,
        dir: Dir,
        recovered: Recovered,
        now: UnixMillis,
    ) -> Result<Self, Error> {
        let Recovered {
            sealed,
            active,
            target,
            totals,
            spares,
            spare_number_next,
            ..
        } = recovered;
        let mut damage = Damage {
            torn_bytes: recovered.report.torn_bytes,
            relogged_records: recovered.report.relogged_records,
            ..Damage::default()
        };
        recovered.report.quarantined.into_iter().for_each(|range| {
            damage.note(range);
        });
        let newest = sealed.iter().map(|segment| segment.received_max);
        let newest = newest.chain([active.index.received_max]).max();
        let received_last = newest.filter(|&at| at > 0).map(UnixMillis);
        let shared = Arc::new(Shared {
            queue: Queue::new(options.commit_queue_bytes_max),
            desk: Desk::new(spares, spare_number_next, options.reserved_segments),
            growth: Growth::default(),
            indexes: IndexCache::new(options.index_cache_bytes_max),
            files: FileCache::new(options.read_fds_max),
            counters: Counters::default(),
            end: AtomicU64::new(target.end().0),
            totals: Mutex::new(totals),
            damage: Mutex::new(damage),
            epoch_next: AtomicU64::new(recovered.epoch_next),
            trim: Mutex::new(SteadyClock::new(now, received_last)),
            settled: AtomicU64::new(0),
            view: RwLock::new(View {
                sealed: Arc::new(sealed),
                active,
            }),
            dir,
            options,
        });
        let path = shared.options.dir.clone();
        let housekeeper = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("log-housekeeper".to_owned());
            thread.spawn(move || housekeeper::run(&shared))
        };
        let housekeeper = housekeeper.map_err(Error::io("start a thread for", &path))?;
        let writer = {
            let writer = Writer::new(Arc::clone(&shared), target);
            std::thread::Builder::new()
                .name("log-writer".to_owned())
                .spawn(move || writer.run())
        };
        let writer = writer.map_err(Error::io("start a thread for", &path))?;
        let threads = Mutex::new(Some(Threads {
            writer,
            housekeeper,
        }));
        Ok(Self {
            running: Arc::new(Running { shared, threads }),
        })
    }

    fn shared(&self) -> &Shared {
        &self.running.shared
    }

    pub(crate) async fn append(&self, batch: AppendBatch) -> Result<Appended, AppendError> {
        let bytes = queue::bytes_of(&batch);
        let seal = u64::try_from(HEADER_BYTES).unwrap_or(0);
        let bytes_max = writer::capacity(self.shared().options.segment_bytes_max) - seal;
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let answer = self.shared().queue.push(batch).inspect_err(|error| {
            if matches!(error, AppendError::Overloaded { .. }) {
                self.shared()
                    .counters
                    .refused_overloaded
                    .fetch_add(1, Ordering::Relaxed);
            }
        })?;
        // The writer drops what it cannot answer only when it has failed.
        answer.await.unwrap_or(Err(AppendError::Failed))
    }

    pub(crate) fn grew(&self) -> GrowthReceiver {
        self.shared().growth.subscribe()
    }

    pub(crate) fn end(&self) -> Offset {
        self.shared().end()
    }

    pub(crate) fn first(&self) -> Offset {
        self.shared().first()
    }

    pub(crate) fn offsets(
        &self,
        stream: SourceId,
        from: Offset,
        max: usize,
        out: &mut Vec<RecordRef>,
    ) -> Result<Offset, Error> {
        self.shared().offsets(stream, from, max, out)
    }

    pub(crate) fn try_read(&self, offset: Offset) -> Result<Option<Record>, Error> {
        self.shared().read(offset, Wait::Never)
    }

    pub(crate) fn read(&self, offset: Offset) -> Result<Record, Error> {
        let record = self.shared().read(offset, Wait::Disk)?;
        Ok(record.expect("a read that may wait for the disk ends with a record or an error"))
    }

    pub(crate) fn stream_count(&self, stream: SourceId) -> u64 {
        lock(&self.shared().totals)
            .get(&stream)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn stream_counts(&self) -> HashMap<SourceId, u64> {
        lock(&self.shared().totals).clone()
    }

    pub(crate) fn stream_count_before(
        &self,
        stream: SourceId,
        offset: Offset,
    ) -> Result<u64, Error> {
        self.shared().stream_count_before(stream, offset)
    }

    pub(crate) fn offset_at(&self, time: UnixMillis) -> Offset {
        self.shared().offset_at(time)
    }

    pub(crate) fn messages_since(
        &self,
        time: UnixMillis,
        f: &mut dyn FnMut(SourceId, u64, UnixMillis),
    ) -> Result<(), Error> {
        self.shared().messages_since(time, f)
    }

    pub(crate) fn settle(&self, settled: Offset) {
        let known = &self.shared().settled;
        known.store(settled.0, Ordering::Relaxed);
    }

    pub(crate) fn trim(&self, settled: Offset, now: UnixMillis) -> Result<Trimmed, Error> {
        retention::trim(self.shared(), settled, now)
    }

    pub(crate) fn commit_us(&self) -> u64 {
        let last = &self.shared().counters.fsync_us_last;
        last.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.shared().stats()
    }

    pub(crate) fn close(&self) {
        self.running.close();
    }
}

impl Running {
    fn close(&self) {
        self.shared.queue.close();
        let Some(Threads {
            writer,
            housekeeper,
        }) = lock(&self.threads).take()
        else {
            return;
        };
        let writer = writer.join();
        self.shared.desk.stop();
        if writer.is_err() || housekeeper.join().is_err() {
            tracing::error!("a thread of the event log panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}
