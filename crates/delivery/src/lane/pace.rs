//! Programs run on their shard's one thread, so a lane whose programs take long gives way: its attempts
//! are planned one after the other, and between them it rests for a multiple of the time that they took.
//! What is quick, as nearly all is, never waits.

use model::MonoMicros;

use crate::clock::Stopwatch;

/// A program that takes this long for one event is slow: most take a hundredth of it.
const SLOW_US: u64 = 2_000;
/// So many times as long as it worked a slow lane rests: it takes a tenth of the thread.
const REST: u64 = 9;
/// The weight of what was measured last, against that of all before.
const WEIGHT: u64 = 4;

/// How long programs took for the events of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    pub(crate) worked_us: u64,
    pub(crate) events: usize,
    /// By the thread's own time, which does not run while others have the CPU; else by the wall clock,
    /// which is cheaper to read.
    pub(crate) by_thread: bool,
}

impl Took {
    pub(crate) fn is_slow(self) -> bool {
        self.each_us() >= SLOW_US
    }

    fn each_us(self) -> u64 {
        self.worked_us / u64::try_from(self.events.max(1)).unwrap_or(u64::MAX)
    }
}

/// Runs one of an attempt's later programs, and adds its time to theirs.
pub(crate) fn timed<T>(took: &mut Option<Took>, run: impl FnOnce() -> T) -> T {
    let watch = took.map(|took| Stopwatch::start(took.by_thread));
    let out = run();
    if let (Some(took), Some(watch)) = (took, watch) {
        took.worked_us += watch.us();
    }
    out
}

/// How long a slow lane rests that worked so long.
pub(crate) fn rest_us(worked_us: u64) -> u64 {
    worked_us.saturating_mul(REST)
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// What its programs take for an event, of late.
    each_us: u64,
    /// By the wall clock the last one was slow: that may be the machine's fault.
    suspect: bool,
    /// When the next attempt may be planned.
    next: MonoMicros,
}

impl Pace {
    /// Whether the thread's own time is to be looked at.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// When it is the turn of its next attempt; `None` for at once, as of nearly all.
    pub(crate) fn turn(&self) -> Option<MonoMicros> {
        (self.each_us >= SLOW_US).then_some(self.next)
    }

    /// An attempt with so many jobs is planned now.
    pub(crate) fn begins(&mut self, jobs: usize, now: MonoMicros) {
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        let worked_us = self.each_us.saturating_mul(jobs);
        self.next = now.plus(worked_us.saturating_add(rest_us(worked_us)));
    }

    pub(crate) fn took(&mut self, took: Took) {
        self.suspect = took.is_slow();
        if took.by_thread || !self.suspect {
            self.each_us = (self.each_us * (WEIGHT - 1) + took.each_us()) / WEIGHT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(each_us: u64) -> Took {
        Took {
            worked_us: each_us * 3,
            events: 3,
            by_thread: false,
        }
    }

    fn thread(each_us: u64) -> Took {
        Took {
            worked_us: each_us,
            events: 1,
            by_thread: true,
        }
    }

    #[test]
    fn a_busy_machine_makes_nobody_slow() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.took(wall(50_000));
            assert!(pace.is_suspect());
            pace.took(thread(30));
            assert_eq!((pace.is_suspect(), pace.turn()), (false, None));
        }
    }

    #[test]
    fn later_programs_count_too() {
        for by_thread in [false, true] {
            let mut took = Some(Took {
                worked_us: 500,
                events: 1,
                by_thread,
            });
            let value = timed(&mut took, || {
                let watch = Stopwatch::start(by_thread);
                while watch.us() < SLOW_US {}
                7
            });
            assert_eq!(value, 7);
            assert!(took.unwrap().worked_us >= 500 + SLOW_US, "{took:?}");
            assert!(took.unwrap().is_slow());
        }
        assert_eq!(timed(&mut None, || 7), 7);
    }

    #[test]
    fn slow_programs_take_a_tenth() {
        let mut pace = Pace::default();
        pace.took(wall(40_000));
        for _ in 0..20 {
            pace.took(thread(40_000));
        }
        let now = MonoMicros(1_000);
        pace.begins(1, now);
        let next = pace.turn().unwrap();
        assert!((380_000..=400_000).contains(&next.since(now)), "{next:?}");
        // A batch takes as long as its events.
        pace.begins(10, now);
        let next = pace.turn().unwrap();
        assert!((3_800_000..=4_000_000).contains(&next.since(now)));
        // Two of three events are slow: the lane is.
        for _ in 0..10 {
            pace.took(wall(30));
            pace.took(thread(40_000));
            pace.took(thread(40_000));
            assert!(pace.turn().is_some());
        }
        // Mended.
        for _ in 0..20 {
            pace.took(wall(30));
        }
        assert_eq!(pace.turn(), None);
    }
}
