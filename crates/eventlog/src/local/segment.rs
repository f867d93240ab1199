//! A segment file: two copies of its header, then records.
//!
//! ```text
//!  0        8         12     16      24      32      40         44    60    64
//!  | FAIRSEG1 | version | zero | epoch | first | bytes | recycled | zero | crc |
//! ```
//!
//! The second copy stands at 4096: one lost page must not make a whole segment unreadable, since
//! without its epoch none of its checksums can be proven.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Offset;
use rustix::io::Errno;

use crate::local::dir::Dir;
use crate::local::failpoint::{self, Failpoint};
use crate::record::SegmentKey;

/// Where the first record begins.
pub(crate) const DATA_START: u64 = 8192;
/// Version of the format of segments and indexes.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"FAIRSEG1";
const HEADER_BYTES: usize = 64;
const COPY_AT: u64 = 4096;
/// Zeros are written in pieces of this size, each made durable before the next, so that a commit
/// never waits behind a whole segment of them.
const FILL_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub key: SegmentKey,
    /// Size of the file when it was made.
    pub bytes: u64,
    /// Behind the records there may be an earlier segment's bytes instead of zeros.
    pub recycled: bool,
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderFound {
    Good(SegmentHeader),
    Newer { version: u32 },
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn read(file: &File) -> io::Result<HeaderFound> {
        let mut found = HeaderFound::Damaged;
        for at in [0, COPY_AT] {
            let mut bytes = [0; HEADER_BYTES];
            match file.read_exact_at(&mut bytes, at) {
                Ok(()) => found = Self::decode(&bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
            if found != HeaderFound::Damaged {
                break;
            }
        }
        Ok(found)
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> HeaderFound {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if !bytes.starts_with(&MAGIC) || crc32c::crc32c(&bytes[..60]) != u32_at(60) {
            return HeaderFound::Damaged;
        }
        if u32_at(8) > FORMAT_VERSION {
            return HeaderFound::Newer { version: u32_at(8) };
        }
        HeaderFound::Good(Self {
            key: SegmentKey {
                epoch: u64_at(16),
                first: Offset(u64_at(24)),
            },
            bytes: u64_at(32),
            recycled: u32_at(40) == 1,
        })
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.key.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.key.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&u32::from(self.recycled).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Not durable on return.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        failpoint::hit(Failpoint::SegmentHeader)?;
        let bytes = self.encode();
        file.write_all_at(&bytes, 0)?;
        file.write_all_at(&bytes, COPY_AT)
    }
}

/// A file that is ready to become a segment: its blocks are allocated and written, so that a
/// commit into it changes no metadata and cannot meet a full disk.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub path: PathBuf,
    pub file: Arc<File>,
    pub bytes: u64,
    pub recycled: bool,
}

impl Spare {
    /// Makes one of `bytes` bytes of zeros, durable on return.
    ///
    /// # Errors
    /// Nothing is left behind; a full disk shows before anything is written.
    pub(crate) fn create(dir: &Dir, number: u64, bytes: u64) -> io::Result<Self> {
        let path = dir.spare_path(number);
        let unfinished = path.with_extension("spare.tmp");
        let made = fill(dir, &unfinished, bytes).and_then(|file| {
            failpoint::hit(Failpoint::SpareRename)?;
            std::fs::rename(&unfinished, &path)?;
            dir.sync()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self {
                path,
                file: Arc::new(file),
                bytes,
                recycled: false,
            }),
            Err(error) => {
                // A file half made would hold the very space that is lacking.
                let _ = std::fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    /// Writes the header that makes it the segment `key`; not durable on return.
    pub(crate) fn begin(&self, key: SegmentKey) -> io::Result<()> {
        SegmentHeader {
            key,
            bytes: self.bytes,
            recycled: self.recycled,
        }
        .write(&self.file)
    }

    /// Gives it its segment's name. What was written before, and the name, are durable on return.
    pub(crate) fn enter(&self, dir: &Dir, first: Offset) -> io::Result<PathBuf> {
        // Its blocks and its size are durable since it was made: only bytes have changed.
        self.file.sync_data()?;
        failpoint::hit(Failpoint::SegmentRename)?;
        let path = dir.segment_path(first);
        std::fs::rename(&self.path, &path)?;
        failpoint::hit(Failpoint::SegmentRenameAfter)?;
        dir.sync()?;
        Ok(path)
    }
}

fn fill(dir: &Dir, path: &Path, bytes: u64) -> io::Result<File> {
    let file = dir.create(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // Not every file system can; writing zeros does it as well, only a full disk shows later.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    failpoint::hit(Failpoint::SpareFill)?;
    let zeros = vec![0; FILL_BYTES];
    let mut at = 0;
    while at < bytes {
        let left = usize::try_from(bytes - at)
            .unwrap_or(FILL_BYTES)
            .min(FILL_BYTES);
        file.write_all_at(zeros.get(..left).unwrap_or(&zeros), at)?;
        file.sync_data()?;
        at += u64::try_from(left).unwrap_or(u64::MAX);
    }
    file.sync_all()?;
    Ok(file)
}
