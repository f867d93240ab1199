//! A trial: events sent for real, once, outside any lane, for an author who wants to see what a
//! service answers. The sender is the very one of all lanes, with its egress guard.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use catalog::{Definition, FinalRequest, Origin, RequestPlan, Stamp};
use model::{
    AttemptId, Connection, ConnectionId, Destination, DestinationId, JobResult, LaneId, Name,
    Offset, Secret, Settings, SourceId,
};
use scheduler::Job;
use store::LaneKind;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::attempt::{Attempt, Loaded, Planning, Runner};
use crate::clock::Clock;
use crate::delivery::senders;
use crate::error::Error;
use crate::http::dial::tls_connector;
use crate::http::send::Sent;
use crate::options::Options;
use crate::plan::Plan;
use crate::tokens::Tokens;

/// What is to be tried.
pub struct Trial {
    pub definition: Arc<Definition>,
    /// As an operator writes them.
    pub settings: Settings,
    /// VRL, as a connection's own.
    pub filter: Option<String>,
    pub transform: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tried {
    /// In the order in which they were made, those of earlier steps too.
    pub exchanges: Vec<Exchange>,
    /// One for each event.
    pub results: Vec<JobResult>,
    /// Why, where there is more to say than the results do.
    pub detail: String,
}

/// A request that was made, and how it ended.
#[derive(Debug)]
pub struct Exchange {
    /// Without secrets and auth.
    pub plan: RequestPlan,
    /// As it went over the wire, secrets included: never show it.
    pub request: FinalRequest,
    /// Of its event, or its batch's first: as it went into signatures.
    pub message_id: String,
    /// The time that went into them.
    pub now_unix_s: u64,
    /// The token that was fetched for it, or was to hand.
    pub token: Option<Secret>,
    /// Or why there was none.
    pub answer: Result<Answer, String>,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// At most [`Options::response_bytes_max`].
    pub body: Bytes,
    pub truncated: bool,
}

/// Where a runner leaves what it sends and gets, if somebody wants to see it.
pub(crate) type Tap = Rc<RefCell<Vec<Exchange>>>;

impl Exchange {
    pub(crate) fn new(
        plan: RequestPlan,
        request: FinalRequest,
        stamp: &Stamp<'_>,
        sent: &Sent,
    ) -> Self {
        let answer = match sent {
            Sent::Answered(answer) => Ok(Answer {
                status: answer.status,
                headers: crate::answer::header_texts(&answer.headers),
                body: answer.body.clone(),
                truncated: answer.truncated,
            }),
            Sent::Failed(failed) => Err(failed.detail.clone()),
            Sent::Stale => Err("an idle connection had died; sent once more".to_owned()),
            Sent::BadRequest(problem) => Err(problem.to_string()),
        };
        Self {
            plan,
            request,
            message_id: stamp.message_id.to_owned(),
            now_unix_s: stamp.now_unix_s,
            token: stamp.token.cloned(),
            answer,
        }
    }
}

impl Trial {
    /// Sends `events` as one attempt would: a batch where the definition batches. On the caller's
    /// thread, whose stack must be at least [`catalog::STACK_BYTES_MIN`].
    ///
    /// # Errors
    /// The definition, its settings, the filter or the transform is wrong; certificates that cannot
    /// be read.
    pub fn send(&self, options: &Options, events: Vec<Bytes>) -> Result<Tried, Error> {
        let has = crate::senders::has(self.definition.sender());
        has.map_err(|problem| Error::Trial(problem.to_owned()))?;
        let tls = tls_connector(&options.egress).map_err(|source| Error::Certificates {
            path: options.egress.extra_ca_pem.clone().unwrap_or_default(),
            source,
        })?;
        let plan = Arc::new(self.plan()?);
        let mut transformer = plan.transformer().map_err(Error::Trial)?;
        let attempt = Attempt {
            id: AttemptId(0),
            lane: LaneId(0),
            kind: LaneKind::Live,
            plan,
            jobs: (0..).zip(events).map(loaded).collect(),
        };
        let planning = Planning::of(&attempt, &mut transformer, false);
        let tap = Tap::default();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let local = LocalSet::new();
        let done = local.block_on(&runtime, async {
            let runner = Runner {
                senders: Rc::new(senders(options, tls)),
                tokens: Arc::new(Tokens::new(None)),
                transformer: Rc::new(RefCell::new(transformer)),
                response_bytes_kept: options.response_bytes_kept,
                tap: Some(Rc::clone(&tap)),
            };
            runner.run(attempt, planning).await
        });
        drop(local);
        runtime.shutdown_background();
        let count = done.jobs.len();
        Ok(Tried {
            exchanges: tap.take(),
            results: (0..count).map(|job| done.results.get(job)).collect(),
            detail: done.report.detail.into_owned(),
        })
    }

    fn plan(&self) -> Result<Plan, Error> {
        let name =
            |text: &str| Name::new(text).map_err(|problem| Error::Trial(problem.to_string()));
        let tool = Origin::of_tool(0);
        let connection = Connection {
            id: ConnectionId(0),
            name: name(tool.connection)?,
            source: SourceId(0),
            destination: DestinationId(0),
            enabled: true,
            filter: self.filter.clone(),
            transform: self.transform.clone(),
            policy: Arc::default(),
        };
        let destination = Destination {
            id: DestinationId(0),
            name: name("trial")?,
            definition: self.definition.id().to_owned(),
            enabled: true,
            settings: self.settings.clone(),
        };
        let definition = Arc::clone(&self.definition);
        Ok(Plan::alone(
            tool.source,
            connection,
            destination,
            definition,
        ))
    }
}

fn loaded((index, event): (u64, Bytes)) -> Loaded {
    let job = Job {
        offset: Offset(index),
        bytes: u32::try_from(event.len()).unwrap_or(u32::MAX),
        attempt: 1,
    };
    Loaded {
        job,
        event,
        received_at: Clock::unix(),
        has_integrations: true,
    }
}
