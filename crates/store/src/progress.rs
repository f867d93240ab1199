//! The bytes in which a lane's progress is kept. They are written for every lane that moves, many
//! times a second, so they are few; and they carry a checksum, because a window that reads wrongly
//! would lose events where none at all only repeats some.
//!
//! ```text
//!   version       u8 = 1, or 2 where a span is settled ahead
//!   ahead         (2 only) varint from, to less from, jobs; from: the step from the cursor
//!   counts        varint delivered, rejected, expired
//!   filtered      varint n, then n varints in the order of `FilterReason::ALL`
//!   hold          varint length, then `HoldReason::as_str`; length 0 = no hold
//!   settled_above varint n, then n varints: the step from the one before (the first: from the
//!                 cursor)
//!   parked        varint n, then n times: varint step, varint attempts, varint failing_ms
//!   checksum      u32 little endian: CRC32C of lane id, cursor (u32 and u64, little endian) and
//!                 everything above
//! ```
//!
//! A varint is LEB128: seven bits a byte, lowest first. The lane and the cursor are columns of
//! their own; that the checksum covers them shows a window that belongs to another lane or time.

use model::{
    FilterReason, HoldReason, LaneId, LaneProgress, Offset, OutcomeCounts, ParkedJob, SettledSpan,
};

const VERSION: u8 = 1;
const VERSION_WITH_AHEAD: u8 = 2;
const CHECKSUM_BYTES: usize = 4;

/// Appends the bytes of `progress` to `out`. Any progress can be encoded; ascending offsets, as
/// they should be, are short.
pub fn encode(progress: &LaneProgress, out: &mut Vec<u8>) {
    let start = out.len();
    match &progress.ahead {
        None => out.push(VERSION),
        Some(span) => {
            out.push(VERSION_WITH_AHEAD);
            put_varint(span.from.0.wrapping_sub(progress.cursor.0), out);
            put_varint(span.to.0.wrapping_sub(span.from.0), out);
            put_varint(span.jobs, out);
        }
    }
    encode_counts(&progress.counts, out);
    let hold = progress.hold.map_or("", HoldReason::as_str);
    put_varint(length(hold.len()), out);
    out.extend_from_slice(hold.as_bytes());
    put_varint(length(progress.settled_above.len()), out);
    let mut before = progress.cursor.0;
    for offset in &progress.settled_above {
        // Wrapping: a step back, which should not be, costs ten bytes and still comes back right.
        put_varint(offset.0.wrapping_sub(before), out);
        before = offset.0;
    }
    put_varint(length(progress.parked.len()), out);
    let mut before = progress.cursor.0;
    for job in &progress.parked {
        put_varint(job.offset.0.wrapping_sub(before), out);
        put_varint(u64::from(job.attempts), out);
        put_varint(job.failing_ms, out);
        before = job.offset.0;
    }
    let body = out.get(start..).unwrap_or_default();
    let checksum = checksum(progress.lane, progress.cursor, body);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The progress that `bytes` hold for this lane at this cursor; `None` where they are damaged.
#[must_use]
pub fn decode(lane: LaneId, cursor: Offset, bytes: &[u8]) -> Option<LaneProgress> {
    let (body, kept) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(lane, cursor, body) != u32::from_le_bytes(*kept) {
        return None;
    }
    let mut input = Input(body);
    let ahead = match input.byte()? {
        VERSION => None,
        VERSION_WITH_AHEAD => Some(decode_ahead(&mut input, cursor)?),
        _ => return None,
    };
    let counts = decode_counts(&mut input)?;
    let hold = decode_hold(&mut input)?;
    let settled_above = decode_settled(&mut input, cursor)?;
    let parked = decode_parked(&mut input, cursor)?;
    let whole = input.0.is_empty();
    whole.then_some(LaneProgress {
        lane,
        cursor,
        ahead,
        settled_above,
        parked,
        counts,
        hold,
    })
}

fn decode_ahead(input: &mut Input<'_>, cursor: Offset) -> Option<SettledSpan> {
    let from = cursor.0.wrapping_add(input.varint()?);
    Some(SettledSpan {
        from: Offset(from),
        to: Offset(from.wrapping_add(input.varint()?)),
        jobs: input.varint()?,
    })
}

fn encode_counts(counts: &OutcomeCounts, out: &mut Vec<u8>) {
    put_varint(counts.delivered, out);
    put_varint(counts.rejected, out);
    put_varint(counts.expired, out);
    put_varint(length(counts.filtered.len()), out);
    for count in counts.filtered {
        put_varint(count, out);
    }
}

fn decode_counts(input: &mut Input<'_>) -> Option<OutcomeCounts> {
    let (delivered, rejected, expired) = (input.varint()?, input.varint()?, input.varint()?);
    let mut filtered = [0; FilterReason::ALL.len()];
    // Fewer than this program knows: kept before a reason was added at the end.
    let known = usize::try_from(input.varint()?).ok()?;
    for count in filtered.get_mut(..known)? {
        *count = input.varint()?;
    }
    Some(OutcomeCounts {
        delivered,
        rejected,
        expired,
        filtered,
    })
}

fn decode_hold(input: &mut Input<'_>) -> Option<Option<HoldReason>> {
    let bytes = usize::try_from(input.varint()?).ok()?;
    if bytes == 0 {
        return Some(None);
    }
    let text = str::from_utf8(input.take(bytes)?).ok()?;
    Some(Some(HoldReason::parse(text)?))
}

fn decode_settled(input: &mut Input<'_>, cursor: Offset) -> Option<Vec<Offset>> {
    let count = input.count(1)?;
    let mut settled = Vec::with_capacity(count);
    let mut at = cursor.0;
    for _ in 0..count {
        at = at.wrapping_add(input.varint()?);
        settled.push(Offset(at));
    }
    Some(settled)
}

fn decode_parked(input: &mut Input<'_>, cursor: Offset) -> Option<Vec<ParkedJob>> {
    let count = input.count(3)?;
    let mut parked = Vec::with_capacity(count);
    let mut at = cursor.0;
    for _ in 0..count {
        at = at.wrapping_add(input.varint()?);
        let attempts = u32::try_from(input.varint()?).ok()?;
        parked.push(ParkedJob {
            offset: Offset(at),
            attempts,
            failing_ms: input.varint()?,
        });
    }
    Some(parked)
}

fn checksum(lane: LaneId, cursor: Offset, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&lane.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &cursor.0.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A count of items that take at least `bytes_min` each: what cannot be there is not believed,
    /// and no memory is set aside for it.
    fn count(&mut self, bytes_min: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.0.len() / bytes_min).then_some(count)
    }
}

#[cfg(test)]
mod tests;
