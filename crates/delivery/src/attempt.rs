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
use std::time::Duration;

use bytes::Bytes;
use catalog::{
    Entry, Judged, LookUpKey, Origin, Planned, RequestPlan, Sender, Stamp, StepResponse, StepState,
    Transformer,
};
use model::{AttemptId, DestinationId, Failure, JobResult, LaneId, RejectReason, UnixMillis};
use scheduler::{Job, Results};
use store::LaneKind;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::clock::{Clock, Stopwatch};
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

/// Events that are turned into requests at once: other lanes of the shard wait meanwhile.
pub(crate) const PLANNED_AT_ONCE_MAX: usize = 8;
/// Of more than that, as many as this takes.
const PLANNED_AT_ONCE_US: u64 = 2_000;

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
    /// What the programs took for an event, where they ran.
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

/// Requests that belong together, and the jobs they are for.
pub(crate) struct Unit {
    requests: Vec<RequestPlan>,
    then: Option<StepState>,
    /// Indexes into the attempt's jobs.
    jobs: Vec<usize>,
}

/// What planning made of an attempt: some jobs may have ended already.
pub(crate) struct Planning {
    pub(crate) results: Vec<Option<JobResult>>,
    pub(crate) units: Vec<Unit>,
    pub(crate) report: Report,
}

impl Planning {
    /// Turns the jobs' events into requests. Runs programs, no I/O.
    pub(crate) fn of(attempt: &Attempt, transformer: &mut Transformer, by_thread: bool) -> Self {
        let watch = Stopwatch::start(by_thread);
        let mut gathering = Gathering::of(attempt);
        while gathering.next < attempt.jobs.len() {
            gathering.add(attempt, transformer);
        }
        let mut planning = gathering.finish(transformer);
        planning.took(watch.us(), attempt.jobs.len(), by_thread);
        planning
    }

    /// The same for many jobs, in parts, between which others have their turn; a lane that is known to
    /// be slow rests between them.
    pub(crate) async fn in_parts(
        attempt: &Attempt,
        transformer: &RefCell<Transformer>,
        by_thread: bool,
        is_slow: bool,
    ) -> Self {
        let mut gathering = Gathering::of(attempt);
        let mut worked_us = 0;
        while gathering.next < attempt.jobs.len() {
            let (part, watch) = (Clock::start(), Stopwatch::start(by_thread));
            while gathering.next < attempt.jobs.len() && part.mono().0 < PLANNED_AT_ONCE_US {
                gathering.add(attempt, &mut transformer.borrow_mut());
            }
            let took_us = watch.us();
            worked_us += took_us;
            if is_slow && gathering.next < attempt.jobs.len() {
                tokio::time::sleep(Duration::from_micros(pace::rest_us(took_us))).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        let watch = Stopwatch::start(by_thread);
        let mut planning = gathering.finish(&mut transformer.borrow_mut());
        planning.took(worked_us + watch.us(), attempt.jobs.len(), by_thread);
        planning
    }

    fn took(&mut self, worked_us: u64, jobs: usize, by_thread: bool) {
        let each_us = worked_us / u64::try_from(jobs.max(1)).unwrap_or(u64::MAX);
        self.report.took = Some(Took { each_us, by_thread });
    }

    fn add(&mut self, planned: Planned, jobs: Vec<usize>) {
        let result = match planned {
            // The blackhole: nothing to send is delivered.
            Planned::Send {
                requests,
                then: None,
            } if requests.is_empty() => JobResult::Delivered,
            Planned::Send { requests, then } => {
                self.units.push(Unit {
                    requests,
                    then,
                    jobs,
                });
                return;
            }
            Planned::Filtered(reason, detail) => {
                self.report.detail = Cow::Owned(detail);
                JobResult::Filtered(reason)
            }
            Planned::Rejected(reason, detail) => {
                self.report.result = Some(AttemptResult::Other(reason.as_str()));
                self.report.detail = Cow::Owned(detail);
                JobResult::Rejected(reason)
            }
            Planned::Entry(_) => {
                self.report.detail = Cow::Borrowed("the batch program made an entry");
                JobResult::Rejected(RejectReason::TransformFailed)
            }
        };
        self.settle(&jobs, |_| result);
    }

    fn settle(&mut self, jobs: &[usize], result: impl Fn(usize) -> JobResult) {
        for (place, job) in jobs.iter().enumerate() {
            if let Some(slot) = self.results.get_mut(*job) {
                *slot = Some(result(place));
            }
        }
    }

    /// The results of all jobs. A job that nothing was said of failed on our own account.
    pub(crate) fn into_results(self) -> (Results, Report) {
        let filled = |result: Option<JobResult>| result.unwrap_or(JobResult::Failed(Failure::Ours));
        let results = match self.results.as_slice() {
            [one] => Results::All(filled(*one)),
            _ => Results::Each(self.results.into_iter().map(filled).collect()),
        };
        (results, self.report)
    }
}

/// Planning under way: entries wait for others of their group.
struct Gathering {
    planning: Planning,
    /// Of the job that is planned next.
    next: usize,
    lane: Cow<'static, str>,
    groups: Vec<(Vec<Entry>, Vec<usize>)>,
}

impl Gathering {
    fn of(attempt: &Attempt) -> Self {
        Self {
            planning: Planning {
                results: vec![None; attempt.jobs.len()],
                units: Vec::new(),
                report: Report::default(),
            },
            next: 0,
            lane: lane_name(attempt.kind),
            groups: Vec::new(),
        }
    }

    /// Plans the next job.
    fn add(&mut self, attempt: &Attempt, transformer: &mut Transformer) {
        let index = self.next;
        self.next += 1;
        let Some(loaded) = attempt.jobs.get(index) else {
            return;
        };
        let origin = Origin {
            source: &attempt.plan.source,
            connection: attempt.plan.connection.name.as_str(),
            lane: &self.lane,
            offset: loaded.job.offset.0,
        };
        match transformer.event(&loaded.event, loaded.has_integrations, origin) {
            Planned::Entry(entry) => self.gather(entry, index),
            planned => self.planning.add(planned, vec![index]),
        }
    }

    /// Entries of one group go together; a batch rarely has more than one.
    fn gather(&mut self, entry: Entry, index: usize) {
        let same = |(entries, _): &&mut (Vec<Entry>, Vec<usize>)| {
            entries
                .first()
                .is_some_and(|first| first.group() == entry.group())
        };
        match self.groups.iter_mut().find(same) {
            Some((entries, jobs)) => {
                entries.push(entry);
                jobs.push(index);
            }
            None => self.groups.push((vec![entry], vec![index])),
        }
    }

    fn finish(self, transformer: &mut Transformer) -> Planning {
        let mut planning = self.planning;
        for (entries, jobs) in self.groups {
            match transformer.batch(entries) {
                // One of them may be at fault, or they are too much together: the halves will tell.
                Planned::Rejected(_, detail) if jobs.len() > 1 => {
                    planning.report.detail = Cow::Owned(detail);
                    let refused = Failure::BatchRefused { too_large: false };
                    planning.settle(&jobs, |_| JobResult::Failed(refused));
                }
                planned => planning.add(planned, jobs),
            }
        }
        planning
    }
}

/// What the requests of one unit have in common.
struct Task<'a> {
    sender: Sender,
    destination: DestinationId,
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
        for unit in std::mem::take(&mut planning.units) {
            let jobs = unit.jobs.clone();
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
            destination: attempt.plan.connection.destination,
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
            let planned = self.transformer.borrow_mut().next_step(state, &responses);
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
        let mut judged = Judged::All(JobResult::Delivered);
        for request in requests {
            let answer = match self.send(task, request, report).await {
                Ok(answer) => answer,
                Err(result) => return Judged::All(result),
            };
            judged = self.judge(&answer, task);
            if judged != Judged::All(JobResult::Delivered) {
                report.detail = Cow::Owned(answer.described());
                return judged;
            }
        }
        judged
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
            let mut transformer = self.transformer.borrow_mut();
            if !transformer.step_accepts(answer.status) {
                drop(transformer);
                report.detail = Cow::Owned(answer.described());
                return Err(self.judge(&answer, task));
            }
            let response = StepResponse {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            };
            if let Some(key) = key {
                transformer.keep(key, &response, Instant::now().into_std());
            }
            responses.push(response);
        }
        Ok(responses)
    }

    fn judge(&self, answer: &Answer, task: &Task<'_>) -> Judged {
        self.transformer.borrow().judge(
            answer.status,
            &answer.headers,
            &answer.body,
            answer.truncated,
            task.jobs,
            Clock::unix().0 / 1_000,
        )
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
            let sent = self
                .senders
                .send(task.sender, task.destination, last, reuse, timeout)
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
            destination: task.destination,
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

/// As `.record.lane` of programs.
fn lane_name(kind: LaneKind) -> Cow<'static, str> {
    match kind {
        LaneKind::Live => Cow::Borrowed(Origin::LIVE),
        LaneKind::Replay { id, .. } => Cow::Owned(format!("replay-{id}")),
        LaneKind::Redelivery => Cow::Borrowed(Origin::REDELIVERY),
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
