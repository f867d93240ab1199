//! Logs the tail again after an unclean end.
//!
//! After a failed `fdatasync` the page cache may show records that the disk does not have, and
//! nobody can ask which. So whatever no seal and no later commit vouches for is copied into a new
//! segment that is made durable before anything is served:
//!
//! ```text
//!   old  [ vouched for | tail | torn ]        new  [ tail | seal ] ... appends go on here
//!                      ^ cut here, once the new one is durable
//! ```
//!
//! A crash in between leaves both; then the new one's first offset says where the old one ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::local::failpoint::{self, Failpoint};
use crate::local::index::{SegmentIndex, sorted_totals};
use crate::local::index_file;
use crate::local::recovery::Recovery;
use crate::local::recovery::inventory::Found;
use crate::local::scan::Scan;
use crate::local::sealed::Sealed;
use crate::local::segment::{DATA_START, Spare};
use crate::local::shared::Active;
use crate::local::writer::Target;
use crate::record::{self, HEADER_BYTES, Kind};
use model::Position;

/// Bytes copied with one write.
const COPY_BYTES: usize = 1 << 20;
/// Number of the copied records' commit in the new segment, and of the seal behind them.
const COPY_BATCH: u16 = 1;
const SEAL_BATCH: u16 = 2;

/// Moves the tail of the segment `found` into a new one, which becomes the active one.
pub(super) fn relog(
    recovery: &mut Recovery<'_>,
    found: &Found,
    file: &File,
    scan: Scan,
) -> Result<(Active, Target), Error> {
    let from = scan.synced_through;
    let len = scan.index.len();
    let kept = scan.index.ordinal(from).unwrap_or(len);
    let tail_damaged = scan.damaged.iter().any(|range| range.offsets.end > from);
    let cut_at = match scan.index.entry(kept) {
        Some(entry) => Some(u64::from(entry.position.0)),
        None => (kept == len).then_some(scan.index.data_end),
    };

    let spare = recovery.spare(tail_bytes(&scan.index, kept))?;
    let key = recovery.next_key(from);
    let mut old = scan.index.clone();
    old.truncate(kept);
    let totals = sorted_totals(&old.totals_after());
    let mut new = SegmentIndex::new(key, DATA_START, totals);
    spare.begin(key).map_err(Error::io("begin", &spare.path))?;
    copy(file, &scan.index, kept, &spare, &mut new).map_err(Error::io("write", &spare.path))?;
    recovery.report.relogged_records = new.present();

    if kept == 0 && tail_damaged {
        // The new segment takes the old one's name: what is damaged stays for whoever looks.
        let aside = found
            .path
            .with_extension(format!("{}.quarantined", found.key.epoch));
        let linked = std::fs::hard_link(&found.path, &aside);
        linked.map_err(Error::io("put aside", &found.path))?;
    }
    let entered = failpoint::hit(Failpoint::RelogSync)
        .and_then(|()| failpoint::hit(Failpoint::RelogRename))
        .and_then(|()| spare.enter(recovery.dir, from))
        .and_then(|path| failpoint::hit(Failpoint::RelogCut).map(|()| path));
    let path = entered.map_err(Error::io("begin a segment in", recovery.dir.path()))?;

    if kept > 0 {
        let mut bytes = found.bytes;
        if let Some(cut_at) = cut_at.filter(|_| !tail_damaged) {
            let cut = file.set_len(cut_at).and_then(|()| file.sync_all());
            cut.map_err(Error::io("cut", &found.path))?;
            (bytes, old.data_end) = (cut_at, cut_at);
        }
        let written = index_file::write(recovery.dir, &old);
        written.map_err(Error::io("write an index in", recovery.dir.path()))?;
        let sealed = Sealed::of_index(&old, found.path.clone(), bytes, true);
        recovery.sealed.push(std::sync::Arc::new(sealed));
    }
    recovery.expected = new.end();
    Ok(recovery.begun(&spare, path, new, SEAL_BATCH))
}

fn tail_bytes(index: &SegmentIndex, kept: u32) -> u64 {
    let entries = (kept..index.len()).filter_map(|ordinal| index.entry(ordinal));
    let stored = entries.map(|entry| {
        record::stored_bytes(usize::try_from(entry.length).expect("checked by the scan"))
    });
    u64::try_from(stored.sum::<usize>() + HEADER_BYTES).unwrap_or(u64::MAX)
}

/// Copies the records from ordinal `kept` on, and seals behind them. Not durable on return.
fn copy(
    file: &File,
    old: &SegmentIndex,
    kept: u32,
    spare: &Spare,
    new: &mut SegmentIndex,
) -> io::Result<()> {
    let (old_mark, mark) = (old.key.mark(), new.key.mark());
    let mut buffer = Vec::new();
    for ordinal in kept..old.len() {
        let to = ordinal - kept;
        let Some(entry) = old.entry(ordinal) else {
            new.push_lost(to + 1);
            continue;
        };
        let at = buffer.len();
        let length = usize::try_from(entry.length).expect("checked by the scan");
        buffer.resize(at + record::stored_bytes(length), 0);
        let slot = buffer.get_mut(at..).unwrap_or_default();
        file.read_exact_at(slot, u64::from(entry.position.0))?;
        // Proven once more: a record must not get a new checksum over bytes that went bad since.
        let good = record::decode(old_mark, slot).is_ok();
        match record::place(mark, to, COPY_BATCH, slot).filter(|_| good) {
            Some((header, _)) => {
                let position = new.data_end + u64::try_from(at).expect("at most a segment");
                let position = u32::try_from(position).expect("a segment is at most 1 GiB");
                new.push(&header, Position(position));
            }
            None => {
                buffer.truncate(at);
                new.push_lost(to + 1);
            }
        }
        if buffer.len() >= COPY_BYTES {
            flush(spare, new, &mut buffer)?;
        }
    }
    record::write_closing(
        mark,
        Kind::Seal,
        new.len(),
        SEAL_BATCH,
        new.end(),
        &mut buffer,
    );
    flush(spare, new, &mut buffer)
}

fn flush(spare: &Spare, new: &mut SegmentIndex, buffer: &mut Vec<u8>) -> io::Result<()> {
    spare.file.write_all_at(buffer, new.data_end)?;
    new.data_end += u64::try_from(buffer.len()).expect("at most a segment");
    buffer.clear();
    Ok(())
}
