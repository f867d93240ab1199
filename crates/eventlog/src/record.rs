//! One record of the log, and its bytes on disk.
//!
//! ```text
//!  0       4       8         12       16            24             32       36      37     38      40
//!  | mark  | crc   | ordinal | length | received_at | message_hash | stream | flags | kind | batch | payload | zeros to 8 |
//!  | u32   | u32   | u32     | u32    | u64         | u64          | u32    | u8    | u8   | u16   | length  |            |
//! ```
//!
//! All numbers are little-endian. `mark` is the CRC32C of the segment's epoch and first offset, and
//! the CRC goes on from it: so a record proves to which segment and to which offset it belongs, and
//! bytes that an earlier use of the file left behind never pass.
//! `docs/internals/log-format.md` tells the whole.

use bytes::Bytes;
use model::limits::RECORD_BYTES_MAX;
use model::{Offset, SourceId, UnixMillis};

/// Bytes in front of a payload.
pub const HEADER_BYTES: usize = 40;
/// Every record begins at a multiple of this.
pub const ALIGN_BYTES: usize = 8;

/// One event as it was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub offset: Offset,
    pub stream: SourceId,
    pub received_at: UnixMillis,
    pub message_hash: u64,
    pub flags: RecordFlags,
    pub payload: Bytes,
}

/// What a reader wants to know of an event without parsing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordFlags(pub u8);

impl RecordFlags {
    pub const NONE: Self = Self(0);
    /// The event carries an `integrations` object that is not empty.
    pub const HAS_INTEGRATIONS: Self = Self(1);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a record is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An event: takes an offset.
    Event,
    /// Ends a group commit: `message_hash` holds the offset known durable when it was built, and
    /// `ordinal` that of the next event.
    Commit,
    /// Like a commit, but written when all before it was durable and nothing was waiting.
    Seal,
}

impl Kind {
    const fn to_u8(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Commit => 2,
            Self::Seal => 3,
        }
    }

    const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Event),
            2 => Some(Self::Commit),
            3 => Some(Self::Seal),
            _ => None,
        }
    }
}

/// Which segment a record belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentKey {
    /// Never used twice in a log, also when a file is.
    pub epoch: u64,
    pub first: Offset,
}

impl SegmentKey {
    /// The first four bytes of each of its records, and the seed of their checksums.
    #[must_use]
    pub fn mark(self) -> Mark {
        let crc = crc32c::crc32c(&self.epoch.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &self.first.0.to_le_bytes());
        // Zeros are what an unused segment is full of: they must not look like a mark.
        Mark(if crc == 0 { 1 } else { crc })
    }
}

/// See [`SegmentKey::mark`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(pub u32);

/// A record's header, read and proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Offset less the segment's first.
    pub ordinal: u32,
    /// Bytes of payload.
    pub length: u32,
    pub received_at: UnixMillis,
    pub message_hash: u64,
    pub stream: SourceId,
    pub flags: RecordFlags,
    pub kind: Kind,
    /// Number of the group commit within the segment, from 1, wrapping.
    pub batch: u16,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotARecord {
    #[error("{have} bytes are too few for a record of {need}")]
    Short { have: usize, need: usize },
    #[error("the mark is another segment's")]
    Mark,
    #[error("a payload of {0} bytes is longer than any")]
    Length(u32),
    #[error("there is no kind {0}")]
    Kind(u8),
    #[error("the checksum differs")]
    Checksum,
    #[error("the padding is not zero")]
    Padding,
}

/// Bytes that a payload of `length` takes on disk, header and padding included.
#[must_use]
pub const fn stored_bytes(length: usize) -> usize {
    (HEADER_BYTES + length).next_multiple_of(ALIGN_BYTES)
}

/// Reads the record at the start of `bytes`, which may end with its payload (then the padding is
/// not looked at). The payload is `bytes[HEADER_BYTES..][..length]`.
///
/// # Errors
/// Says what is wrong; none of the fields can be trusted then.
pub fn decode(mark: Mark, bytes: &[u8]) -> Result<Header, NotARecord> {
    let short = |need| NotARecord::Short {
        have: bytes.len(),
        need,
    };
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short(HEADER_BYTES))?;
    if u32_at(head, 0) != mark.0 {
        return Err(NotARecord::Mark);
    }
    let length = u32_at(head, 12);
    let payload_bytes = usize::try_from(length).map_err(|_| NotARecord::Length(length))?;
    if payload_bytes > RECORD_BYTES_MAX {
        return Err(NotARecord::Length(length));
    }
    let used = HEADER_BYTES + payload_bytes;
    let covered = bytes.get(8..used).ok_or(short(used))?;
    if crc32c::crc32c_append(mark.0, covered) != u32_at(head, 4) {
        return Err(NotARecord::Checksum);
    }
    let padding = bytes
        .get(used..stored_bytes(payload_bytes).min(bytes.len()))
        .unwrap_or(&[]);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(NotARecord::Padding);
    }
    Ok(Header {
        kind: Kind::from_u8(head[37]).ok_or(NotARecord::Kind(head[37]))?,
        ..fields(head)
    })
}

/// The fields of a header that is known to be good because this process wrote it.
pub(crate) fn fields(head: &[u8; HEADER_BYTES]) -> Header {
    Header {
        ordinal: u32_at(head, 8),
        length: u32_at(head, 12),
        received_at: UnixMillis(u64_at(head, 16)),
        message_hash: u64_at(head, 24),
        stream: SourceId(u32_at(head, 32)),
        flags: RecordFlags(head[36]),
        kind: Kind::from_u8(head[37]).unwrap_or(Kind::Event),
        batch: u16::from_le_bytes([head[38], head[39]]),
    }
}

/// Appends a record to `out` as far as it is known before the log has placed it.
pub(crate) fn draft(header: &Header, payload: &[u8], out: &mut Vec<u8>) {
    let mut head = [0_u8; HEADER_BYTES];
    head[8..12].copy_from_slice(&header.ordinal.to_le_bytes());
    head[12..16].copy_from_slice(&header.length.to_le_bytes());
    head[16..24].copy_from_slice(&header.received_at.0.to_le_bytes());
    head[24..32].copy_from_slice(&header.message_hash.to_le_bytes());
    head[32..36].copy_from_slice(&header.stream.0.to_le_bytes());
    head[36] = header.flags.0;
    head[37] = header.kind.to_u8();
    head[38..40].copy_from_slice(&header.batch.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(ALIGN_BYTES), 0);
}

/// Completes the draft at the start of `bytes` with its place, and returns its header and the
/// bytes it takes. `None` where `bytes` hold no whole draft.
pub(crate) fn place(
    mark: Mark,
    ordinal: u32,
    batch: u16,
    bytes: &mut [u8],
) -> Option<(Header, usize)> {
    let head: &mut [u8; HEADER_BYTES] = bytes.first_chunk_mut()?;
    head[0..4].copy_from_slice(&mark.0.to_le_bytes());
    head[8..12].copy_from_slice(&ordinal.to_le_bytes());
    head[38..40].copy_from_slice(&batch.to_le_bytes());
    let header = fields(head);
    let length = usize::try_from(header.length).ok()?;
    let crc = crc32c::crc32c_append(mark.0, bytes.get(8..HEADER_BYTES + length)?);
    bytes.get_mut(4..8)?.copy_from_slice(&crc.to_le_bytes());
    Some((header, stored_bytes(length)))
}

/// Appends a whole commit or seal record to `out`.
pub(crate) fn write_closing(
    mark: Mark,
    kind: Kind,
    next_ordinal: u32,
    batch: u16,
    synced_through: Offset,
    out: &mut Vec<u8>,
) {
    let at = out.len();
    let header = Header {
        ordinal: next_ordinal,
        length: 0,
        received_at: UnixMillis(0),
        message_hash: synced_through.0,
        stream: SourceId(0),
        flags: RecordFlags::NONE,
        kind,
        batch,
    };
    draft(&header, &[], out);
    let placed = out
        .get_mut(at..)
        .and_then(|bytes| place(mark, next_ordinal, batch, bytes));
    debug_assert!(placed.is_some(), "a draft was just written there");
}

fn u32_at(head: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

#[cfg(test)]
mod tests;
