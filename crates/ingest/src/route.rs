//! Which endpoint a path means.

use http::Method;

use crate::envelope::BodyKind;

/// The six calls of the tracking API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventType {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl EventType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "track" => Self::Track,
            "identify" => Self::Identify,
            "page" => Self::Page,
            "screen" => Self::Screen,
            "group" => Self::Group,
            "alias" => Self::Alias,
            _ => return None,
        })
    }

    /// The browser's paths: a type's first letter.
    fn from_letter(text: &str) -> Option<Self> {
        Some(match text {
            "t" => Self::Track,
            "i" => Self::Identify,
            "p" => Self::Page,
            "s" => Self::Screen,
            "g" => Self::Group,
            "a" => Self::Alias,
            _ => return None,
        })
    }
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint<'p> {
    /// Events in a body.
    Events {
        kind: BodyKind,
        label: Label,
        client_side: bool,
    },
    /// The browser's reports about itself: accepted, counted, not kept.
    Metrics,
    Pixel(EventType),
    /// What the browser SDK loads before anything else.
    Settings {
        write_key: &'p str,
    },
    Health,
    Ready,
}

/// An endpoint as statistics name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    Event,
    Batch,
    Import,
    Metrics,
    Pixel,
    Settings,
    Health,
    Ready,
    Preflight,
    Other,
}

impl Label {
    pub const ALL: [Self; 10] = [
        Self::Event,
        Self::Batch,
        Self::Import,
        Self::Metrics,
        Self::Pixel,
        Self::Settings,
        Self::Health,
        Self::Ready,
        Self::Preflight,
        Self::Other,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Batch => "batch",
            Self::Import => "import",
            Self::Metrics => "metrics",
            Self::Pixel => "pixel",
            Self::Settings => "settings",
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Preflight => "preflight",
            Self::Other => "other",
        }
    }
}

impl<'p> Endpoint<'p> {
    /// `None` for a path that means nothing here. One slash more is tolerated at the end, and at
    /// the beginning, where it comes from a host option that ends in one.
    pub(crate) fn of_path(path: &'p str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let shorter = path.strip_prefix('/').filter(|rest| rest.starts_with('/'));
        let path = shorter.unwrap_or(path);
        match path {
            "/health" => return Some(Self::Health),
            "/ready" => return Some(Self::Ready),
            _ => {}
        }
        let word = path.strip_prefix("/v1/")?;
        let batch = |label, client_side| Self::Events {
            kind: BodyKind::Batch,
            label,
            client_side,
        };
        let event = |event_type, client_side| Self::Events {
            kind: BodyKind::Event(event_type),
            label: Label::Event,
            client_side,
        };
        Some(match word {
            "batch" => batch(Label::Batch, false),
            "b" => batch(Label::Batch, true),
            "import" => batch(Label::Import, false),
            "m" => Self::Metrics,
            _ => {
                if let Some(event_type) = EventType::parse(word) {
                    event(event_type, false)
                } else if let Some(event_type) = EventType::from_letter(word) {
                    event(event_type, true)
                } else if let Some(name) = word.strip_prefix("pixel/") {
                    Self::Pixel(EventType::parse(name)?)
                } else {
                    let write_key = word.strip_prefix("projects/")?.strip_suffix("/settings")?;
                    if write_key.is_empty() || write_key.contains('/') {
                        return None;
                    }
                    Self::Settings { write_key }
                }
            }
        })
    }

    /// The one method that the endpoint answers, beside OPTIONS and, for GET, HEAD.
    pub(crate) const fn method(&self) -> Method {
        match self {
            Self::Events { .. } | Self::Metrics => Method::POST,
            Self::Pixel(_) | Self::Settings { .. } | Self::Health | Self::Ready => Method::GET,
        }
    }

    pub(crate) const fn label(&self) -> Label {
        match self {
            Self::Events { label, .. } => *label,
            Self::Metrics => Label::Metrics,
            Self::Pixel(_) => Label::Pixel,
            Self::Settings { .. } => Label::Settings,
            Self::Health => Label::Health,
            Self::Ready => Label::Ready,
        }
    }
}
