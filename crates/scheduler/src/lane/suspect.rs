//! Whose failures they are: one event that nobody would take must not pass for a destination that
//! is down. Where all failures since the last success are of one event, any other may try at once,
//! and where there are others, probes take turns.

/// The jobs that have failed since something last succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suspect {
    Nobody,
    /// Attempts that began with this entry, and no other.
    One(u64),
    Several,
}

impl Suspect {
    pub(crate) fn failed(&mut self, seq: u64) {
        *self = match *self {
            Self::Nobody => Self::One(seq),
            Self::One(known) if known == seq => Self::One(seq),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    pub(crate) fn is_one(self) -> bool {
        matches!(self, Self::One(_))
    }
}
