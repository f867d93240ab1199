//! A transformer: everything that turns one connection's events into requests, and answers into
//! results. One for each lane.
//!
//! ```text
//! event --integrations--> filter --> transform --> event types --> program --> requests | entry
//!            |              |           |              |             |
//!            '--------------'-- filtered(reason) ------'-------------'--> or rejected(reason)
//! ```

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use memchr::memmem;
use model::registry::CheckedSettings;
use model::{FilterReason, RejectReason, Secret};
use vrl::compiler::runtime::Runtime;
use vrl::value::Value;

use crate::binding::{Auth, Binding};
use crate::definition::{Definition, Payload, Sender};
use crate::error::Error;
use crate::events::{self, Head};
use crate::finish::{self, FinalRequest, Stamp};
use crate::json;
use crate::judge::{self, Judged};
use crate::limits::BODY_BYTES_MAX;
use crate::look_up::LookUps;
use crate::marks;
use crate::origin::Origin;
use crate::program::scope::{
    ENTRIES, EVENT, EVENT_JSON, FIRST, GROUP, RECORD, RESPONSES, SETTINGS, STATE, Slot,
};
use crate::program::{Program, Role, Scope, Source, Stop, run};
use crate::request::{Body, RequestPlan};
use crate::struck;

mod attempt;
mod reply;

/// What an event, or a batch, or a step came to.
#[derive(Debug)]
pub enum Planned {
    /// Send these, in any order. With `then`, give their responses to [`Transformer::next_step`];
    /// without, the job ends with them. A blackhole's event sends nothing and is delivered, and so
    /// may a last step, where earlier ones have done all there was to do.
    Send {
        requests: Vec<RequestPlan>,
        then: Option<StepState>,
    },
    /// Gather it with others of its [`Entry::group`] for [`Transformer::batch`].
    Entry(Entry),
    Filtered(FilterReason, String),
    Rejected(RejectReason, String),
}

impl Planned {
    fn nothing_to_send() -> Self {
        Self::Send {
            requests: Vec::new(),
            then: None,
        }
    }
}

/// One event's part of a batch.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) value: Value,
    pub(crate) group: Option<String>,
    /// What `batch.vrl` sees as `.first`, where this is the first entry of a batch.
    first: Value,
    bytes: usize,
}

impl Entry {
    /// A batch holds entries of one group.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Its size as JSON, for the batch's limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Whether an event's type is known to be one that there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// The log holds no others.
    ByIngest,
    Perhaps,
}

/// Where a look-up-then-write stands.
#[derive(Debug, Clone)]
pub struct StepState {
    /// The step that runs next.
    step: usize,
    event: Value,
    /// Null where no program looks at it.
    record: Value,
    /// The event's own JSON, where a program of the definition wants it; else null.
    text: Value,
    state: Value,
}

/// The answer to one request of a step.
#[derive(Debug, Clone)]
pub struct StepResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// See the module.
#[derive(Debug)]
pub struct Transformer {
    definition: Arc<Definition>,
    binding: Binding,
    /// Whether a program of the definition wants the event's own JSON.
    wants_text: bool,
    /// Only of definitions that forward events: whether they go as lists.
    forwards_lists: bool,
    /// Whether its programs look at `.record`.
    wants_origin: bool,
    destination_names: Vec<String>,
    /// An event must pass all of them.
    filters: Vec<Arc<Program>>,
    transform: Option<Arc<Program>>,
    runtime: Runtime,
    look_ups: LookUps,
    /// What an answer may repeat of the secrets; known once it is needed.
    secret_forms: OnceLock<Vec<String>>,
}

impl Transformer {
    /// `destination_names`: by which an event's `integrations` may switch this destination off; case
    /// does not matter.
    ///
    /// # Errors
    /// The filter, the transform or one of the definition's programs does not compile, or the
    /// settings make no usable request.
    pub fn new(
        definition: Arc<Definition>,
        settings: CheckedSettings,
        destination_names: &[String],
        filter: Option<&str>,
        transform: Option<&str>,
    ) -> Result<Self, Error> {
        definition.compile()?;
        let binding = Binding::new(&definition, &settings)?;
        let program = |role, text: Option<&str>| {
            text.map(|text| definition.cache.program(role, text))
                .transpose()
        };
        let batch = definition.batch_sized(|name| settings.values.get(name));
        Ok(Self {
            binding,
            wants_text: definition.mentions(EVENT_JSON),
            forwards_lists: definition.payload == Payload::Event && batch.is_some(),
            wants_origin: definition.wants_origin(),
            destination_names: destination_names.to_vec(),
            filters: program(Role::Filter, filter)?.into_iter().collect(),
            transform: program(Role::Transform, transform)?,
            definition,
            runtime: Runtime::default(),
            look_ups: LookUps::default(),
            secret_forms: OnceLock::new(),
        })
    }

    /// Takes only events that pass this filter too.
    ///
    /// # Errors
    /// It does not compile.
    pub fn restrict(&mut self, filter: &str) -> Result<(), Error> {
        let program = self.definition.cache.program(Role::Filter, filter)?;
        self.filters.push(program);
        Ok(())
    }

    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Plans one event of the log. `has_integrations`: the log's flag; without it they are not looked
    /// for.
    pub fn event(&mut self, event: &Bytes, has_integrations: bool, origin: Origin<'_>) -> Planned {
        self.try_event(event, has_integrations, Typed::ByIngest, origin)
            .unwrap_or_else(|refusal| self.told(refusal))
    }

    /// Plans one event that ingest has not seen: of it nothing is known.
    pub(crate) fn unseen_event(&mut self, event: &Bytes, origin: Origin<'_>) -> Planned {
        self.try_event(event, true, Typed::Perhaps, origin)
            .unwrap_or_else(|refusal| self.told(refusal))
    }

    /// For people, who know secrets by their names.
    fn told(&self, refusal: Refusal) -> Planned {
        let shown = |detail: String| marks::show(&detail, &self.definition.settings);
        match refusal {
            Refusal::Filtered(reason, detail) => Planned::Filtered(reason, shown(detail)),
            Refusal::Rejected(reason, detail) => Planned::Rejected(reason, shown(detail)),
        }
    }

    fn try_event(
        &mut self,
        event: &Bytes,
        has_integrations: bool,
        typed: Typed,
        origin: Origin<'_>,
    ) -> Result<Planned, Refusal> {
        if has_integrations && events::switched_off(event, &self.destination_names) {
            return Err(Refusal::filtered(FilterReason::Integrations));
        }
        let untouched = self.filters.is_empty() && self.transform.is_none();
        let needs_tree = self.definition.needs_tree();
        // Who takes all types need not read one that ingest has checked.
        let checks_type = typed == Typed::Perhaps || self.definition.events.is_some();
        if untouched && !needs_tree {
            if checks_type {
                self.check_type_of(event)?;
            }
            return self.pass(|| Ok(event.clone()));
        }
        // Most events that are not wanted need no tree to say so; of those that are, it says so again.
        if untouched && !self.definition.may_take(event) {
            self.check_type_of(event)?;
        }
        let mut tree = json::parse(event)
            .map_err(|problem| Refusal::rejected(RejectReason::TransformFailed, problem))?;
        self.apply_filters(&mut tree)?;
        let changed = self.apply_transform(&mut tree)?;
        if checks_type || changed {
            let kind = tree.as_object().and_then(|members| members.get("type"));
            self.check_type(kind.and_then(Value::to_str).unwrap_or_default())?;
        }
        if !needs_tree {
            return self.pass(|| {
                if changed {
                    written(&tree)
                } else {
                    Ok(event.clone())
                }
            });
        }
        let text = match (self.wants_text, changed) {
            (false, _) => Value::Null,
            (true, false) => json::text(event).into(),
            (true, true) => Value::Bytes(written(&tree)?),
        };
        self.run_steps(
            StepState {
                step: 0,
                event: tree,
                record: if self.wants_origin {
                    origin.to_value()
                } else {
                    Value::Null
                },
                text,
                state: Value::Null,
            },
            Vec::new(),
        )
    }

    /// Reads the type without building a tree.
    fn check_type_of(&self, event: &[u8]) -> Result<(), Refusal> {
        let head: Head<'_> = serde_json::from_slice(event).map_err(|problem| {
            Refusal::rejected(RejectReason::TransformFailed, problem.to_string())
        })?;
        self.check_type(&head.kind)
    }

    fn check_type(&self, kind: &str) -> Result<(), Refusal> {
        if self.definition.takes(kind) {
            return Ok(());
        }
        Err(Refusal::filtered(FilterReason::EventType))
    }

    fn apply_filters(&mut self, tree: &mut Value) -> Result<(), Refusal> {
        for filter in &self.filters {
            match run(filter, &mut Scope::Root(tree), &mut self.runtime) {
                Ok(Value::Boolean(true)) => {}
                Ok(Value::Boolean(false)) | Err(Stop::Aborted { .. }) => {
                    return Err(Refusal::filtered(FilterReason::Filter));
                }
                Ok(other) => {
                    return Err(Refusal::rejected(
                        RejectReason::TransformFailed,
                        format!(
                            "the filter's value is {}, not true or false",
                            other.kind_str()
                        ),
                    ));
                }
                Err(stop) => return Err(Refusal::stopped("filter", stop)),
            }
        }
        Ok(())
    }

    /// Whether there was a transform.
    fn apply_transform(&mut self, tree: &mut Value) -> Result<bool, Refusal> {
        let Some(transform) = &self.transform else {
            return Ok(false);
        };
        match run(transform, &mut Scope::Root(tree), &mut self.runtime) {
            Ok(_) => {}
            Err(Stop::Aborted { message, .. }) => {
                return Err(Refusal::Filtered(FilterReason::Transform, message));
            }
            Err(stop) => return Err(Refusal::stopped("transform", stop)),
        }
        match tree {
            Value::Object(_) => Ok(true),
            Value::Null => Err(Refusal::filtered(FilterReason::Transform)),
            other => Err(Refusal::rejected(
                RejectReason::TransformFailed,
                format!(
                    "the transform made the event {}, not an object",
                    other.kind_str()
                ),
            )),
        }
    }

    /// What needs no program: the event is gone, or goes as it is.
    fn pass(&self, event: impl FnOnce() -> Result<Bytes, Refusal>) -> Result<Planned, Refusal> {
        if self.definition.sender == Sender::Blackhole {
            return Ok(Planned::nothing_to_send());
        }
        self.forward(event()?)
    }

    /// The event's own bytes are the body, or one of the list that is.
    fn forward(&self, event: Bytes) -> Result<Planned, Refusal> {
        if self.forwards_lists {
            return Ok(Planned::Entry(Entry {
                bytes: event.len(),
                value: Value::Bytes(event),
                group: None,
                first: Value::Null,
            }));
        }
        self.forward_body(Body::Event(event))
    }

    fn forward_list(&self, entries: &[Entry]) -> Result<Planned, Refusal> {
        let events: Vec<&[u8]> = entries
            .iter()
            .filter_map(|entry| entry.value.as_bytes())
            .map(Bytes::as_ref)
            .collect();
        let mut list = vec![b'['];
        list.extend_from_slice(&events.join(&b','));
        list.push(b']');
        self.forward_body(Body::Events(list.into()))
    }

    fn forward_body(&self, body: Body) -> Result<Planned, Refusal> {
        let unset = || bad_request("the url needs a setting that is not set".to_owned());
        let url = self.binding.url.as_deref().ok_or_else(unset)?;
        let request = RequestPlan {
            method: self.binding.method.clone(),
            url: self.binding.check_url(url).map_err(bad_request)?,
            headers: self.binding.headers.clone(),
            body,
            auth: true,
            gzip: self.definition.gzip,
            cache_s: 0,
        };
        Ok(Planned::Send {
            requests: vec![request],
            then: None,
        })
    }

    /// One request of a batch's entries, which must be of one group.
    pub fn batch(&mut self, entries: Vec<Entry>) -> Planned {
        self.try_batch(entries)
            .unwrap_or_else(|refusal| self.told(refusal))
    }

    fn try_batch(&mut self, entries: Vec<Entry>) -> Result<Planned, Refusal> {
        if self.forwards_lists {
            return self.forward_list(&entries);
        }
        let group = entries.first().and_then(|entry| entry.group.clone());
        if entries.iter().any(|entry| entry.group != group) {
            return Err(bad_request(
                "the batch mixes entries of different groups".to_owned(),
            ));
        }
        let Some(source) = &self.definition.batch_program else {
            return Err(bad_request("the definition has no batch.vrl".to_owned()));
        };
        let program = self.program(source)?;
        let first = entries
            .first()
            .map_or(Value::Null, |entry| entry.first.clone());
        let entries = Value::Array(entries.into_iter().map(|entry| entry.value).collect());
        let group = group.map_or(Value::Null, Value::from);
        let mut scope = Scope::Named(vec![
            (ENTRIES, Slot::Read(&entries)),
            (SETTINGS, Slot::Read(&self.binding.settings)),
            (GROUP, Slot::Read(&group)),
            (FIRST, Slot::Read(&first)),
        ]);
        let value = run(&program, &mut scope, &mut self.runtime)
            .map_err(|stop| Refusal::stopped("batch.vrl", stop))?;
        match self.reply(value, Some(&entries))? {
            reply::Reply::Requests { requests, .. } if requests.len() == 1 => Ok(Planned::Send {
                requests,
                then: None,
            }),
            reply::Reply::Requests { requests, .. } => Err(bad_request(format!(
                "batch.vrl made {} requests: a batch is one",
                requests.len()
            ))),
            reply::Reply::Entry(_) => Err(bad_request("batch.vrl made an entry".to_owned())),
        }
    }

    /// Goes on with the next step. `responses` are those to the step's requests, in their order.
    pub fn next_step(&mut self, state: StepState, responses: &[StepResponse]) -> Planned {
        let responses = responses.iter().map(response_value).collect();
        self.run_steps(state, responses)
            .unwrap_or_else(|refusal| self.told(refusal))
    }

    /// Whether a step's answer with this status goes to the next step. Any other is judged, and ends
    /// the attempt.
    #[must_use]
    pub fn step_accepts(&self, status: u16) -> bool {
        (200..300).contains(&status) || self.definition.steps_accept.contains(status)
    }

    /// Runs steps until one of them asks for requests, or all have run.
    fn run_steps(
        &mut self,
        mut at: StepState,
        mut responses: Vec<Value>,
    ) -> Result<Planned, Refusal> {
        let definition = Arc::clone(&self.definition);
        let sent_before = at.step > 0;
        while let Some(source) = definition.steps.get(at.step) {
            let program = self.program(source)?;
            let last = at.step + 1 == definition.steps.len();
            // A later step sees the event as it came, whatever this one does to it.
            let kept = if last { Value::Null } else { at.event.clone() };
            let answers = Value::Array(std::mem::take(&mut responses));
            let mut scope = Scope::Named(vec![
                (EVENT, Slot::Change(&mut at.event)),
                (EVENT_JSON, Slot::Read(&at.text)),
                (SETTINGS, Slot::Read(&self.binding.settings)),
                (RECORD, Slot::Read(&at.record)),
                (STATE, Slot::Read(&at.state)),
                (RESPONSES, Slot::Read(&answers)),
            ]);
            let value = run(&program, &mut scope, &mut self.runtime)
                .map_err(|stop| Refusal::stopped(source.file(), stop))?;
            let (requests, state) = match self.reply(value, None)? {
                reply::Reply::Entry(entry) => return Ok(Planned::Entry(entry)),
                reply::Reply::Requests { requests, state } => (requests, state),
            };
            at = StepState {
                step: at.step + 1,
                event: kept,
                record: at.record,
                text: std::mem::replace(&mut at.text, Value::Null),
                state,
            };
            if !requests.is_empty() {
                let then = (!last).then_some(at);
                return Ok(Planned::Send { requests, then });
            }
        }
        if sent_before {
            // Earlier steps have done all there was to do.
            return Ok(Planned::nothing_to_send());
        }
        Err(Refusal::Filtered(
            FilterReason::Destination,
            "no request".to_owned(),
        ))
    }

    fn program(&self, source: &Source) -> Result<Arc<Program>, Refusal> {
        // Compiled when the transformer was made: this only looks it up.
        self.definition
            .program(source)
            .map_err(|error| Refusal::rejected(RejectReason::TransformFailed, error.to_string()))
    }

    /// An answer without the destination's secrets and its token, which a service may repeat.
    #[must_use]
    pub fn strike(&self, answer: Bytes, token: Option<&Secret>) -> Bytes {
        if answer.is_empty() {
            return answer;
        }
        let forms = self.secret_forms.get_or_init(|| {
            let secrets = self.binding.secrets.iter().flatten();
            let auth = self.binding.auth.iter().filter_map(Auth::value);
            let mut forms: Vec<String> = secrets
                .flat_map(|secret| struck::forms(secret.reveal()))
                .chain(auth.flat_map(|value| struck::header_forms(value.reveal())))
                .collect();
            struck::longest_first(&mut forms);
            forms
        });
        let with_token = token.map(|token| {
            let mut all = struck::forms(token.reveal());
            all.extend_from_slice(forms);
            struck::longest_first(&mut all);
            all
        });
        let all = || {
            with_token
                .as_ref()
                .unwrap_or(forms)
                .iter()
                .map(String::as_str)
        };
        if !all().any(|form| memmem::find(&answer, form.as_bytes()).is_some()) {
            return answer;
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        struck::out_of(text, all()).into()
    }

    /// Judges the answer, received at `now_unix_s`, to a request that carried `jobs` jobs. `cut_off`:
    /// `body` is only the beginning. Header names in any case.
    #[must_use]
    pub fn judge(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        cut_off: bool,
        jobs: usize,
        now_unix_s: u64,
    ) -> Judged {
        judge::judge(
            &self.definition,
            status,
            headers,
            body,
            cut_off,
            jobs,
            now_unix_s,
        )
    }

    /// Places secrets and auth.
    #[must_use]
    pub fn finish(&self, request: &RequestPlan, stamp: Stamp<'_>) -> FinalRequest {
        finish::finish(&self.binding, &self.definition, request, stamp)
    }
}

fn response_value(response: &StepResponse) -> Value {
    let mut map = vrl::value::ObjectMap::new();
    map.insert("status".into(), Value::from(response.status));
    map.insert("headers".into(), judge::headers_value(&response.headers));
    map.insert("body".into(), judge::body_value(&response.body));
    Value::Object(map)
}

fn written(tree: &Value) -> Result<Bytes, Refusal> {
    json::write(tree, BODY_BYTES_MAX)
        .map(Bytes::from)
        .map_err(|problem| Refusal::rejected(RejectReason::TransformLimit, problem))
}

/// The two ways in which an event does not become a request.
#[derive(Debug)]
enum Refusal {
    Filtered(FilterReason, String),
    Rejected(RejectReason, String),
}

impl Refusal {
    fn filtered(reason: FilterReason) -> Self {
        Self::Filtered(reason, String::new())
    }

    fn rejected(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self::Rejected(reason, detail.into())
    }

    /// A program that gave no value.
    fn stopped(what: &str, stop: Stop) -> Self {
        match stop {
            Stop::Limit(limit) => {
                Self::rejected(RejectReason::TransformLimit, format!("{what}: {limit}"))
            }
            Stop::Failed(problem) => {
                Self::rejected(RejectReason::TransformFailed, format!("{what}: {problem}"))
            }
            Stop::Aborted { line, message } => {
                let why = match message.as_str() {
                    "" => String::new(),
                    message => format!(": {message}"),
                };
                let told = format!("{what}: line {line}: aborted{why}");
                Self::rejected(RejectReason::TransformFailed, told)
            }
        }
    }
}

fn bad_request(problem: String) -> Refusal {
    Refusal::Rejected(RejectReason::BadRequest, problem)
}

#[cfg(test)]
mod tests;
