//! The shape of a request's body: where its events stand, and what is said for all of them.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{JsonError, Member, Scanner, Span, Why, unescape};
use crate::route::EventType;

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// One event; its type stands in the path.
    Event(EventType),
    /// `{"batch": [...], ...}`; every event says its type.
    Batch,
}

/// Places in a text that was checked from end to end. Holds no text, so the text may be mended
/// before it is read (see [`Shape::mend`]).
#[derive(Debug)]
pub(crate) struct Shape {
    /// The first events of the body, up to the limit that [`Shape::parse`] was given.
    pub(crate) events: Vec<EventShape>,
    /// All events of the body.
    pub(crate) events_count: usize,
    /// Of the events, one after another.
    members: Vec<Member>,
    write_key: Option<Span>,
    sent_at: Option<Span>,
    context: Option<Span>,
    integrations: Option<Span>,
    lone_surrogates: Vec<usize>,
}

/// One event of a body.
#[derive(Clone, Debug)]
pub(crate) struct EventShape {
    pub(crate) span: Span,
    /// `None`: not a JSON object.
    members: Option<Range<usize>>,
}

/// Why a body is refused as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not the JSON that is expected: {0}")]
    Json(#[from] JsonError),
    /// The path says batch.
    #[error("the body has no array \"batch\"")]
    NoBatch,
}

impl Shape {
    /// Reads the whole text, each byte once. Where a key stands twice, the last one counts.
    ///
    /// # Errors
    /// The text is not JSON within the limits, its root is no object, or a batch is missing.
    pub(crate) fn parse(
        text: &str,
        kind: BodyKind,
        keys_max: usize,
        events_max: usize,
    ) -> Result<Self, BodyError> {
        let mut shape = Self {
            events: Vec::new(),
            events_count: 0,
            members: Vec::new(),
            write_key: None,
            sent_at: None,
            context: None,
            integrations: None,
            lone_surrogates: Vec::new(),
        };
        let mut scanner = Scanner::new(text, keys_max);
        if scanner.peek()? != b'{' {
            return Err(scanner.error(Why::NotAnObject).into());
        }
        match kind {
            BodyKind::Event(_) => shape.one_event(text, &mut scanner)?,
            BodyKind::Batch => shape.batch(text, &mut scanner, events_max)?,
        }
        scanner.finish()?;
        shape.lone_surrogates = scanner.lone_surrogates;
        Ok(shape)
    }

    /// The text with every half of a surrogate pair replaced by U+FFFD: parsers behind us refuse
    /// them, and an event must not die of an emoji that a browser cut in two. The replacement is
    /// as long as the original, so all places stay.
    pub(crate) fn mend<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.lone_surrogates.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut mended = text.as_bytes().to_vec();
        for at in &self.lone_surrogates {
            if let Some(escape) = mended.get_mut(*at..*at + 6) {
                escape.copy_from_slice(br"\ufffd");
            }
        }
        String::from_utf8(mended).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The members of one of `events`; `None` when it is not an object.
    pub(crate) fn members(&self, event: &EventShape) -> Option<&[Member]> {
        self.members.get(event.members.clone()?)
    }

    pub(crate) fn write_key<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        self.write_key.and_then(|value| string(value.of(text)))
    }

    /// The batch's `sentAt`, raw. (A single event carries its own.)
    pub(crate) fn sent_at<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.sent_at.map(|value| value.of(text))
    }

    /// The batch's `context`, raw.
    pub(crate) fn context<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.context.map(|value| value.of(text))
    }

    /// The batch's `integrations`, raw.
    pub(crate) fn integrations<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.integrations.map(|value| value.of(text))
    }

    fn one_event(&mut self, text: &str, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
        let event = self.event(scanner, 0)?;
        self.write_key = self
            .members(&event)
            .unwrap_or_default()
            .iter()
            .rfind(|member| member.name(text) == "writeKey")
            .map(|member| member.value);
        self.events_count = 1;
        self.events.push(event);
        Ok(())
    }

    fn batch(
        &mut self,
        text: &str,
        scanner: &mut Scanner<'_>,
        events_max: usize,
    ) -> Result<(), BodyError> {
        scanner.bump();
        let mut has_batch = false;
        let mut keys = 0;
        while let Some((key, key_escaped)) = scanner.next_key(&mut keys)? {
            let name = if key_escaped {
                unescape(key.of(text))
            } else {
                key.of(text).into()
            };
            if name == "batch" && scanner.peek()? == b'[' {
                has_batch = true;
                self.array(scanner, events_max)?;
                continue;
            }
            let value = scanner.value(1)?;
            match &*name {
                "writeKey" => self.write_key = Some(value),
                "sentAt" => self.sent_at = Some(value),
                "context" => self.context = Some(value),
                "integrations" => self.integrations = Some(value),
                _ => {}
            }
        }
        if has_batch {
            Ok(())
        } else {
            Err(BodyError::NoBatch)
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, events_max: usize) -> Result<(), JsonError> {
        self.events.clear();
        self.members.clear();
        self.events_count = 0;
        scanner.bump();
        let mut first = true;
        while scanner.next_element(&mut first)? {
            self.events_count += 1;
            if self.events_count > events_max {
                // Checked still, but not kept: the request is discarded anyway.
                scanner.value(2)?;
            } else if scanner.peek()? == b'{' {
                let event = self.event(scanner, 2)?;
                self.events.push(event);
            } else {
                let span = scanner.value(2)?;
                self.events.push(EventShape {
                    span,
                    members: None,
                });
            }
        }
        Ok(())
    }

    /// The object at whose `{` the scanner stands, inside `depth` containers.
    fn event(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Result<EventShape, JsonError> {
        let start = scanner.at();
        let first_member = self.members.len();
        scanner.bump();
        let mut keys = 0;
        while let Some((key, key_escaped)) = scanner.next_key(&mut keys)? {
            let value = scanner.value(depth + 1)?;
            self.members.push(Member {
                key,
                key_escaped,
                value,
            });
        }
        Ok(EventShape {
            span: Span {
                start,
                end: scanner.at(),
            },
            members: Some(first_member..self.members.len()),
        })
    }
}

/// What a raw JSON value says if it is a string that is not empty.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.is_empty()).then(|| unescape(inner))
}

#[cfg(test)]
mod tests;
