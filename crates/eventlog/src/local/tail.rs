//! The last commits in memory: delivery reads most records within milliseconds of their append, and
//! should not pay a system call and a checksum for them.

use std::collections::VecDeque;

use bytes::Bytes;
use model::Position;

use crate::record::{self, HEADER_BYTES, Header};

/// A payload shares its commit's buffer only if it is at least this part of it: else one slow
/// destination with one small event in hand would keep a whole commit in memory.
const SHARED_PART_MIN: usize = 16;

#[derive(Debug)]
pub(crate) struct Tail {
    /// Ascending by position, with the position of each one's first byte.
    commits: VecDeque<(u64, Bytes)>,
    bytes: u64,
    bytes_max: u64,
}

impl Tail {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            commits: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds what was just written at `position`, and lets go of the oldest over the limit.
    pub(crate) fn push(&mut self, position: u64, commit: Bytes) {
        self.bytes += bytes_of(&commit);
        self.commits.push_back((position, commit));
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.commits.pop_front() else {
                return;
            };
            self.bytes -= bytes_of(&oldest);
        }
    }

    /// The record at `position`, if it is still here.
    pub(crate) fn get(&self, position: Position) -> Option<(Header, Bytes)> {
        let position = u64::from(position.0);
        let after = self
            .commits
            .partition_point(|&(start, _)| start <= position);
        let (start, commit) = self.commits.get(after.checked_sub(1)?)?;
        let at = usize::try_from(position - start).ok()?;
        let header = record::fields(commit.get(at..)?.first_chunk()?);
        let length = usize::try_from(header.length).ok()?;
        let range = at + HEADER_BYTES..at + HEADER_BYTES + length;
        let payload = if length * SHARED_PART_MIN >= commit.len() {
            (range.end <= commit.len()).then(|| commit.slice(range))?
        } else {
            Bytes::copy_from_slice(commit.get(range)?)
        };
        Some((header, payload))
    }
}

fn bytes_of(commit: &Bytes) -> u64 {
    u64::try_from(commit.len()).unwrap_or(u64::MAX)
}
