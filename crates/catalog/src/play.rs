//! Playing events through a transformer without a network: what would be sent, as a person reads it,
//! with given answers in place of the destination's.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use bytes::Bytes;
use model::Secret;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::columns;
use crate::events::Identity;
use crate::finish::{FinalRequest, Stamp};
use crate::origin::Origin;
use crate::request::{Body, RequestPlan};
use crate::transformer::{Entry, Planned, StepResponse, Transformer};

/// The attempt's time where nobody names one: it shows in signatures.
pub(crate) const NOW_UNIX_S: u64 = 1_700_000_000;
/// A token that would have to be fetched, where nobody names one.
pub(crate) const TOKEN: &str = "tok";

/// What came of events.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All requests in order, those of earlier steps included: objects with `method`, `url`,
    /// `headers` and, where there is one, `body`.
    Requests(Vec<Value>),
    /// The whole reason: `destination: why`.
    Filtered(String),
    /// The whole reason: `invalid: what is missing`.
    Rejected(String),
}

impl Outcome {
    /// As cases and `fairlane destination transform` write it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Requests(requests) => json!({ "requests": requests }),
            Self::Filtered(why) => json!({ "filtered": why }),
            Self::Rejected(why) => json!({ "rejected": why }),
        }
    }
}

/// Plays events, as one attempt would carry them: a batch where the definition batches, else one
/// after the other. `answers` are those to the requests of earlier steps, in order; where they end,
/// each further one is 200 `{}`. `token`
/// stands for one that would have to be fetched.
pub fn play(
    transformer: &mut Transformer,
    events: &[Bytes],
    answers: &[StepResponse],
    now_unix_s: u64,
    token: &Secret,
) -> Outcome {
    let mut run = Run {
        transformer,
        answers,
        now_unix_s,
        token,
        requests: Vec::new(),
    };
    run.events(events)
}

/// One event as a line of JSON, and what its connection would send, as [`play`] does. A line that
/// ingest would not take is rejected.
pub fn play_line(transformer: &mut Transformer, line: &[u8], answers: &[StepResponse]) -> Outcome {
    if let Err(problem) = serde_json::from_slice::<HashMap<String, IgnoredAny>>(line) {
        return Outcome::Rejected(format!("the line is no JSON object: {problem}"));
    }
    let event = Bytes::copy_from_slice(line);
    play(
        transformer,
        &[event],
        answers,
        NOW_UNIX_S,
        &Secret::new(TOKEN),
    )
}

/// Answers as cases and `--responses` write them: a list of `{"status", "headers", "body"}`, each of
/// which may be left out.
///
/// # Errors
/// It is no such list.
pub fn parse_answers(text: &str) -> Result<Vec<StepResponse>, String> {
    let written: Vec<WrittenAnswer> =
        serde_json::from_str(text).map_err(|problem| problem.to_string())?;
    Ok(written.into_iter().map(StepResponse::from).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenAnswer {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

impl From<WrittenAnswer> for StepResponse {
    fn from(written: WrittenAnswer) -> Self {
        let body = match written.body {
            Value::Null => String::new(),
            Value::String(text) => text,
            tree => tree.to_string(),
        };
        Self {
            status: written.status,
            headers: written.headers.into_iter().collect(),
            body: body.into(),
        }
    }
}

/// Plays events through a transformer, with recorded answers.
struct Run<'a> {
    transformer: &'a mut Transformer,
    /// Those that are left.
    answers: &'a [StepResponse],
    now_unix_s: u64,
    token: &'a Secret,
    requests: Vec<Value>,
}

impl Run<'_> {
    fn events(&mut self, events: &[Bytes]) -> Outcome {
        let mut entries: Vec<(Entry, String)> = Vec::new();
        let mut refused = None;
        for (index, event) in events.iter().enumerate() {
            let id = message_id(event);
            // The flag of the log is set where it matters: here every event is looked at.
            let mut planned = self.transformer.event(event, true, Origin::of_tool(index));
            loop {
                match planned {
                    Planned::Send { requests, then } => {
                        self.send(&requests, &id);
                        let Some(state) = then else { break };
                        let answers = self.answers_to(requests.len());
                        planned = self.transformer.next_step(state, &answers);
                    }
                    Planned::Entry(entry) => {
                        entries.push((entry, id));
                        break;
                    }
                    other => {
                        refused = Some(refusal(other));
                        break;
                    }
                }
            }
        }
        while let Some((first, id)) = entries.first() {
            let (group, id) = (first.group.clone(), id.clone());
            let of_group = entries.extract_if(.., |(entry, _)| entry.group == group);
            let of_group = of_group.map(|(entry, _)| entry).collect();
            match self.transformer.batch(of_group) {
                Planned::Send { requests, .. } => self.send(&requests, &id),
                other => refused = Some(refusal(other)),
            }
        }
        match refused {
            Some(refused) if self.requests.is_empty() => refused,
            _ => Outcome::Requests(std::mem::take(&mut self.requests)),
        }
    }

    fn send(&mut self, requests: &[RequestPlan], id: &str) {
        let stamp = Stamp {
            message_id: id,
            now_unix_s: self.now_unix_s,
            token: Some(self.token),
        };
        for request in requests {
            let final_request = self.transformer.finish(request, stamp);
            self.requests
                .push(request_value(&request.body, &final_request));
        }
    }

    fn answers_to(&mut self, requests: usize) -> Vec<StepResponse> {
        let (given, left) = self.answers.split_at(requests.min(self.answers.len()));
        self.answers = left;
        let mut answers = given.to_vec();
        answers.resize_with(requests, || StepResponse {
            status: 200,
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        });
        answers
    }
}

/// The event's messageId; empty where it has none.
fn message_id(event: &[u8]) -> String {
    serde_json::from_slice(event)
        .map(|identity: Identity<'_>| identity.message_id.into_owned())
        .unwrap_or_default()
}

fn refusal(planned: Planned) -> Outcome {
    let told = |reason: &str, detail: String| {
        if detail.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {detail}")
        }
    };
    match planned {
        Planned::Filtered(reason, detail) => Outcome::Filtered(told(reason.as_str(), detail)),
        Planned::Rejected(reason, detail) => Outcome::Rejected(told(reason.as_str(), detail)),
        Planned::Send { .. } | Planned::Entry(_) => {
            Outcome::Rejected("bad_request: a batch made no request".to_owned())
        }
    }
}

/// A finished request as cases and `transform` show it.
fn request_value(kind: &Body, request: &FinalRequest) -> Value {
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let plain = match request
        .headers
        .iter()
        .any(|(name, _)| name == "content-encoding")
    {
        true => gunzip(&request.body),
        false => request.body.to_vec(),
    };
    let text = String::from_utf8_lossy(&plain);
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let mut shown = Map::new();
    shown.insert("method".to_owned(), request.method.as_str().into());
    shown.insert("url".to_owned(), request.url.as_str().into());
    shown.insert("headers".to_owned(), headers.into());
    let body = match kind {
        Body::Empty => Value::Null,
        Body::Parquet(file) => match columns::show(file.clone()) {
            Ok(file) => json!({ "parquet": file }),
            Err(problem) => problem.into(),
        },
        Body::Ndjson(_) => text.lines().map(parsed).collect(),
        Body::Json(_) | Body::Event(_) | Body::Events(_) => parsed(&text),
        Body::Form(_) | Body::Multipart { .. } | Body::Text(_) | Body::Xml(_) => {
            Value::from(text.as_ref())
        }
    };
    if !body.is_null() {
        shown.insert("body".to_owned(), body);
    }
    shown.into()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // Our own output, made a moment ago.
    let _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain);
    plain
}

#[cfg(test)]
mod tests;
