//! Tokens that are fetched: kept once for all shards, and asked for once however many wait.
//!
//! ```text
//!   attempts of any lane, on any shard
//!     -> slot of the grant: a fresh token is read without waiting
//!                | none, or a destination has just refused it
//!                v
//!     -> lock -> fetch: request and judgement by the catalog, sent by the shard's own client
//!          '-- whoever waited meanwhile takes what came of it, a failure too
//! ```
//!
//! Two destinations with the same settings share a slot, so that a refresh token that the service
//! changes at every use is used by one at a time. The one it was changed to is sealed in the store
//! before the token is used: a crash does not cost the operator a new consent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use catalog::{GrantId, RequestPlan, Token, TokenAnswer, TokenRequest, Transformer};
use model::{Destination, Failure, Secret};
use store::Store;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::clock::Clock;
use crate::http::Failed;
use crate::http::request::prepare;
use crate::http::send::{Client, Reuse, Sent};

/// Grants that are remembered. One that is forgotten is asked again.
const GRANTS_MAX: usize = 4_096;
/// One request for a token, from the name's lookup to the last byte of the answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// A token is renewed so long before it dies, or when half of its life is over.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Where that fails, the token is used while it lives, and renewing waits so long.
const RENEW_AGAIN: Duration = Duration::from_secs(10);
/// What the store calls a refresh token that a service has changed: this, and the grant's name.
const ROTATED: &str = "rotated.";

/// A token in use.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) value: Secret,
    renew_at: Instant,
    dies_at: Instant,
}

impl Held {
    fn of(token: Token, now: Instant) -> Self {
        let life = Duration::from_secs(token.lifetime_s);
        Self {
            value: token.value,
            renew_at: now + life.saturating_sub(RENEW_BEFORE.min(life / 2)),
            dies_at: now + life,
        }
    }
}

/// Why there is no token.
pub(crate) struct NoToken {
    pub(crate) failure: Failure,
    /// No secret in it.
    pub(crate) detail: String,
    /// What was asked: for samples.
    pub(crate) request: Option<RequestPlan>,
    pub(crate) status: Option<u16>,
}

pub(crate) type Outcome = Result<Arc<Held>, Arc<NoToken>>;

/// Who asks: what a fetch needs of its shard and lane.
pub(crate) struct Asker {
    pub(crate) client: Rc<Client>,
    pub(crate) transformer: Rc<RefCell<Transformer>>,
    pub(crate) destination: Arc<Destination>,
}

/// All tokens of the process. See the module.
pub(crate) struct Tokens {
    /// `None` in a trial, which keeps nothing.
    store: Option<Store>,
    slots: Mutex<HashMap<GrantId, Arc<Slot>>>,
}

/// One grant's token.
#[derive(Default)]
struct Slot {
    held: ArcSwapOption<Held>,
    /// Fetches that have ended.
    fetches: AtomicU64,
    fetching: Arc<tokio::sync::Mutex<Fetching>>,
}

/// What only the one who fetches touches.
#[derive(Default)]
struct Fetching {
    last: Option<Outcome>,
    /// The refresh token that the service gave last.
    refresh_token: Option<Secret>,
    /// Whether the store was asked for it.
    is_loaded: bool,
}

impl Slot {
    fn fresh(&self, now: Instant) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| now < held.renew_at)
    }

    /// Forgets a token that a destination refused, unless it has been replaced already.
    fn forget(&self, refused: &Held) {
        let held = self.held.load();
        if held
            .as_ref()
            .is_some_and(|held| held.value == refused.value)
        {
            self.held.compare_and_swap(&held, None);
        }
    }
}

impl Tokens {
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self {
            store,
            slots: Mutex::default(),
        }
    }

    /// The grant's token: the one that is held, or a new one. `refused` is one that a destination
    /// has just refused. Cancel safe: a fetch that has begun goes on for those who come after.
    ///
    /// Must be called within a `LocalSet`.
    pub(crate) async fn get(
        self: &Arc<Self>,
        grant: GrantId,
        asker: Asker,
        refused: Option<&Held>,
    ) -> Outcome {
        let slot = self.slot(grant);
        if let Some(refused) = refused {
            slot.forget(refused);
        }
        if let Some(held) = slot.fresh(Instant::now()) {
            return Ok(held);
        }
        let seen = slot.fetches.load(Ordering::Acquire);
        let fetching = Arc::clone(&slot.fetching).lock_owned().await;
        if slot.fetches.load(Ordering::Acquire) != seen
            && let Some(outcome) = &fetching.last
        {
            return outcome.clone();
        }
        let fetch = Arc::clone(self).fetch(grant, slot, fetching, asker);
        match tokio::task::spawn_local(fetch).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Arc::new(NoToken {
                failure: Failure::Ours,
                detail: "the request for a token was cut off".to_owned(),
                request: None,
                status: None,
            })),
        }
    }

    fn slot(&self, grant: GrantId) -> Arc<Slot> {
        // The map is whole after any panic: nothing in here is half done.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&grant) {
            return Arc::clone(slot);
        }
        if slots.len() >= GRANTS_MAX {
            // The one that is to be renewed first costs the least. One in use is somebody's lock.
            let unused = slots
                .iter()
                .filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let next = unused.min_by_key(|(_, slot)| slot.held.load().as_ref().map(|h| h.renew_at));
            if let Some(grant) = next.map(|(grant, _)| *grant) {
                slots.remove(&grant);
            }
        }
        Arc::clone(slots.entry(grant).or_default())
    }

    async fn fetch(
        self: Arc<Self>,
        grant: GrantId,
        slot: Arc<Slot>,
        mut fetching: OwnedMutexGuard<Fetching>,
        asker: Asker,
    ) -> Outcome {
        let fetched = self.ask(grant, &mut fetching, &asker).await;
        if let Err(problem) = &fetched {
            tracing::warn!(
                destination = %asker.destination.name,
                failure = problem.failure.as_str(),
                detail = problem.detail,
                "no token"
            );
        }
        let outcome = outcome(fetched, slot.held.load_full(), Instant::now());
        slot.held.store(outcome.as_ref().ok().map(Arc::clone));
        fetching.last = Some(outcome.clone());
        slot.fetches.fetch_add(1, Ordering::Release);
        outcome
    }

    async fn ask(
        &self,
        grant: GrantId,
        fetching: &mut Fetching,
        asker: &Asker,
    ) -> Result<Token, NoToken> {
        if !fetching.is_loaded && asker.transformer.borrow().token_rotates() {
            fetching.refresh_token = self.rotated(grant).await?;
            fetching.is_loaded = true;
        }
        let refresh_token = fetching.refresh_token.as_ref();
        let now_unix_s = Clock::unix().0 / 1_000;
        let made = asker
            .transformer
            .borrow()
            .token_request(refresh_token, now_unix_s);
        let TokenRequest { plan, request } =
            made.map_err(|detail| no_token(Failure::Unauthorized, detail))?;
        let of_request = |failure, detail, status| NoToken {
            failure,
            detail,
            request: Some(plan.clone()),
            status,
        };
        let prepared = prepare(&request.method, request.url, request.headers, request.body)
            .map_err(|bad| of_request(Failure::Unauthorized, format!("no token, {bad}"), None))?;
        let sent = asker.client.send(prepared, Reuse::Never, FETCH_TIMEOUT);
        let answer = match sent.await {
            Sent::Answered(answer) => Answer::of(answer),
            Sent::Failed(Failed { failure, detail }) => {
                let detail = format!("no token, {detail}");
                return Err(of_request(unsent(failure), detail, None));
            }
            Sent::Stale => {
                let detail = "no token, the connection died".to_owned();
                return Err(of_request(unsent(Failure::Indeterminate), detail, None));
            }
            // What `prepare` refuses it has refused already.
            Sent::BadRequest(bad) => {
                let detail = format!("no token, {bad}");
                return Err(of_request(Failure::Unauthorized, detail, None));
            }
        };
        let judged = asker.transformer.borrow().judge_token(TokenAnswer {
            status: answer.status,
            headers: &answer.headers,
            body: &answer.body,
            refresh_token,
            now_unix_s: Clock::unix().0 / 1_000,
        });
        let token = judged
            .map_err(|refused| of_request(refused.failure, refused.detail, Some(answer.status)))?;
        if let Some(rotated) = &token.refresh_token {
            self.keep_rotated(grant, rotated).await;
            fetching.refresh_token = Some(rotated.clone());
        }
        Ok(token)
    }

    /// The refresh token that the service gave last, before this process began.
    ///
    /// # Errors
    /// It cannot be known. To use the configured one in its place could cost the operator a new consent:
    /// services revoke all where an old one comes back.
    async fn rotated(&self, grant: GrantId) -> Result<Option<Secret>, NoToken> {
        let Some(store) = self.store.clone() else {
            return Ok(None);
        };
        let name = rotated_name(grant);
        let found = tokio::task::spawn_blocking(move || store.get_secret(&name));
        let problem = match found.await {
            Ok(Ok(secret)) => return Ok(secret),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let failure = Failure::Unavailable {
            retry_after_s: None,
        };
        let detail = format!("no token, the changed refresh token could not be read: {problem}");
        Err(no_token(failure, detail))
    }

    /// Seals it before the token is used: the old one is worth nothing any more.
    async fn keep_rotated(&self, grant: GrantId, rotated: &Secret) {
        let Some(store) = self.store.clone() else {
            tracing::warn!(
                "the service gave a new refresh token, which is not kept here: the old one may be \
                 worth nothing now; give an access_token instead"
            );
            return;
        };
        let (name, secret) = (rotated_name(grant), rotated.clone());
        let put = move || store.put_secret(&name, &secret, Clock::unix());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(put).await {
            tracing::error!(%error, "a changed refresh token could not be kept: a restart needs a new one");
        }
    }
}

/// What a fetch comes to: where it failed, the token that is held is used while it lives.
fn outcome(fetched: Result<Token, NoToken>, held: Option<Arc<Held>>, now: Instant) -> Outcome {
    let problem = match fetched {
        Ok(token) => return Ok(Arc::new(Held::of(token, now))),
        Err(problem) => problem,
    };
    match held.filter(|held| now < held.dies_at) {
        Some(held) => Ok(Arc::new(Held {
            renew_at: held.dies_at.min(now + RENEW_AGAIN),
            ..(*held).clone()
        })),
        None => Err(Arc::new(problem)),
    }
}

fn rotated_name(grant: GrantId) -> String {
    format!("{ROTATED}{}", grant.name())
}

fn no_token(failure: Failure, detail: String) -> NoToken {
    NoToken {
        failure,
        detail,
        request: None,
        status: None,
    }
}

/// No event has been sent yet: nothing may have arrived.
fn unsent(failure: Failure) -> Failure {
    match failure {
        Failure::Indeterminate => Failure::Unavailable {
            retry_after_s: None,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
