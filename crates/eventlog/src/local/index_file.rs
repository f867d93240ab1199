//! A sealed segment's index on disk: a head that is read at every start, and a body that is read
//! when a lane needs it.
//!
//! ```text
//!  0          8         12       16      24      32         40           48           56        60     64          68       72    92    96
//!  | FAIRIDX1 | version | records | epoch | first | data_end | received_min | received_max | streams | body | streams_crc | body_crc | zero | crc | streams | body |
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{Offset, SourceId};

use crate::local::dir::Dir;
use crate::local::failpoint::{self, Failpoint};
use crate::local::index::{self, SegmentIndex};
use crate::local::segment::FORMAT_VERSION;
use crate::local::varint::Reader;
use crate::record::SegmentKey;

const MAGIC: [u8; 8] = *b"FAIRIDX1";
const HEAD_BYTES: usize = 96;

/// What is known of a sealed segment without reading the body of its index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IndexHead {
    pub key: SegmentKey,
    pub records: u32,
    pub data_end: u64,
    pub received_min: u64,
    pub received_max: u64,
    /// Ascending, with the number of records of each.
    pub streams: Vec<(SourceId, u64)>,
    body: Section,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Section {
    at: u64,
    bytes: u32,
    crc: u32,
}

impl IndexHead {
    pub(crate) fn end(&self) -> Offset {
        Offset(self.key.first.0 + u64::from(self.records))
    }

    /// `None` where the file is no undamaged index of this format.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut head = [0; HEAD_BYTES];
        if !read_whole(file, &mut head, 0)? {
            return Ok(None);
        }
        let u32_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let known = head.starts_with(&MAGIC) && u32_at(8) == FORMAT_VERSION;
        if !known || crc32c::crc32c(&head[..92]) != u32_at(92) {
            return Ok(None);
        }
        let streams_at = u64::try_from(HEAD_BYTES).expect("96");
        let streams = Section {
            at: streams_at,
            bytes: u32_at(56),
            crc: u32_at(64),
        };
        let body_at = streams_at + u64::from(streams.bytes);
        let body = Section {
            at: body_at,
            bytes: u32_at(60),
            crc: u32_at(68),
        };
        let Some(streams) = streams.read(file)? else {
            return Ok(None);
        };
        let Some(streams) = index::decode_counts(&mut Reader(&streams)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            key: SegmentKey {
                epoch: u64_at(16),
                first: Offset(u64_at(24)),
            },
            records: u32_at(12),
            data_end: u64_at(32),
            received_min: u64_at(40),
            received_max: u64_at(48),
            streams,
            body,
        }))
    }

    /// The index itself; `None` where the body is damaged.
    pub(crate) fn read_body(
        &self,
        file: &File,
        with_hashes: bool,
    ) -> io::Result<Option<SegmentIndex>> {
        let Some(body) = self.body.read(file)? else {
            return Ok(None);
        };
        let mut index = SegmentIndex::new(self.key, self.data_end, [].into());
        (index.received_min, index.received_max) = (self.received_min, self.received_max);
        Ok(index.decode_body(&body, self.records, &self.streams, with_hashes))
    }
}

impl Section {
    fn read(self, file: &File) -> io::Result<Option<Vec<u8>>> {
        let end = self.at + u64::from(self.bytes);
        // A damaged length must not make us allocate what the file cannot hold.
        if file.metadata()?.len() < end {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(0)];
        let whole = read_whole(file, &mut bytes, self.at)?;
        Ok((whole && crc32c::crc32c(&bytes) == self.crc).then_some(bytes))
    }
}

/// Reads an index file whole. `None` where it is missing, damaged, or another segment's.
pub(crate) fn load(
    dir: &Dir,
    path: &Path,
    key: SegmentKey,
    with_hashes: bool,
) -> io::Result<Option<SegmentIndex>> {
    let file = match dir.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match IndexHead::read(&file)? {
        Some(head) if head.key == key => head.read_body(&file, with_hashes),
        _ => Ok(None),
    }
}

/// Writes the index file of a sealed segment, durable on return. The index has its hashes.
pub(crate) fn write(dir: &Dir, index: &SegmentIndex) -> io::Result<()> {
    let path = dir.index_path(index.key.first);
    let unfinished = path.with_extension("idx.tmp");
    let written = dir.create(&unfinished).and_then(|file| {
        failpoint::hit(Failpoint::IndexWrite)?;
        file.write_all_at(&encode(index), 0)?;
        file.sync_all()?;
        failpoint::hit(Failpoint::IndexRename)?;
        std::fs::rename(&unfinished, &path)?;
        dir.sync()
    });
    written.inspect_err(|_| {
        // What is half written would only take space; where it is gone already, all the better.
        let _ = std::fs::remove_file(&unfinished);
    })
}

fn encode(index: &SegmentIndex) -> Vec<u8> {
    let mut streams = Vec::new();
    index::encode_counts(&index.streams(), &mut streams);
    let mut body = Vec::new();
    index.encode_body(&mut body);
    let bytes_of = |section: &[u8]| u32::try_from(section.len()).expect("records are bounded");

    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&index.len().to_le_bytes());
    head[16..24].copy_from_slice(&index.key.epoch.to_le_bytes());
    head[24..32].copy_from_slice(&index.key.first.0.to_le_bytes());
    head[32..40].copy_from_slice(&index.data_end.to_le_bytes());
    head[40..48].copy_from_slice(&index.received_min.to_le_bytes());
    head[48..56].copy_from_slice(&index.received_max.to_le_bytes());
    head[56..60].copy_from_slice(&bytes_of(&streams).to_le_bytes());
    head[60..64].copy_from_slice(&bytes_of(&body).to_le_bytes());
    head[64..68].copy_from_slice(&crc32c::crc32c(&streams).to_le_bytes());
    head[68..72].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    let crc = crc32c::crc32c(&head[..92]);
    head[92..].copy_from_slice(&crc.to_le_bytes());
    [&head[..], &streams, &body].concat()
}

fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
