//! Takes the jobs of the next attempt out of the window.

use std::cmp::Reverse;

use model::MonoMicros;

use super::{Lane, Pick, Retries, Retry};
use crate::action::{Job, JobList};
use crate::flights::Seqs;
use crate::window::{Entry, Phase};
use crate::windows::Part;

/// The jobs of an attempt that begins.
pub(crate) struct Taken {
    pub(crate) seqs: Seqs,
    pub(crate) jobs: JobList,
    pub(crate) bytes: u64,
}

impl Lane {
    /// Takes what [`Lane::choose`] named; `None` only where there is nothing of the kind.
    pub(crate) fn take(&mut self, pick: Pick, now: MonoMicros) -> Option<Taken> {
        let taken = match pick {
            Pick::Fresh => self.take_fresh(now)?,
            Pick::Retry => self.take_retries(now)?,
            Pick::Split => self.take_split()?,
            Pick::Probe => self.take_probe()?,
        };
        self.in_flight += 1;
        self.used_at = now;
        self.concurrency.started(now, self.policy.concurrency_max);
        self.fresh_in_a_row = match pick {
            Pick::Fresh => self.fresh_in_a_row.saturating_add(1),
            _ => 0,
        };
        if let Some(per_s) = self.policy.rate_limit_per_s {
            self.rate.take(per_s, now);
        }
        self.probing |= pick == Pick::Probe;
        Some(taken)
    }

    fn take_fresh(&mut self, now: MonoMicros) -> Option<Taken> {
        let part = self.fresh_part();
        self.recent_in_a_row = match part {
            Part::Ahead => self.recent_in_a_row.saturating_add(1),
            Part::Main => 0,
        };
        let (seq, entry) = self.next_fresh(part)?;
        self.begin_fresh(seq);
        self.batch_since = now;
        if !self.policy.batches() {
            return Some(one(seq, entry));
        }
        let mut gather = Gather::of(seq, entry);
        while let Some((seq, entry)) = self.next_fresh(part) {
            if !gather.has_room(&entry, &self.policy) {
                break;
            }
            self.begin_fresh(seq);
            gather.add(seq, entry);
        }
        Some(gather.taken())
    }

    /// What was let go first, as it is the oldest.
    fn next_fresh(&self, part: Part) -> Option<(u64, Entry)> {
        let window = self.window.part(part);
        let ready = self.order.as_ref().filter(|_| part == Part::Main);
        if let Some(seq) = ready.and_then(|order| order.next_ready()) {
            return window.get(seq).map(|entry| (seq, *entry));
        }
        window.next_fresh()
    }

    fn begin_fresh(&mut self, seq: u64) {
        self.window.begin(seq);
        if let Some(order) = self.order.as_mut() {
            order.begin(seq);
        }
    }

    /// Whose turn it is: what came of late, or the backlog.
    fn fresh_part(&self) -> Part {
        let has = |part| self.window.part(part).fresh() > 0;
        match (has(Part::Main), self.window.is_forked() && has(Part::Ahead)) {
            (true, true) if self.is_backlogs_turn() => Part::Main,
            (_, true) => Part::Ahead,
            (_, false) => Part::Main,
        }
    }

    fn take_retries(&mut self, now: MonoMicros) -> Option<Taken> {
        let (seq, entry) = self.pop_retry()?;
        self.window.begin(seq);
        let mut gather = Gather::of(seq, entry);
        while let Some(Reverse(Retry { at, seq, .. })) = self.retries.peek().copied() {
            let entry = self.window.get(seq).copied();
            let fits = entry.is_some_and(|entry| gather.has_room(&entry, &self.policy));
            if at > now || !fits {
                break;
            }
            self.retries.pop();
            self.window.begin(seq);
            gather.add(seq, entry?);
        }
        Some(gather.taken())
    }

    fn take_split(&mut self) -> Option<Taken> {
        let splits = self.splits.as_mut()?;
        let seqs = splits.pop_front()?;
        if splits.is_empty() {
            self.splits = None;
        }
        let mut gather = Gather::default();
        for seq in seqs {
            let Some(entry) = self.window.get(seq).copied() else {
                continue;
            };
            self.window.begin(seq);
            gather.add(seq, entry);
        }
        Some(gather.taken())
    }

    /// One job that failed before (whether due or not), or one that is not tried yet: where there
    /// are both, in turns, so that neither a poison event nor a bad lot of new ones keeps a lane
    /// stopped for ever.
    fn take_probe(&mut self) -> Option<Taken> {
        let others_turn = self.probed_retry || self.suspect.is_one();
        self.probed_retry = false;
        if !(others_turn && self.has_untried())
            && let Some((seq, entry)) = self.pop_unprobed()
        {
            self.probed_retry = true;
            self.window.begin(seq);
            return Some(one(seq, entry));
        }
        let fresh = [Part::Main, Part::Ahead]
            .iter()
            .find_map(|part| self.next_fresh(*part));
        if let Some((seq, entry)) = fresh {
            self.begin_fresh(seq);
            return Some(one(seq, entry));
        }
        self.take_split()
    }

    /// The one that is due first, of those that had no turn as a probe yet; each has its turn again
    /// when all had theirs. Their own back-off stays what it is.
    fn pop_unprobed(&mut self) -> Option<(u64, Entry)> {
        let first = |probed: &[u64], retries: &Retries| {
            let all = retries.iter().map(|Reverse(retry)| *retry);
            all.filter(|retry| !probed.contains(&retry.seq)).min()
        };
        let found = first(&self.probed, &self.retries).or_else(|| {
            self.probed.clear();
            first(&self.probed, &self.retries)
        });
        let chosen = found?.seq;
        self.retries.retain(|Reverse(retry)| retry.seq != chosen);
        let entry = self.window.get(chosen).copied()?;
        debug_assert_eq!(entry.phase, Phase::Parked);
        Some((chosen, entry))
    }

    fn pop_retry(&mut self) -> Option<(u64, Entry)> {
        let Reverse(Retry { seq, .. }) = self.retries.pop()?;
        let entry = self.window.get(seq).copied()?;
        debug_assert_eq!(entry.phase, Phase::Parked);
        Some((seq, entry))
    }
}

fn one(seq: u64, entry: Entry) -> Taken {
    Taken {
        seqs: Seqs::One(seq),
        jobs: JobList::One(job(entry)),
        bytes: u64::from(entry.bytes),
    }
}

fn job(entry: Entry) -> Job {
    let attempt = u32::from(entry.attempts).saturating_add(1);
    Job {
        offset: entry.offset,
        bytes: entry.bytes,
        attempt,
    }
}

/// A batch that is being put together.
#[derive(Default)]
struct Gather {
    seqs: Vec<u64>,
    jobs: Vec<Job>,
    bytes: u64,
}

impl Gather {
    fn of(seq: u64, entry: Entry) -> Self {
        let mut gather = Self::default();
        gather.add(seq, entry);
        gather
    }

    fn has_room(&self, entry: &Entry, policy: &crate::LanePolicy) -> bool {
        let events = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        events < policy.batch_events_max
            && self.bytes + u64::from(entry.bytes) <= policy.batch_bytes_max
    }

    fn add(&mut self, seq: u64, entry: Entry) {
        self.seqs.push(seq);
        self.jobs.push(job(entry));
        self.bytes += u64::from(entry.bytes);
    }

    fn taken(self) -> Taken {
        match (self.seqs.as_slice(), self.jobs.as_slice()) {
            ([seq], [job]) => Taken {
                seqs: Seqs::One(*seq),
                jobs: JobList::One(*job),
                bytes: self.bytes,
            },
            _ => Taken {
                seqs: Seqs::Many(self.seqs),
                jobs: JobList::Many(self.jobs),
                bytes: self.bytes,
            },
        }
    }
}
