//! A lane's windows: one; or two, while it serves what came of late before its backlog is done.
//!
//! ```text
//!         cursor                  fork                   end
//!           v                      v                      v
//!   settled | P I f f | not fetched | settled | I s f f f |
//!           |-- main: the backlog --|-- ahead: recent ----|
//! ```
//!
//! Main fetches up to the fork and no further. When all below the fork is settled, the window
//! ahead becomes main, and everything is as if there had been one. Both number their entries; one
//! bit of a number says whose it is.

use model::{Offset, ParkedJob, SettledSpan};

use crate::window::restored::Restored;
use crate::window::{Entry, Window};

/// Which of the two windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Main,
    Ahead,
}

#[derive(Debug)]
pub(crate) struct Windows {
    main: Window,
    ahead: Option<Box<Ahead>>,
    /// For which of them records are being fetched.
    pub(crate) fetching: Option<Part>,
}

#[derive(Debug)]
struct Ahead {
    fork: Offset,
    window: Window,
}

/// Tells the numbers of one window's entries from those of the other.
const SIDE: u64 = 1 << 63;

impl Windows {
    /// `settled` and `parked` as they were saved: ascending.
    pub(crate) fn new(
        cursor: Offset,
        mut settled: Vec<Offset>,
        mut parked: Vec<ParkedJob>,
        span: Option<SettledSpan>,
    ) -> Self {
        let ahead = span.map(|span| {
            let settled = settled.split_off(settled.partition_point(|at| *at < span.from));
            let parked = parked.split_off(parked.partition_point(|job| job.offset < span.from));
            let restored = Restored::new(settled, parked);
            Box::new(Ahead {
                fork: span.from,
                window: Window::new(span.to, SIDE | span.jobs, restored),
            })
        });
        Self {
            main: Window::new(cursor, 0, Restored::new(settled, parked)),
            ahead,
            fetching: None,
        }
    }

    pub(crate) fn part(&self, part: Part) -> &Window {
        match (part, &self.ahead) {
            (Part::Ahead, Some(ahead)) => &ahead.window,
            _ => &self.main,
        }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.ahead.is_some()
    }

    /// Serves what lies at and above `fork` beside what lies below it. Main has not come so far.
    pub(crate) fn fork(&mut self, fork: Offset) {
        debug_assert!(self.ahead.is_none() && fork > self.main.scanned_to());
        let side = (self.main.first_seq() ^ SIDE) & SIDE;
        self.ahead = Some(Box::new(Ahead {
            fork,
            window: Window::new(fork, side, None),
        }));
    }

    /// Where the part's records end: at the fork, or nowhere.
    pub(crate) fn limit(&self, part: Part) -> Offset {
        match (part, &self.ahead) {
            (Part::Main, Some(ahead)) => ahead.fork,
            _ => Offset::MAX,
        }
    }

    /// What of the whole window one part may hold.
    pub(crate) fn share(&self) -> u32 {
        1 + u32::from(self.is_forked())
    }

    /// Everything of the stream below this offset is settled.
    pub(crate) fn cursor(&self) -> Offset {
        self.main.cursor()
    }

    /// What is settled beyond the fork without a gap.
    pub(crate) fn span(&self) -> Option<SettledSpan> {
        let ahead = self.ahead.as_ref()?;
        Some(SettledSpan {
            from: ahead.fork,
            to: ahead.window.cursor(),
            jobs: ahead.window.first_seq() & !SIDE,
        })
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Window> {
        std::iter::once(&self.main).chain(self.ahead.iter().map(|ahead| &ahead.window))
    }

    /// Entries, settled ones among them.
    pub(crate) fn len(&self) -> usize {
        self.each().map(Window::len).sum()
    }

    /// No jobs are known and unsettled. (There may be some that are not fetched.)
    pub(crate) fn is_empty(&self) -> bool {
        self.each().all(Window::is_empty)
    }

    pub(crate) fn fresh(&self) -> u32 {
        self.each().map(Window::fresh).sum()
    }

    pub(crate) fn fresh_bytes(&self) -> u64 {
        self.each().map(Window::fresh_bytes).sum()
    }

    pub(crate) fn unsettled(&self) -> u32 {
        self.each().map(Window::unsettled).sum()
    }

    pub(crate) fn oldest_unsettled(&self) -> Option<Offset> {
        self.each().find_map(Window::oldest_unsettled)
    }

    /// Nothing is kept for records that are still to be fetched.
    pub(crate) fn is_plain(&self) -> bool {
        self.ahead.is_none() && self.main.restored.is_none()
    }

    pub(crate) fn of(&self, seq: u64) -> &Window {
        match &self.ahead {
            Some(ahead) if (seq ^ ahead.window.first_seq()) & SIDE == 0 => &ahead.window,
            _ => &self.main,
        }
    }

    fn of_mut(&mut self, seq: u64) -> &mut Window {
        match &mut self.ahead {
            Some(ahead) if (seq ^ ahead.window.first_seq()) & SIDE == 0 => &mut ahead.window,
            _ => &mut self.main,
        }
    }

    pub(crate) fn part_mut(&mut self, part: Part) -> &mut Window {
        match (part, &mut self.ahead) {
            (Part::Ahead, Some(ahead)) => &mut ahead.window,
            _ => &mut self.main,
        }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Entry> {
        self.of(seq).get(seq)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        self.of_mut(seq).get_mut(seq)
    }

    /// The number of the unsettled entry with this offset.
    pub(crate) fn find(&self, offset: Offset) -> Option<u64> {
        self.each().find_map(|window| window.find(offset))
    }

    pub(crate) fn begin(&mut self, seq: u64) {
        self.of_mut(seq).begin(seq);
    }

    pub(crate) fn park(&mut self, seq: u64) {
        self.of_mut(seq).park(seq);
    }

    pub(crate) fn settle(&mut self, seq: u64) {
        self.of_mut(seq).settle(seq);
        self.join();
    }

    /// The part's stream has no further record below `offset` than those pushed.
    pub(crate) fn scanned(&mut self, part: Part, offset: Offset) {
        let offset = offset.min(self.limit(part));
        self.part_mut(part).scanned(offset);
        self.join();
    }

    /// Gives the memory back of windows that have nothing in them.
    pub(crate) fn release_memory(&mut self) {
        self.main.release_memory();
        if let Some(ahead) = &mut self.ahead {
            ahead.window.release_memory();
        }
    }

    /// The window ahead becomes main when all below the fork is settled.
    fn join(&mut self) {
        let done =
            |ahead: &mut Box<Ahead>| self.main.is_empty() && self.main.scanned_to() >= ahead.fork;
        if let Some(ahead) = self.ahead.take_if(done) {
            self.main = ahead.window;
            self.fetching = self.fetching.map(|_| Part::Main);
        }
    }
}

#[cfg(test)]
mod tests;
