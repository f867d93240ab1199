//! One attempt: events into requests, requests sent, answers judged.
//!
//! ```text
//!   jobs with their events
//!     -> plan:  filtered or rejected at once, or units of work      (no I/O, in the shard's turn)
//!     -> run:   each unit's requests one after the other, judged    (a task of its own)
//!     -> Done:  one result for each job, and what a person may want to know of it
//! ```

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use catalog::{Judged, LookUpKey, Planned, RequestPlan, Sender, Stamp, StepResponse, Transformer};
use model::{AttemptId, Destination, Failure, JobResult, LaneId, RejectReason, UnixMillis};
use scheduler::{Job, Results};
use store::LaneKind;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::clock::Clock;
use crate::http::Failed;
use crate::http::request::BadRequest;
use crate::http::send::{Reuse, Sent};
use crate::lane::AttemptResult;
use crate::lane::pace::{self, Took};
use crate::message_id::message_id;
use crate::plan::Plan;
use crate::senders::Senders;
use crate::tokens::{Asker, Held, Tokens};
use crate::trial::{Exchange, Tap};

mod planning;

use planning::Unit;
pub(crate) use planning::{PLANNED_AT_ONCE_MAX, Planning};

/// The answer that says a token does not hold any more.
const UNAUTHORIZED: u16 = 401;

/// A job with its event.
pub(crate) struct Loaded {
    pub(crate) job: Job,
    pub(crate) event: Bytes,
    pub(crate) received_at: UnixMillis,
    pub(crate) has_integrations: bool,
}

/// An attempt under way.
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) lane: LaneId,
    pub(crate) kind: LaneKind,
    pub(crate) plan: Arc<Plan>,
    pub(crate) jobs: Vec<Loaded>,
}

/// An attempt that has ended.
pub(crate) struct Done {
    pub(crate) attempt: AttemptId,
    pub(crate) lane: LaneId,
    pub(crate) jobs: Vec<Loaded>,
    pub(crate) results: Results,
    pub(crate) latency_us: u64,
    pub(crate) report: Report,
}

/// What is told of an attempt: for dead letters, samples and the status.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) result: Option<AttemptResult>,
    /// Empty where nothing went wrong.
    pub(crate) detail: Cow<'static, str>,
    pub(crate) status: Option<u16>,
    pub(crate) response: Bytes,
    /// Requests that were sent a second time at once, as an idle connection had died: each may
    /// have arrived twice.
    pub(crate) resent: u32,
    /// The last request, with secrets not yet placed.
    pub(crate) request: Option<RequestPlan>,
    /// What the programs took, where they ran.
    pub(crate) took: Option<Took>,
}

impl Report {
    /// Nothing came back.
    fn failed(&mut self, failure: Failure, detail: String) {
        self.result = Some(AttemptResult::Other(failure.as_str()));
        self.status = None;
        self.response = Bytes::new();
        self.detail = Cow::Owned(detail);
    }
}

/// What the requests of one unit have in common.
struct Task<'a> {
    sender: Sender,
    destination: &'a Arc<Destination>,
    message_id: &'a str,
    jobs: usize,
    deadline: Instant,
}

/// Sends an attempt's requests.
pub(crate) struct Runner {
    pub(crate) senders: Rc<Senders>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) transformer: Rc<RefCell<Transformer>>,
    pub(crate) response_bytes_kept: usize,
    /// Only of a trial.
    pub(crate) tap: Option<Tap>,
}

impl Runner {
    /// Sends what was planned, unit after unit, and gives the result of every job. Cancel safe:
    /// dropping the future closes the connection in use.
    pub(crate) async fn run(self, attempt: Attempt, mut planning: Planning) -> Done {
        let began = Instant::now();
        let deadline = began + attempt.plan.attempt_timeout;
        let mut units = std::mem::take(&mut planning.units);
        // One that takes all the time must not keep the others from theirs again and again.
        let tries = |index: &usize| attempt.jobs.get(*index).map(|loaded| loaded.job.attempt);
        units.sort_by_key(|unit| unit.jobs.iter().filter_map(tries).max());
        for unit in units {
            let jobs = unit.jobs.clone();
            if Instant::now() >= deadline {
                // Nothing of it was sent, as those before it took so long: it is tried again.
                planning.settle(&jobs, |_| JobResult::Failed(Failure::Ours));
                continue;
            }
            let judged = self
                .run_unit(&attempt, unit, deadline, &mut planning.report)
                .await;
            match judged {
                Judged::All(result) => planning.settle(&jobs, |_| result),
                Judged::Each(results) => planning.settle(&jobs, |place| {
                    results
                        .get(place)
                        .copied()
                        .unwrap_or(JobResult::Failed(Failure::Ours))
                }),
            }
        }
        let latency_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (results, report) = planning.into_results();
        Done {
            attempt: attempt.id,
            lane: attempt.lane,
            jobs: attempt.jobs,
            results,
            latency_us,
            report,
        }
    }

    /// Step after step: each gives its answers to the next.
    async fn run_unit(
        &self,
        attempt: &Attempt,
        unit: Unit,
        deadline: Instant,
        report: &mut Report,
    ) -> Judged {
        let first = unit.jobs.first().and_then(|index| attempt.jobs.get(*index));
        let message_id = first.and_then(|loaded| message_id(&loaded.event));
        let sender = self.transformer.borrow().definition().sender();
        let task = Task {
            sender,
            destination: &attempt.plan.destination,
            message_id: &message_id.unwrap_or_default(),
            jobs: unit.jobs.len(),
            deadline,
        };
        let mut used = Vec::new();
        let judged = self.run_steps(&task, unit, report, &mut used).await;
        let is_fine = matches!(
            judged,
            Judged::All(JobResult::Delivered | JobResult::Filtered(_))
        );
        if !is_fine {
            // What was looked up may be what is wrong: the next attempt looks again.
            let mut transformer = self.transformer.borrow_mut();
            used.iter().for_each(|key| transformer.forget(key));
        }
        judged
    }

    async fn run_steps(
        &self,
        task: &Task<'_>,
        unit: Unit,
        report: &mut Report,
        used: &mut Vec<LookUpKey>,
    ) -> Judged {
        let Unit {
            mut requests,
            mut then,
            ..
        } = unit;
        while let Some(state) = then {
            let looked_up = Box::pin(self.look_up(task, requests, report, used));
            let responses = match looked_up.await {
                Ok(responses) => responses,
                Err(judged) => return judged,
            };
            let planned = self.timed(report, |transformer| {
                transformer.next_step(state, &responses)
            });
            (requests, then) = match planned {
                Planned::Send { requests, then } => (requests, then),
                Planned::Filtered(reason, detail) => {
                    report.detail = Cow::Owned(detail);
                    return Judged::All(JobResult::Filtered(reason));
                }
                Planned::Rejected(reason, detail) => {
                    report.detail = Cow::Owned(detail);
                    return Judged::All(JobResult::Rejected(reason));
                }
                Planned::Entry(_) => {
                    report.detail = Cow::Borrowed("a later step made an entry");
                    return Judged::All(JobResult::Rejected(RejectReason::TransformFailed));
                }
            };
        }
        // What the service does not want is no reason to keep the rest from it.
        let mut unwanted = None;
        let mut delivered = requests.is_empty();
        for request in requests {
            let answer = match self.send(task, request, report).await {
                Ok(answer) => answer,
                Err(result) => return Judged::All(result),
            };
            let judged = self.judge(&answer, task, report);
            match judged {
                Judged::All(JobResult::Delivered) => delivered = true,
                Judged::All(JobResult::Filtered(_)) => unwanted = Some((judged, answer)),
                judged => {
                    report.detail = Cow::Owned(answer.described(task.sender, &report.response));
                    return judged;
                }
            }
        }
        match unwanted {
            Some((judged, answer)) if !delivered => {
                report.detail = Cow::Owned(answer.described(task.sender, &report.response));
                judged
            }
            _ => Judged::All(JobResult::Delivered),
        }
    }

    /// The answers to an earlier step's requests, sent or known; or how the attempt ends with one
    /// that the next step does not want to see. `used`: those that a program allows to be kept.
    async fn look_up(
        &self,
        task: &Task<'_>,
        requests: Vec<RequestPlan>,
        report: &mut Report,
        used: &mut Vec<LookUpKey>,
    ) -> Result<Vec<StepResponse>, Judged> {
        let mut responses = Vec::with_capacity(requests.len());
        for request in requests {
            let key = request.look_up_key();
            used.extend(key);
            let known = key.and_then(|key| {
                let now = Instant::now().into_std();
                self.transformer.borrow_mut().known(&key, now)
            });
            if let Some(response) = known {
                responses.push(response);
                continue;
            }
            let answer = match self.send(task, request, report).await {
                Ok(answer) => answer,
                Err(result) => return Err(Judged::All(result)),
            };
            if !self.transformer.borrow().step_accepts(answer.status) {
                report.detail = Cow::Owned(answer.described(task.sender, &report.response));
                return Err(self.judge(&answer, task, report));
            }
            if answer.truncated {
                // Half of it would say that something is not there which is.
                let bytes = answer.body.len();
                let detail =
                    format!("the answer that the next step needs has more than {bytes} bytes");
                report.detail = Cow::Owned(detail);
                return Err(Judged::All(JobResult::Rejected(
                    RejectReason::TransformFailed,
                )));
            }
            let response = StepResponse {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            };
            if let Some(key) = key {
                let now = Instant::now().into_std();
                self.timed(report, |transformer| transformer.keep(key, &response, now));
            }
            responses.push(response);
        }
        Ok(responses)
    }

    fn judge(&self, answer: &Answer, task: &Task<'_>, report: &mut Report) -> Judged {
        self.timed(report, |transformer| {
            transformer.judge(
                answer.status,
                &answer.headers,
                &answer.body,
                answer.truncated,
                task.jobs,
                Clock::unix().0 / 1_000,
            )
        })
    }

    /// Runs a program: its time is added to what the attempt's programs took.
    fn timed<T>(&self, report: &mut Report, run: impl FnOnce(&mut Transformer) -> T) -> T {
        pace::timed(&mut report.took, || run(&mut self.transformer.borrow_mut()))
    }

    /// Sends one request: twice where an idle connection had died, or where the token that was held
    /// is refused.
    async fn send(
        &self,
        task: &Task<'_>,
        request: RequestPlan,
        report: &mut Report,
    ) -> Result<Answer, JobResult> {
        let mut token = self.token(task, &request, None, report).await?;
        let mut renewed = token.is_none();
        let mut reuse = Reuse::Allowed;
        let sent = loop {
            let stamp = Stamp {
                message_id: task.message_id,
                now_unix_s: Clock::unix().0 / 1_000,
                token: token.as_deref().map(|held| &held.value),
            };
            let last = self.transformer.borrow().finish(&request, stamp);
            let seen = self.tap.as_ref().map(|_| last.clone());
            let timeout = task.deadline.saturating_duration_since(Instant::now());
            if timeout.is_zero() {
                let detail = "the attempt's time was over before this request".to_owned();
                report.failed(Failure::Indeterminate, detail);
                return Err(JobResult::Failed(Failure::Indeterminate));
            }
            let sent = self
                .senders
                .send(task.sender, task.destination.id, last, reuse, timeout)
                .await;
            if let (Some(tap), Some(seen)) = (&self.tap, seen) {
                let exchange = Exchange::new(request.clone(), seen, &stamp, &sent);
                tap.borrow_mut().push(exchange);
            }
            match sent {
                Sent::Stale if reuse == Reuse::Allowed => {
                    report.resent += 1;
                    reuse = Reuse::Never;
                }
                Sent::Answered(answer) if answer.status == UNAUTHORIZED && !renewed => {
                    renewed = true;
                    let refused = token.as_deref();
                    token = self.token(task, &request, refused, report).await?;
                }
                sent => break sent,
            }
        };
        report.request = Some(request);
        match sent {
            Sent::Answered(answer) => {
                report.result = Some(AttemptResult::Status(answer.status));
                report.status = Some(answer.status);
                // Before it is cut: half a secret is not found.
                let token = token.as_deref().map(|held| &held.value);
                let body = self.transformer.borrow().strike(answer.body.clone(), token);
                report.response = head(&body, self.response_bytes_kept);
                Ok(Answer::of(answer))
            }
            Sent::Failed(Failed { failure, detail }) => {
                report.failed(failure, detail);
                Err(JobResult::Failed(failure))
            }
            Sent::Stale => Err(JobResult::Failed(Failure::Indeterminate)),
            Sent::BadRequest(problem) => Err(bad_request(report, &problem)),
        }
    }

    /// The token that a request needs, if it needs one.
    async fn token(
        &self,
        task: &Task<'_>,
        request: &RequestPlan,
        refused: Option<&Held>,
        report: &mut Report,
    ) -> Result<Option<Arc<Held>>, JobResult> {
        let grant = {
            let transformer = self.transformer.borrow();
            transformer
                .needs_token(request)
                .then(|| transformer.grant())
        };
        let grant = match grant {
            None => return Ok(None),
            Some(Ok(grant)) => grant,
            Some(Err(problem)) => {
                report.failed(Failure::Unauthorized, problem);
                return Err(JobResult::Failed(Failure::Unauthorized));
            }
        };
        let asker = Asker {
            client: Rc::clone(&self.senders.http),
            transformer: Rc::clone(&self.transformer),
            destination: Arc::clone(task.destination),
        };
        let got = Box::pin(self.tokens.get(grant, asker, refused));
        match tokio::time::timeout_at(task.deadline, got).await {
            Ok(Ok(held)) => Ok(Some(held)),
            Ok(Err(no)) => {
                report.failed(no.failure, no.detail.clone());
                report.status = no.status;
                report.response = Bytes::copy_from_slice(no.detail.as_bytes());
                report.request = no.request.clone();
                Err(JobResult::Failed(no.failure))
            }
            Err(_) => {
                let failure = Failure::Unavailable {
                    retry_after_s: None,
                };
                let detail = "no token within the attempt's time".to_owned();
                report.failed(failure, detail);
                Err(JobResult::Failed(failure))
            }
        }
    }
}

fn bad_request(report: &mut Report, problem: &BadRequest) -> JobResult {
    report.result = Some(AttemptResult::Other(RejectReason::BadRequest.as_str()));
    report.detail = Cow::Owned(problem.to_string());
    JobResult::Rejected(RejectReason::BadRequest)
}

/// The first bytes of a body. A copy where the body is longer, so that a few kept bytes do not
/// keep a connection's whole buffer alive.
fn head(body: &Bytes, bytes_max: usize) -> Bytes {
    match body.get(..bytes_max) {
        Some(head) if head.len() < body.len() => Bytes::copy_from_slice(head),
        _ => body.clone(),
    }
}
