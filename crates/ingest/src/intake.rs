//! From a body's bytes to a batch that is ready to be appended.

use std::borrow::Cow;
use std::sync::Arc;

use eventlog::{AppendBatch, RecordFlags};
use model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use model::{SourceId, UnixMillis};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::dedup::{Claim, Claims, Window};
use crate::envelope::{BodyError, BodyKind, Shape};
use crate::event::{Canonical, Client};
use crate::json::{JsonError, Why};
use crate::options::Options;
use crate::stats::Discard;

/// A body whose JSON is checked.
pub(crate) struct Intake<'b> {
    text: Cow<'b, str>,
    shape: Shape,
    kind: BodyKind,
    merged_bytes_max: usize,
}

/// What is to be appended, and what is not.
pub(crate) struct Taken {
    pub(crate) source: SourceId,
    pub(crate) batch: AppendBatch,
    pub(crate) claims: Claims,
    pub(crate) discarded: Vec<Discard>,
    pub(crate) duplicates: u64,
}

impl Taken {
    /// Nothing to append: the whole request was discarded, and counted already.
    pub(crate) fn nothing(window: &Arc<Window>) -> Self {
        Self {
            source: SourceId(0),
            batch: AppendBatch::new(),
            claims: Claims::new(window),
            discarded: Vec::new(),
            duplicates: 0,
        }
    }
}

impl<'b> Intake<'b> {
    /// # Errors
    /// Not the JSON that the path promises.
    pub(crate) fn read(
        bytes: &'b [u8],
        kind: BodyKind,
        options: &Options,
    ) -> Result<Self, BodyError> {
        let text = str::from_utf8(bytes).map_err(|error| JsonError {
            at: error.valid_up_to(),
            why: Why::NotUtf8,
        })?;
        // Some clients of the .NET world begin their texts with a byte-order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let shape = Shape::parse(text, kind, options.json_keys_max, BATCH_EVENTS_MAX)?;
        let text = shape.mend(text);
        Ok(Self {
            text,
            shape,
            kind,
            merged_bytes_max: options.merged_bytes_max,
        })
    }

    pub(crate) fn write_key(&self) -> Option<Cow<'_, str>> {
        self.shape.write_key(&self.text)
    }

    pub(crate) fn events_count(&self) -> usize {
        self.shape.events_count
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.shape.events_count > BATCH_EVENTS_MAX
    }

    /// Makes the events canonical and claims their ids.
    ///
    /// # Errors
    /// The only event is too large, the events have grown too large by merging, or a copy of one
    /// is under way. Nothing stays claimed.
    pub(crate) fn take(
        &self,
        source: SourceId,
        received_at: UnixMillis,
        client: Client,
        window: &Arc<Window>,
    ) -> Result<Taken, Refusal> {
        let mut taken = Taken {
            source,
            ..Taken::nothing(window)
        };
        let mut canonical = self.canonical(source, received_at, client);
        let mut payload = Vec::with_capacity(2_048);
        for (index, event) in self.shape.events.iter().enumerate() {
            if matches!(self.kind, BodyKind::Event(_)) && event.span.len() > EVENT_BYTES_MAX {
                return Err(Refusal::EventTooLarge);
            }
            payload.clear();
            let facts = match canonical.write(index, event, &self.shape, &mut payload) {
                Ok(facts) => facts,
                Err(reason) => {
                    taken.discarded.push(reason);
                    continue;
                }
            };
            let claim = if facts.assigned_id {
                Claim::New
            } else {
                taken.claims.claim(facts.message_hash, received_at)
            };
            match claim {
                Claim::New => {}
                Claim::Duplicate => {
                    taken.duplicates += 1;
                    continue;
                }
                Claim::Pending => return Err(Refusal::Pending { wait_s: 1 }),
            }
            let flags = if facts.has_integrations {
                RecordFlags::HAS_INTEGRATIONS
            } else {
                RecordFlags::NONE
            };
            taken
                .batch
                .push(source, received_at, facts.message_hash, flags, &payload);
            if taken.batch.bytes() > self.merged_bytes_max {
                return Err(Refusal::MergedTooLarge {
                    bytes_max: self.merged_bytes_max,
                });
            }
        }
        Ok(taken)
    }

    fn canonical(
        &self,
        source: SourceId,
        received_at: UnixMillis,
        client: Client,
    ) -> Canonical<'_> {
        let (text, shape) = (&self.text, &self.shape);
        Canonical::new(
            text,
            shape,
            self.kind,
            source,
            received_at,
            client,
            Uuid::new_v4,
        )
    }
}

/// What the log would hold of a body: each event's bytes, or why it would be discarded. Nothing is
/// appended. The events get no client address.
///
/// # Errors
/// The body would be refused as a whole.
pub fn preview(
    body: &[u8],
    kind: BodyKind,
    received_at: UnixMillis,
) -> Result<Vec<Result<Vec<u8>, Discard>>, BodyError> {
    let intake = Intake::read(body, kind, &Options::default())?;
    let nobody = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    let client = Client {
        ip: nobody,
        client_side: false,
    };
    let mut canonical = intake.canonical(SourceId(0), received_at, client);
    let events = intake
        .shape
        .events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let mut payload = Vec::new();
            canonical
                .write(index, event, &intake.shape, &mut payload)
                .map(|_| payload)
        });
    Ok(events.collect())
}

#[cfg(test)]
mod tests;
