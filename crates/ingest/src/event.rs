//! One event as the log keeps it: the client's members untouched and in order, then what ingest
//! adds or rewrites.
//!
//! ```text
//!   { ...the client's own members...,
//!     "type", "messageId", "context", "integrations",
//!     "originalTimestamp", "timestamp", "sentAt", "receivedAt" }
//! ```
//!
//! `writeKey` is removed. No tree is built: members are copied from the text by their places.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;
use std::net::IpAddr;

use model::limits::{EVENT_BYTES_MAX, RECORD_BYTES_MAX};
use model::{SourceId, UnixMillis};
use uuid::Uuid;

use crate::dedup::message_hash;
use crate::envelope::{BodyKind, EventShape, Shape, string};
use crate::json::{Member, members};
use crate::rfc3339;
use crate::route::EventType;
use crate::stats::Discard;

/// What is true of all events of one request.
pub(crate) struct Canonical<'t> {
    text: &'t str,
    kind: BodyKind,
    source: SourceId,
    received_at: UnixMillis,
    /// The same as text: written into every event.
    received_text: [u8; rfc3339::TEXT_BYTES],
    sent_at: Option<Sent<'t>>,
    context: Under<'t>,
    integrations: Under<'t>,
    client: Client,
    fresh_id: fn() -> Uuid,
    /// Drawn once a request, when the first event without an id is met.
    base_id: Option<Uuid>,
}

/// Where the request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// It looks like a browser or device rather than a server: its events get its address.
    pub(crate) client_side: bool,
}

/// What the log must know of an event beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) message_hash: u64,
    /// The client sent no id, so no copy of this event can be recognised.
    pub(crate) assigned_id: bool,
    pub(crate) has_integrations: bool,
}

#[derive(Clone, Copy)]
struct Sent<'t> {
    raw: &'t str,
    at: UnixMillis,
}

impl<'t> Canonical<'t> {
    pub(crate) fn new(
        text: &'t str,
        shape: &Shape,
        kind: BodyKind,
        source: SourceId,
        received_at: UnixMillis,
        client: Client,
        fresh_id: fn() -> Uuid,
    ) -> Self {
        Self {
            text,
            kind,
            source,
            received_at,
            received_text: rfc3339::format(received_at),
            sent_at: shape.sent_at(text).and_then(sent),
            context: Under::new(shape.context(text)),
            integrations: Under::new(shape.integrations(text)),
            client,
            fresh_id,
            base_id: None,
        }
    }

    /// Appends the event's canonical bytes to `out`.
    ///
    /// # Errors
    /// The event breaks the API's contract and is discarded; `out` may hold a part of it.
    pub(crate) fn write(
        &mut self,
        index: usize,
        event: &EventShape,
        shape: &Shape,
        out: &mut Vec<u8>,
    ) -> Result<Facts, Discard> {
        let members = shape.members(event).ok_or(Discard::NotAnObject)?;
        if event.span.len() > EVENT_BYTES_MAX {
            return Err(Discard::EventTooLarge);
        }
        let start = out.len();
        out.push(b'{');
        let fields = self.copy_members(members, out);
        let event_type = self.event_type(&fields)?;
        if !fields.has_user {
            return Err(Discard::NoIdentity);
        }
        if event_type == EventType::Track && !fields.has_event {
            return Err(Discard::NoEventName);
        }
        out.extend_from_slice(b"\"type\":\"");
        out.extend_from_slice(event_type.as_str().as_bytes());
        out.extend_from_slice(b"\",");
        let (message_hash, assigned_id) = self.write_message_id(index, &fields, out);
        self.write_context(&fields, out);
        let has_integrations = self.write_integrations(&fields, out);
        self.write_times(&fields, out);
        out.push(b'}');
        if out.len() - start > RECORD_BYTES_MAX {
            return Err(Discard::EventTooLarge);
        }
        Ok(Facts {
            message_hash,
            assigned_id,
            has_integrations,
        })
    }

    /// Copies what is the client's alone, and notes the rest. Of equal keys, the last one counts.
    fn copy_members(&self, members: &[Member], out: &mut Vec<u8>) -> Fields<'t> {
        let mut fields = Fields::default();
        for member in members {
            let name = member.name(self.text);
            let value = member.value.of(self.text);
            match &*name {
                "type" => fields.event_type = Some(value),
                "messageId" => fields.message_id = Some(value),
                "context" => fields.context = Some(value),
                "integrations" => fields.integrations = Some(value),
                "timestamp" => fields.timestamp = Some(value),
                "originalTimestamp" => fields.original_timestamp = Some(value),
                "sentAt" => fields.sent_at = Some(value),
                "receivedAt" | "writeKey" => {}
                other => {
                    match other {
                        "userId" => fields.user_id = is_id(value),
                        "anonymousId" => fields.anonymous_id = is_id(value),
                        "event" => fields.has_event = value.starts_with('"') && value != "\"\"",
                        _ => {}
                    }
                    copy_member(self.text, member, out);
                    out.push(b',');
                }
            }
        }
        fields.has_user = fields.user_id || fields.anonymous_id;
        fields
    }

    fn event_type(&self, fields: &Fields<'_>) -> Result<EventType, Discard> {
        match self.kind {
            BodyKind::Event(event_type) => Ok(event_type),
            BodyKind::Batch => fields
                .event_type
                .and_then(string)
                .and_then(|name| EventType::parse(&name))
                .ok_or(Discard::NoType),
        }
    }

    /// An id longer than the contract's 100 characters is kept: refusing it would lose the event,
    /// and the window holds hashes only.
    fn write_message_id(
        &mut self,
        index: usize,
        fields: &Fields<'_>,
        out: &mut Vec<u8>,
    ) -> (u64, bool) {
        out.extend_from_slice(b"\"messageId\":");
        let given = fields.message_id.filter(|raw| is_id(raw));
        let hash = match given {
            Some(raw) => {
                if let Some(id) = string(raw) {
                    out.extend_from_slice(raw.as_bytes());
                    message_hash(self.source, &id)
                } else {
                    // A number: everything behind us may count on a string.
                    out.push(b'"');
                    out.extend_from_slice(raw.as_bytes());
                    out.push(b'"');
                    message_hash(self.source, raw)
                }
            }
            None => {
                let base = *self.base_id.get_or_insert_with(self.fresh_id);
                let id = format!("fairlane-{base}-{index}");
                out.push(b'"');
                out.extend_from_slice(id.as_bytes());
                out.push(b'"');
                message_hash(self.source, &id)
            }
        };
        out.push(b',');
        (hash, given.is_none())
    }

    fn write_context(&self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let own = fields.context.filter(|raw| *raw != "null");
        let wants_ip = self.client.client_side || own.is_some_and(is_direct);
        let ip = wants_ip.then_some(self.client.ip);
        if self.context.is_empty() && ip.is_none() {
            if let Some(own) = own {
                out.extend_from_slice(b"\"context\":");
                out.extend_from_slice(own.as_bytes());
                out.push(b',');
            }
            return;
        }
        out.extend_from_slice(b"\"context\":");
        self.context.merge(own.unwrap_or("{}"), ip, out);
        out.push(b',');
    }

    /// Whether the event carries an `integrations` object that says something.
    fn write_integrations(&self, fields: &Fields<'_>, out: &mut Vec<u8>) -> bool {
        let own = fields.integrations.filter(|raw| *raw != "null");
        if own.is_none() && self.integrations.is_empty() {
            return false;
        }
        out.extend_from_slice(b"\"integrations\":");
        let start = out.len();
        match own {
            Some(own) if self.integrations.is_empty() || !own.starts_with('{') => {
                out.extend_from_slice(own.as_bytes());
            }
            own => self.integrations.merge(own.unwrap_or("{}"), None, out),
        }
        let written = out.get(start..).unwrap_or_default();
        let inside = written
            .strip_prefix(b"{")
            .unwrap_or_default()
            .trim_ascii_start();
        let says_something = inside.first().is_some_and(|byte| *byte != b'}');
        out.push(b',');
        says_something
    }

    /// `timestamp = receivedAt - (sentAt - originalTimestamp)`: the client's clock may be wrong,
    /// but by how much is told by the moment at which it sent. A time that cannot be read counts
    /// as absent and is kept as `originalTimestamp`.
    fn write_times(&self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let received_at = self.received_at;
        let sent = fields.sent_at.and_then(sent).or(self.sent_at);
        let sent_at = sent.map_or(received_at, |sent| sent.at);
        let given = fields
            .timestamp
            .filter(|raw| *raw != "null")
            .or_else(|| fields.original_timestamp.filter(|raw| *raw != "null"));
        let original = given.and_then(time).unwrap_or(sent_at);
        let corrected =
            UnixMillis((received_at.0.saturating_add(original.0)).saturating_sub(sent_at.0));

        out.extend_from_slice(b"\"originalTimestamp\":");
        match given {
            Some(raw) => out.extend_from_slice(raw.as_bytes()),
            None => write_time(original, out),
        }
        out.extend_from_slice(b",\"timestamp\":");
        write_time(corrected, out);
        out.extend_from_slice(b",\"sentAt\":");
        match sent {
            Some(sent) => out.extend_from_slice(sent.raw.as_bytes()),
            None => write_time(received_at, out),
        }
        out.extend_from_slice(b",\"receivedAt\":\"");
        out.extend_from_slice(&self.received_text);
        out.push(b'"');
    }
}

/// What an event says of the members that ingest knows; raw values.
#[derive(Default)]
struct Fields<'t> {
    event_type: Option<&'t str>,
    message_id: Option<&'t str>,
    context: Option<&'t str>,
    integrations: Option<&'t str>,
    timestamp: Option<&'t str>,
    original_timestamp: Option<&'t str>,
    sent_at: Option<&'t str>,
    user_id: bool,
    anonymous_id: bool,
    has_user: bool,
    has_event: bool,
}

/// The members of a batch-level object, merged under each event's own.
struct Under<'t> {
    text: &'t str,
    members: Vec<Member>,
    by_name: HashMap<Cow<'t, str>, usize>,
}

impl<'t> Under<'t> {
    /// What is no object says nothing.
    fn new(raw: Option<&'t str>) -> Self {
        let text = raw.unwrap_or_default();
        let mut under = Self {
            text,
            members: Vec::new(),
            by_name: HashMap::new(),
        };
        members(text, |member| {
            match under.by_name.entry(member.name(text)) {
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(under.members.len());
                    under.members.push(member);
                }
                std::collections::hash_map::Entry::Occupied(occupied) => {
                    if let Some(place) = under.members.get_mut(*occupied.get()) {
                        *place = member;
                    }
                }
            };
        });
        under
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Writes `own` with what only the batch says, and with `ip` if neither says one.
    fn merge(&self, own: &str, ip: Option<IpAddr>, out: &mut Vec<u8>) {
        let mut overridden = vec![false; self.members.len()];
        let mut has_ip = false;
        out.push(b'{');
        let start = out.len();
        members(own, |member| {
            let name = member.name(own);
            if name == "ip" && ip.is_some() {
                if member.value.of(own) == "null" {
                    return;
                }
                has_ip = true;
            }
            if let Some(index) = self.by_name.get(&*name)
                && let Some(overridden) = overridden.get_mut(*index)
            {
                *overridden = true;
            }
            separate(start, out);
            copy_member(own, &member, out);
        });
        for (member, overridden) in self.members.iter().zip(overridden) {
            if !overridden {
                has_ip |= member.name(self.text) == "ip";
                separate(start, out);
                copy_member(self.text, member, out);
            }
        }
        if let Some(ip) = ip
            && !has_ip
        {
            separate(start, out);
            write!(out, "\"ip\":\"{ip}\"").expect("a Vec takes every write");
        }
        out.push(b'}');
    }
}

fn separate(start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
}

fn copy_member(text: &str, member: &Member, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if member.value.start == member.key.end + 2 {
        // `"key":value` without space: one copy.
        let raw = bytes.get(member.key.start - 1..member.value.end);
        out.extend_from_slice(raw.expect("a member lies within its text"));
    } else {
        out.push(b'"');
        out.extend_from_slice(member.key.of(text).as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(member.value.of(text).as_bytes());
    }
}

/// Whether a raw value can name somebody: a string that is not empty, or a number.
fn is_id(raw: &str) -> bool {
    match raw.as_bytes().first() {
        Some(b'"') => raw.len() > 2,
        Some(b'-' | b'0'..=b'9') => true,
        _ => false,
    }
}

/// `context.direct: true`: a server passes events on for a client and asks for the address.
fn is_direct(context: &str) -> bool {
    let mut direct = false;
    if context.contains("direct") {
        members(context, |member| {
            if member.name(context) == "direct" {
                direct = member.value.of(context) == "true";
            }
        });
    }
    direct
}

fn sent(raw: &str) -> Option<Sent<'_>> {
    time(raw).map(|at| Sent { raw, at })
}

/// A time as text, or as a number: seconds since 1970, or milliseconds where seconds would lie
/// thousands of years ahead.
fn time(raw: &str) -> Option<UnixMillis> {
    const SECONDS_MAX: u64 = 100_000_000_000;
    if let Some(text) = string(raw) {
        return rfc3339::parse(&text);
    }
    let number = raw.parse::<u64>().ok()?;
    let ms = if number < SECONDS_MAX {
        number * 1_000
    } else {
        number
    };
    Some(UnixMillis(ms)).filter(|time| *time <= rfc3339::LATEST)
}

fn write_time(time: UnixMillis, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&rfc3339::format(time));
    out.push(b'"');
}

#[cfg(test)]
mod tests;
