//! Programs run on their shard's one thread, so a lane whose programs take long gives way: after each
//! event it rests for a multiple of the time that the event took, and its attempts come one after the
//! other. What is quick, as nearly all is, never waits.

use model::MonoMicros;

/// A program that takes this long for one event is slow: most take a hundredth of it.
pub(crate) const SLOW_US: u64 = 2_000;
/// So many times as long as it worked a slow lane rests: it takes a tenth of the thread.
const REST: u64 = 9;

/// How long a lane rests that worked so long, if its programs took so long for an event.
pub(crate) fn rest_us(worked_us: u64, each_us: u64) -> Option<u64> {
    (each_us >= SLOW_US).then(|| worked_us.saturating_mul(REST))
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// What the programs took for an event, the last times they ran. The least counts: a machine that
    /// is busy makes any look slow now and then.
    each_us: [u64; 3],
    /// When they may run next.
    next: MonoMicros,
}

impl Pace {
    pub(crate) fn took(&mut self, each_us: u64) {
        self.each_us.rotate_right(1);
        self.each_us[0] = each_us;
    }

    /// When it is the turn of an attempt with so many jobs; `None` for at once.
    pub(crate) fn turn(&mut self, jobs: usize, now: MonoMicros) -> Option<MonoMicros> {
        let each_us = self.each_us.into_iter().min().unwrap_or(0);
        let rest_us = rest_us(each_us, each_us)?;
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        let turn = self.next.max(now);
        self.next = turn.plus((each_us + rest_us).saturating_mul(jobs));
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_programs_take_a_tenth_and_quick_ones_do_not_wait() {
        let mut pace = Pace::default();
        let now = MonoMicros(1_000);
        assert_eq!(pace.turn(1, now), None);
        pace.took(SLOW_US - 1);
        assert_eq!(pace.turn(64, now), None);
        pace.took(40_000);
        pace.took(50_000);
        assert_eq!(pace.turn(1, now), None);
        pace.took(40_000);
        let turns: Vec<_> = (0..3).map(|_| pace.turn(1, now).map(|at| at.0)).collect();
        assert_eq!(turns, [Some(1_000), Some(401_000), Some(801_000)]);
        // A batch takes as long as its events.
        assert_eq!(pace.turn(10, now), Some(MonoMicros(1_201_000)));
        assert_eq!(pace.turn(1, now), Some(MonoMicros(5_201_000)));
        // Mended, or an event of another kind.
        pace.took(30);
        assert_eq!(pace.turn(1, now), None);
    }
}
