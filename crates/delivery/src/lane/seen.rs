//! How many records of its stream lie below where a lane looked last. The log itself can only tell
//! above what retention has left of it, and a lane must know what was removed before it looked.

use model::Offset;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    at: Offset,
    records: u64,
}

/// Two places, as a lane may look ahead of its backlog; most lanes have one.
#[derive(Debug)]
pub(crate) struct Seen {
    last: Mark,
    other: Option<Box<Mark>>,
}

impl Seen {
    pub(crate) fn new(at: Offset, records: u64) -> Self {
        Self {
            last: Mark { at, records },
            other: None,
        }
    }

    /// Records below this place, if the lane has looked up to it.
    pub(crate) fn below(&self, at: Offset) -> Option<u64> {
        let other = self.other.as_deref();
        let mut marks = std::iter::once(&self.last).chain(other);
        marks.find(|mark| mark.at == at).map(|mark| mark.records)
    }

    /// Whether it looks in two places: ahead of its backlog, too.
    pub(crate) fn is_forked(&self) -> bool {
        self.other.is_some()
    }

    /// Where the lane looked last.
    pub(crate) fn last(&self) -> (Offset, u64) {
        (self.last.at, self.last.records)
    }

    /// The lane has looked from one place to the next, below which there are so many records.
    pub(crate) fn note(&mut self, from: Offset, to: Offset, records: u64) {
        if self.last.at != from {
            let last = self.last;
            match &mut self.other {
                Some(other) => **other = last,
                None => self.other = Some(Box::new(last)),
            }
        }
        self.last = Mark { at: to, records };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_places_are_remembered() {
        let mut seen = Seen::new(Offset(0), 0);
        seen.note(Offset(0), Offset(10), 4);
        assert_eq!(
            (seen.below(Offset(10)), seen.below(Offset(0))),
            (Some(4), None)
        );
        seen.note(Offset(100), Offset(120), 60);
        seen.note(Offset(120), Offset(130), 66);
        seen.note(Offset(10), Offset(20), 9);
        assert_eq!(seen.below(Offset(20)), Some(9));
        assert_eq!(seen.below(Offset(130)), Some(66));
        assert_eq!(seen.below(Offset(120)), None);
    }
}
