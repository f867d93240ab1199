//! Jobs end: figures, dead letters, samples.

use bytes::Bytes;
use model::{LaneId, Offset, Outcome, UnixMillis};
use store::{Answer, AttemptSample, DeadLetter, LaneKind, Redelivered};

use super::Shard;
use crate::attempt::Done;
use crate::clock::Clock;
use crate::lane::{AttemptResult, Lane};
use crate::message_id::message_id;

impl Shard {
    pub(super) fn settled(
        &mut self,
        id: LaneId,
        offset: Offset,
        outcome: Outcome,
        attempts: u32,
        done: Option<&Done>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let unix = Clock::unix();
        let done = done.filter(|done| done.lane == id);
        let job = done.and_then(|done| done.jobs.iter().find(|loaded| loaded.job.offset == offset));
        let kind = lane.kind;
        let figures = lane.figures();
        figures.settled(outcome, unix);
        if let (Outcome::Delivered, LaneKind::Live, Some(job)) = (outcome, kind, job) {
            figures.delivered_after(unix.0.saturating_sub(job.received_at.0));
        }
        let given_up = matches!(outcome, Outcome::Rejected(_) | Outcome::Expired(_));
        if kind == LaneKind::Redelivery {
            let letter = Redelivered {
                id: offset.0,
                outcome,
                at: unix,
                attempts,
                answer: match given_up {
                    true => answer(lane, done),
                    false => Answer::default(),
                },
            };
            self.ledger.redelivered(letter, self.clock.mono());
        } else if given_up {
            self.bury(id, offset, outcome, attempts, done, unix);
        }
    }

    /// Makes a dead letter of a job.
    fn bury(
        &mut self,
        id: LaneId,
        offset: Offset,
        outcome: Outcome,
        attempts: u32,
        done: Option<&Done>,
        died_at: UnixMillis,
    ) {
        let (Outcome::Rejected(reason) | Outcome::Expired(reason)) = outcome else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let job = done.and_then(|done| done.jobs.iter().find(|loaded| loaded.job.offset == offset));
        let (event, received_at) = match job {
            Some(job) => (job.event.clone(), job.received_at),
            // Rare (a job that expired between attempts): the letter must be in the same commit
            // as the cursor that passes the job, so it is read here, whatever it costs.
            None => match self.log.read(offset) {
                Ok(record) => (record.payload, record.received_at),
                // The log has told of the damage; what is left is the letter without its event.
                Err(_) => (Bytes::new(), UnixMillis::default()),
            },
        };
        let letter = DeadLetter {
            connection: lane.connection(),
            offset,
            stream: lane.stream(),
            message_id: message_id(&event).unwrap_or_default().into_owned(),
            event,
            reason,
            expired: matches!(outcome, Outcome::Expired(_)),
            answer: answer(lane, done),
            attempts,
            received_at,
            died_at,
        };
        self.ledger.dead_letter(letter, self.clock.mono());
    }

    /// Keeps what an attempt looked like, now and then.
    pub(super) fn sample(
        &mut self,
        done: &mut Done,
        result: AttemptResult,
        failed: bool,
        at: UnixMillis,
    ) {
        let now = self.clock.mono();
        let Some(lane) = self.lanes.get_mut(&done.lane) else {
            return;
        };
        let (Some(request), Some(job)) = (done.report.request.take(), done.jobs.first()) else {
            return;
        };
        let Ok(definition) = lane.plan.definition.clone() else {
            return;
        };
        let figures = lane.figures();
        let (last, every_ms) = if failed {
            (
                &mut figures.sampled_failed_at,
                self.options.sample_failed_ms,
            )
        } else {
            (
                &mut figures.sampled_delivered_at,
                self.options.sample_delivered_ms,
            )
        };
        if last.is_some_and(|last| now.since(last) < every_ms.saturating_mul(1_000)) {
            return;
        }
        *last = Some(now);
        let sample = AttemptSample {
            lane: done.lane,
            offset: job.job.offset,
            at,
            attempt: job.job.attempt,
            status: done.report.status,
            result: result.text(),
            latency_ms: u32::try_from(done.latency_us / 1_000).unwrap_or(u32::MAX),
            request_line: cut(
                request.request_line(&definition),
                AttemptSample::TEXT_BYTES_MAX,
            ),
            response: done.report.response.clone(),
        };
        self.ledger.sample(sample, now);
    }
}

/// Why a job of this lane was given up.
fn answer(lane: &mut Lane, done: Option<&Done>) -> Answer {
    let report = done.map(|done| &done.report);
    let detail = match report.map(|report| report.detail.as_ref()) {
        Some(detail) if !detail.is_empty() => detail.to_owned(),
        _ => lane.figures().last_error.clone().unwrap_or_default(),
    };
    let response = report.map(|report| report.response.clone());
    Answer {
        detail: cut(detail, DeadLetter::DETAIL_BYTES_MAX),
        status: report.and_then(|report| report.status),
        response: response.filter(|response| !response.is_empty()),
    }
}

/// Cuts a text between characters.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}
