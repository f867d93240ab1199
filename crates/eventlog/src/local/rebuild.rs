//! An index made again from its segment, where the index file is missing or damaged.

use std::path::Path;

use model::Offset;

use crate::error::Error;
use crate::local::dir::{Dir, FileKind};
use crate::local::index::{Totals, sorted_totals};
use crate::local::index_file::{self, IndexHead};
use crate::local::scan::{self, Scan};
use crate::local::segment::{HeaderFound, SegmentHeader};
use crate::record::SegmentKey;

/// Scans the sealed segment `key` and writes its index. Only records below `end` count: those
/// behind it were written again in the next segment.
pub(crate) fn index(dir: &Dir, path: &Path, key: SegmentKey, end: Offset) -> Result<Scan, Error> {
    let file = dir.open_read(path).map_err(Error::io("open", path))?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    // Only the count of torn bytes depends on this, and a sealed segment has none.
    let header = SegmentHeader {
        key,
        bytes,
        recycled: true,
    };
    let totals = totals_before(dir, key.first)?;
    let mut scan = scan::scan(&file, header, totals).map_err(Error::io("read", path))?;
    cut(&mut scan, end);
    // Without its file the index is only built again next time.
    if let Err(error) = index_file::write(dir, &scan.index) {
        tracing::warn!(%error, segment = %key.first, "cannot write an index");
    }
    Ok(scan)
}

/// Forgets what a scan found at or above `end`.
pub(crate) fn cut(scan: &mut Scan, end: Offset) {
    let len = end.0.saturating_sub(scan.index.key.first.0);
    if let Ok(len) = u32::try_from(len)
        && len < scan.index.len()
    {
        let at = scan
            .index
            .entry(len)
            .map(|entry| u64::from(entry.position.0));
        scan.index.truncate(len);
        scan.index.data_end = at.unwrap_or(scan.index.data_end);
    }
    scan.damaged
        .retain(|range| range.offsets.start < end || range.offsets.is_empty());
    for range in &mut scan.damaged {
        range.offsets.end = range.offsets.end.min(end.max(range.offsets.start));
    }
}

/// The records that each stream had before offset `first`, by the nearest index in front of it,
/// which is rebuilt if it is damaged. Nothing where there is none: counts then begin anew, and no
/// record is affected.
pub(crate) fn totals_before(dir: &Dir, first: Offset) -> Result<Totals, Error> {
    let before = dir
        .list()?
        .into_iter()
        .filter_map(|(kind, path)| match kind {
            FileKind::Index(at) | FileKind::Trimmed(at) => (at < first).then_some((at, path)),
            _ => None,
        });
    let Some((at, path)) = before.max() else {
        return Ok([].into());
    };
    let file = dir.open_read(&path).map_err(Error::io("open", &path))?;
    let head = IndexHead::read(&file).map_err(Error::io("read", &path))?;
    let index = match head {
        Some(head) => head
            .read_body(&file, false)
            .map_err(Error::io("read", &path))?,
        None => None,
    };
    if let Some(index) = index {
        return Ok(sorted_totals(&index.totals_after()));
    }
    let segment = dir.segment_path(at);
    let Ok(file) = dir.open_read(&segment) else {
        return Ok([].into());
    };
    match SegmentHeader::read(&file).map_err(Error::io("read", &segment))? {
        HeaderFound::Good(header) => {
            let rebuilt = self::index(dir, &segment, header.key, first)?;
            Ok(sorted_totals(&rebuilt.index.totals_after()))
        }
        HeaderFound::Newer { .. } | HeaderFound::Damaged => Ok([].into()),
    }
}
