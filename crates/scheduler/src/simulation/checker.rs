//! Holds the scheduler to its promises at every step.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use model::{LaneProgress, Offset, Outcome};

use super::stream::Stream;
use crate::action::Job;
use crate::hash::Map;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub at_us: u64,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} us: {}", self.at_us, self.what)
    }
}

impl std::error::Error for Violation {}

/// What is known of one job of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    ended_ever: bool,
    /// In this life of the process, or by the progress that it began with.
    ended: bool,
    under_way: bool,
}

/// Attempts that a rate limit allows by now: a bucket that fills at the limit's pace.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_s: f64,
    attempts: f64,
    at_us: u64,
}

/// What may come early, in seconds at the limit's pace: as much as `rate` lets through, and a bit
/// for its rounding to microseconds.
const EARLY_S: f64 = 0.11;

impl Bucket {
    pub(crate) fn new(per_s: f64, now_us: u64) -> Self {
        Self {
            per_s,
            attempts: 1.0 + EARLY_S * per_s,
            at_us: now_us,
        }
    }

    /// Counts an attempt that begins now.
    pub(crate) fn take(&mut self, now_us: u64) -> Check {
        let passed = std::time::Duration::from_micros(now_us - self.at_us).as_secs_f64();
        let filled = self.attempts + passed * self.per_s;
        self.attempts = filled.min(1.0 + EARLY_S * self.per_s) - 1.0;
        self.at_us = now_us;
        if self.attempts < 0.0 {
            return Err(format!("more than {} attempts a second", self.per_s));
        }
        Ok(())
    }
}

/// One lane's jobs: those that may still be repeated after a crash, and no others.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// From job number `first` on, as far as any was touched. Those below have ended for good.
    jobs: VecDeque<Known>,
    first: u64,
    /// All jobs below this number have ended in this life, and were seen to.
    verified: u64,
    /// So have all of these, beyond a backlog.
    verified_ahead: Range<u64>,
    /// Jobs that ended again after a crash.
    pub(crate) repeated: u64,
    /// Where events of one key go in order.
    keys: Option<Keys>,
}

/// Each key's jobs.
#[derive(Debug, Default)]
struct Keys {
    of: Map<u64, KeyJobs>,
    /// Jobs below this number are listed.
    listed: u64,
}

#[derive(Debug, Default)]
struct KeyJobs {
    jobs: Vec<u64>,
    /// The place of the first that has not ended, or one before it.
    unended: usize,
}

type Check<T = ()> = Result<T, String>;

impl Checker {
    pub(crate) fn new(ordered: bool) -> Self {
        Self {
            keys: ordered.then(Keys::default),
            ..Self::default()
        }
    }

    pub(crate) fn started(&mut self, stream: &Stream, job: Job) -> Check {
        let (known, _) = self.known(stream, job.offset)?;
        if known.ended {
            return Err(format!("job {} is tried again after it ended", job.offset));
        }
        if known.under_way {
            return Err(format!("job {} is tried twice at once", job.offset));
        }
        if job.attempt == 0 {
            return Err(format!("job {} has no attempt number", job.offset));
        }
        known.under_way = true;
        self.in_order(stream, job.offset)
    }

    /// All earlier jobs of its key have ended.
    fn in_order(&mut self, stream: &Stream, offset: Offset) -> Check {
        let Some(mut keys) = self.keys.take() else {
            return Ok(());
        };
        for index in keys.listed..stream.len() {
            if let Some(key) = stream.key(index) {
                keys.of.entry(key.0.get()).or_default().jobs.push(index);
            }
        }
        keys.listed = stream.len();
        let index = stream.find(offset);
        let key = index.and_then(|index| stream.key(index));
        let first = key.and_then(|key| {
            let of_key = keys.of.entry(key.0.get()).or_default();
            let ended = |job: &u64| self.first_unended(*job..*job + 1).is_none();
            while of_key.jobs.get(of_key.unended).is_some_and(ended) {
                of_key.unended += 1;
            }
            of_key.jobs.get(of_key.unended).copied()
        });
        self.keys = Some(keys);
        match first {
            Some(first) if Some(first) != index => Err(format!(
                "job {offset} is tried before job number {first} of its key has ended"
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn finished(&mut self, stream: &Stream, offset: Offset) -> Check {
        let (known, _) = self.known(stream, offset)?;
        known.under_way = false;
        Ok(())
    }

    /// Returns the job's number where it is its first end ever.
    pub(crate) fn settled(
        &mut self,
        stream: &Stream,
        offset: Offset,
        outcome: Outcome,
    ) -> Check<Option<u64>> {
        let (known, index) = self.known(stream, offset)?;
        if known.ended {
            return Err(format!("job {offset} ends twice, at last as {outcome:?}"));
        }
        known.ended = true;
        let again = std::mem::replace(&mut known.ended_ever, true);
        self.repeated += u64::from(again);
        Ok((!again).then_some(index))
    }

    /// The progress to be saved claims no more and no less than what has ended.
    pub(crate) fn saved(&mut self, stream: &Stream, progress: &LaneProgress) -> Check {
        let below = stream.index_of(progress.cursor);
        if below < self.verified {
            return Err(format!("cursor {} has gone back", progress.cursor));
        }
        if let Some(at) = self.first_unended(self.verified..below) {
            let cursor = progress.cursor;
            return Err(format!(
                "cursor {cursor} has passed unsettled job number {at}"
            ));
        }
        self.verified = below;
        let ahead = self.saved_ahead(stream, progress)?;
        for offset in &progress.settled_above {
            let index = stream.find(*offset);
            let ended = index.is_some_and(|at| self.first_unended(at..at + 1).is_none());
            let told = *offset < progress.cursor || is_within(progress, *offset);
            if !ended || told {
                return Err(format!("job {offset} is saved as settled and is not"));
            }
        }
        if !progress.settled_above.is_sorted() {
            return Err("settled offsets are not ascending".to_owned());
        }
        let claimed = below + ahead + size(progress.settled_above.len());
        if progress.counts.settled() != claimed {
            let counted = progress.counts.settled();
            return Err(format!(
                "{counted} jobs are counted as ended, {claimed} have"
            ));
        }
        Ok(())
    }

    /// The jobs that the progress claims as settled beyond a gap.
    fn saved_ahead(&mut self, stream: &Stream, progress: &LaneProgress) -> Check<u64> {
        let Some(span) = progress.ahead else {
            return Ok(0);
        };
        let range = stream.index_of(span.from)..stream.index_of(span.to);
        let seen = &self.verified_ahead;
        let unseen = if seen.start == range.start {
            seen.end..range.end
        } else {
            range.clone()
        };
        if self.first_unended(unseen).is_some() {
            return Err(format!("{span:?} holds an unsettled job"));
        }
        let jobs = range.end - range.start;
        if jobs != span.jobs || span.from <= progress.cursor {
            let cursor = progress.cursor;
            return Err(format!(
                "{span:?} holds {jobs} jobs, the cursor is {cursor}"
            ));
        }
        self.verified_ahead = range;
        Ok(jobs)
    }

    /// The progress is durable: what lies below its cursor is never tried again.
    pub(crate) fn forget_below(&mut self, stream: &Stream, progress: &LaneProgress) {
        let below = stream.index_of(progress.cursor);
        let gone = self.place(below).unwrap_or(0).min(self.jobs.len());
        self.jobs.drain(..gone);
        self.first = self.first.max(below);
    }

    /// The process was killed; a new one begins with this progress, the last that was durable.
    pub(crate) fn reborn(&mut self, stream: &Stream, progress: &LaneProgress) {
        self.verified = stream.index_of(progress.cursor);
        self.verified_ahead = 0..0;
        let keys = self.keys.iter_mut().flat_map(|keys| keys.of.values_mut());
        keys.for_each(|of_key| of_key.unended = 0);
        for known in &mut self.jobs {
            known.under_way = false;
            known.ended = false;
        }
        if let Some(span) = progress.ahead {
            for index in stream.index_of(span.from)..stream.index_of(span.to) {
                if let Some(known) = self.at_mut(index) {
                    known.ended = true;
                }
            }
        }
        for offset in &progress.settled_above {
            if let Ok((known, _)) = self.known(stream, *offset) {
                known.ended = true;
            }
        }
    }

    fn first_unended(&self, mut range: Range<u64>) -> Option<u64> {
        let ended = |index| {
            let known = self.place(index).and_then(|place| self.jobs.get(place));
            known.is_some_and(|known| known.ended)
        };
        range.find(|index| *index >= self.first && !ended(*index))
    }

    fn known(&mut self, stream: &Stream, offset: Offset) -> Check<(&mut Known, u64)> {
        let index = stream.find(offset);
        let index = index.ok_or_else(|| format!("job {offset} is not of this lane's stream"))?;
        let known = self.at_mut(index);
        let known = known.ok_or_else(|| format!("job {offset} is back after it ended for good"))?;
        Ok((known, index))
    }

    /// `None` where the job has ended for good.
    fn at_mut(&mut self, index: u64) -> Option<&mut Known> {
        let place = self.place(index)?;
        if self.jobs.len() <= place {
            self.jobs.resize(place + 1, Known::default());
        }
        self.jobs.get_mut(place)
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }
}

fn size(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}

fn is_within(progress: &LaneProgress, offset: Offset) -> bool {
    progress
        .ahead
        .is_some_and(|span| (span.from..span.to).contains(&offset))
}
