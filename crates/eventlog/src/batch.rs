//! What one caller appends at once.

use model::limits::RECORD_BYTES_MAX;
use model::{SourceId, UnixMillis};

use crate::record::{self, Header, Kind, RecordFlags};

/// Records that become durable together with one answer, encoded into one buffer. The log gives
/// them offsets in the order in which they were pushed.
#[derive(Clone, Debug, Default)]
pub struct AppendBatch {
    drafts: Vec<u8>,
    records: u32,
}

impl AppendBatch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If the payload is longer than [`RECORD_BYTES_MAX`]: ingest has refused such an event long
    /// before.
    pub fn push(
        &mut self,
        stream: SourceId,
        received_at: UnixMillis,
        message_hash: u64,
        flags: RecordFlags,
        payload: &[u8],
    ) {
        assert!(
            payload.len() <= RECORD_BYTES_MAX,
            "a payload is at most {RECORD_BYTES_MAX} bytes"
        );
        let length = u32::try_from(payload.len()).expect("asserted above");
        let header = Header {
            ordinal: 0,
            length,
            received_at,
            message_hash,
            stream,
            flags,
            kind: Kind::Event,
            batch: 0,
        };
        self.drafts.reserve(record::stored_bytes(payload.len()));
        record::draft(&header, payload, &mut self.drafts);
        self.records += 1;
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.records).unwrap_or(usize::MAX)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes that the records take in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.drafts.len()
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    pub(crate) fn into_drafts(self) -> Vec<u8> {
        self.drafts
    }
}
