//! Holds the scheduler to its promises at every step.

use std::fmt;

use model::{LaneProgress, Offset, Outcome};

use super::stream::{Record, Stream};
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

/// One lane's jobs.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    jobs: Vec<Known>,
    unended: usize,
    /// All jobs below this number have ended in this life, and were seen to.
    verified: usize,
    /// Jobs that ended again after a crash.
    pub(crate) repeated: u64,
    /// Where events of one key go in order: each key's jobs, and the first that has not ended.
    keys: Option<Map<u64, KeyJobs>>,
}

#[derive(Debug, Default)]
struct KeyJobs {
    jobs: Vec<usize>,
    unended: usize,
}

type Check<T = ()> = Result<T, String>;

impl Checker {
    pub(crate) fn new(ordered: bool) -> Self {
        Self {
            keys: ordered.then(Map::default),
            ..Self::default()
        }
    }

    /// The stream has grown.
    pub(crate) fn grow(&mut self, stream: &Stream) {
        let len = stream.len();
        self.unended += len.saturating_sub(self.jobs.len());
        if let Some(keys) = self.keys.as_mut() {
            for index in self.jobs.len()..len {
                if let Some(key) = stream.key(index) {
                    keys.entry(key.0.get()).or_default().jobs.push(index);
                }
            }
        }
        self.jobs.resize(len, Known::default());
    }

    /// Every job of the stream has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.unended == 0
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
        let Some((index, record)) = stream.find(offset) else {
            return Ok(());
        };
        let (Some(keys), Some(key)) = (self.keys.as_mut(), record.fetch.key) else {
            return Ok(());
        };
        let of_key = keys.entry(key.0.get()).or_default();
        let ended = |job: &usize| self.jobs.get(*job).is_some_and(|known| known.ended);
        while of_key.jobs.get(of_key.unended).is_some_and(ended) {
            of_key.unended += 1;
        }
        match of_key.jobs.get(of_key.unended) {
            Some(first) if *first != index => Err(format!(
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

    /// Returns the job's record where it is its first end ever.
    pub(crate) fn settled(
        &mut self,
        stream: &Stream,
        offset: Offset,
        outcome: Outcome,
    ) -> Check<Option<Record>> {
        let (known, record) = self.known(stream, offset)?;
        if known.ended {
            return Err(format!("job {offset} ends twice, at last as {outcome:?}"));
        }
        known.ended = true;
        let again = std::mem::replace(&mut known.ended_ever, true);
        if again {
            self.repeated += 1;
            return Ok(None);
        }
        self.unended -= 1;
        Ok(Some(record))
    }

    /// The progress to be saved claims no more and no less than what has ended.
    pub(crate) fn saved(&mut self, stream: &Stream, progress: &LaneProgress) -> Check {
        let below = stream.index_of(progress.cursor);
        if below < self.verified {
            return Err(format!("cursor {} has gone back", progress.cursor));
        }
        let unseen = self.jobs.get(self.verified..below).unwrap_or_default();
        if let Some(at) = unseen.iter().position(|known| !known.ended) {
            return Err(format!(
                "cursor {} has passed unsettled job number {}",
                progress.cursor,
                self.verified + at
            ));
        }
        self.verified = below;
        let ahead = self.saved_ahead(stream, progress)?;
        for offset in &progress.settled_above {
            let index = stream.find(*offset).map(|(index, _)| index);
            let ended = index
                .and_then(|index| self.jobs.get(index))
                .is_some_and(|k| k.ended);
            let told = *offset < progress.cursor || is_within(progress, *offset);
            if !ended || told {
                return Err(format!("job {offset} is saved as settled and is not"));
            }
        }
        if !progress.settled_above.is_sorted() {
            return Err("settled offsets are not ascending".to_owned());
        }
        let above = progress.settled_above.len() + ahead;
        let claimed = u64::try_from(below + above).unwrap_or(u64::MAX);
        if progress.counts.settled() != claimed {
            let counted = progress.counts.settled();
            return Err(format!(
                "{counted} jobs are counted as ended, {claimed} have"
            ));
        }
        Ok(())
    }

    /// The jobs that the progress claims as settled beyond a gap.
    fn saved_ahead(&self, stream: &Stream, progress: &LaneProgress) -> Check<usize> {
        let Some(span) = progress.ahead else {
            return Ok(0);
        };
        let (from, to) = (stream.index_of(span.from), stream.index_of(span.to));
        let jobs = self.jobs.get(from..to).unwrap_or_default();
        if jobs.iter().any(|known| !known.ended) {
            return Err(format!("{span:?} holds an unsettled job"));
        }
        let right = u64::try_from(jobs.len()) == Ok(span.jobs);
        if !right || span.from <= progress.cursor {
            return Err(format!(
                "{span:?} holds {} jobs, the cursor is {}",
                jobs.len(),
                progress.cursor
            ));
        }
        Ok(jobs.len())
    }

    /// The process was killed; a new one begins with this progress.
    pub(crate) fn reborn(&mut self, stream: &Stream, progress: &LaneProgress) {
        let below = stream.index_of(progress.cursor);
        self.verified = below;
        for of_key in self.keys.iter_mut().flat_map(|keys| keys.values_mut()) {
            of_key.unended = 0;
        }
        for (index, known) in self.jobs.iter_mut().enumerate() {
            known.under_way = false;
            known.ended = index < below;
        }
        if let Some(span) = progress.ahead {
            let (from, to) = (stream.index_of(span.from), stream.index_of(span.to));
            let jobs = self.jobs.get_mut(from..to).unwrap_or_default();
            jobs.iter_mut().for_each(|known| known.ended = true);
        }
        for offset in &progress.settled_above {
            if let Ok((known, _)) = self.known(stream, *offset) {
                known.ended = true;
            }
        }
    }

    fn known(&mut self, stream: &Stream, offset: Offset) -> Check<(&mut Known, Record)> {
        let unknown = || format!("job {offset} is not of this lane's stream");
        let (index, record) = stream.find(offset).ok_or_else(unknown)?;
        let known = self.jobs.get_mut(index).ok_or_else(unknown)?;
        Ok((known, record))
    }
}

fn is_within(progress: &LaneProgress, offset: Offset) -> bool {
    progress
        .ahead
        .is_some_and(|span| (span.from..span.to).contains(&offset))
}
