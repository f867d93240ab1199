//! Playing events through a transformer without a network: what would be sent, as a person reads it,
//! with given answers in place of the destination's.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use bytes::Bytes;
use model::Secret;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::cases::judged_value;
use crate::columns;
use crate::events::Identity;
use crate::finish::{FinalRequest, Stamp};
use crate::judge::Judged;
use crate::origin::Origin;
use crate::request::{Body, RequestPlan};
use crate::transformer::{Entry, Planned, StepResponse, Transformer};

mod line;

use line::Exact;

/// The attempt's time where nobody names one: it shows in signatures.
pub const NOW_UNIX_S: u64 = 1_700_000_000;
/// A token that would have to be fetched, where nobody names one.
pub const TOKEN: &str = "tok";

/// What came of events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// All in order, those of earlier steps included: objects with `method`, `url`, `headers` and,
    /// where there is one, `body`.
    pub requests: Vec<Value>,
    /// Of each request the body to the letter, where it is JSON: a tree keeps some 16 digits of a
    /// number, and a signature is that of the letters.
    exact: Vec<Option<Exact>>,
    /// How it ended, if not with the requests: nothing was sent, or a later step refused the event
    /// for which earlier ones had sent them.
    pub refused: Option<Refused>,
}

/// Why an event is not sent, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The whole reason: `destination: why`.
    Filtered(String),
    /// The whole reason: `invalid: what is missing`.
    Rejected(String),
    /// The answer to an earlier step's request was none that the next step wants to see: what it
    /// came to, as response cases write it.
    Answered(String),
}

impl Outcome {
    fn rejected(why: String) -> Self {
        Self::of(Vec::new(), Some(Refused::Rejected(why)))
    }

    /// As a case has it, which knows no letters.
    pub(crate) fn of(requests: Vec<Value>, refused: Option<Refused>) -> Self {
        Self {
            requests,
            exact: Vec::new(),
            refused,
        }
    }

    /// As cases write it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut told = Map::new();
        if self.refused.is_none() || !self.requests.is_empty() {
            told.insert("requests".to_owned(), json!(self.requests));
        }
        match &self.refused {
            None => None,
            Some(Refused::Filtered(why)) => told.insert("filtered".to_owned(), json!(why)),
            Some(Refused::Rejected(why)) => told.insert("rejected".to_owned(), json!(why)),
            Some(Refused::Answered(result)) => told.insert("result".to_owned(), json!(result)),
        };
        told.into()
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
        exact: Vec::new(),
    };
    run.events(events)
}

/// One event as a line of JSON, and what its connection would send, as [`play`] does. A line that
/// ingest would not take is rejected.
pub fn play_line(transformer: &mut Transformer, line: &[u8], answers: &[StepResponse]) -> Outcome {
    play_line_at(transformer, line, answers, NOW_UNIX_S)
}

/// As [`play_line`], by an attempt of that time.
pub fn play_line_at(
    transformer: &mut Transformer,
    line: &[u8],
    answers: &[StepResponse],
    now_unix_s: u64,
) -> Outcome {
    if let Err(problem) = check_line(line) {
        return Outcome::rejected(format!("the line is no JSON object: {problem}"));
    }
    let event = Bytes::copy_from_slice(line);
    let token = Secret::new(TOKEN);
    play(transformer, &[event], answers, now_unix_s, &token)
}

/// Looks at a line as [`play_line`] does first, for those who must name the line that
/// is no event.
///
/// # Errors
/// It is no JSON object.
pub fn check_line(line: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<HashMap<String, IgnoredAny>>(line).map(drop)
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
    #[serde(default = "ok", deserialize_with = "http_status")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

/// A service cannot answer with any other.
fn http_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let status = u16::deserialize(deserializer)?;
    if (100..=599).contains(&status) {
        return Ok(status);
    }
    let problem = format!("{status} is no HTTP status: use 100 to 599");
    Err(serde::de::Error::custom(problem))
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
    exact: Vec<Option<Exact>>,
}

impl Run<'_> {
    fn events(&mut self, events: &[Bytes]) -> Outcome {
        let mut entries: Vec<(Entry, String)> = Vec::new();
        let mut refused = None;
        let mut ended = None;
        for (index, event) in events.iter().enumerate() {
            let sent_before = self.requests.len();
            let id = message_id(event);
            let origin = Origin::of_tool(index);
            let mut planned = self.transformer.unseen_event(event, origin);
            loop {
                match planned {
                    Planned::Send {
                        requests,
                        then: Some(state),
                    } => match self.look_up(&requests, &id) {
                        Ok(answers) => planned = self.transformer.next_step(state, &answers),
                        Err(judged) => {
                            ended = Some(Refused::Answered(judged));
                            break;
                        }
                    },
                    Planned::Send { requests, .. } => {
                        requests.iter().for_each(|request| self.send(request, &id));
                        break;
                    }
                    Planned::Entry(entry) => {
                        entries.push((entry, id));
                        break;
                    }
                    other => {
                        let why = refusal(other);
                        if self.requests.len() > sent_before {
                            ended = Some(why);
                        } else {
                            refused = Some(why);
                        }
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
                Planned::Send { requests, .. } => {
                    requests.iter().for_each(|request| self.send(request, &id));
                }
                other => refused = Some(refusal(other)),
            }
        }
        // One event that is not sent among others that are is no outcome of them all.
        let refused = refused.filter(|_| self.requests.is_empty());
        Outcome {
            requests: std::mem::take(&mut self.requests),
            exact: std::mem::take(&mut self.exact),
            refused: ended.or(refused),
        }
    }

    fn send(&mut self, request: &RequestPlan, id: &str) {
        let stamp = Stamp {
            message_id: id,
            now_unix_s: self.now_unix_s,
            token: Some(self.token),
        };
        let last = self.transformer.finish(request, stamp);
        let plain = plain_body(&last);
        self.exact.push(Exact::of(&request.body, &plain));
        self.requests
            .push(request_value(&request.body, &last, &plain));
    }

    /// The answers to an earlier step's requests; or, as delivery has it, what one of them comes to
    /// that the next step does not want to see: it ends the attempt, what is behind it is not sent.
    fn look_up(&mut self, requests: &[RequestPlan], id: &str) -> Result<Vec<StepResponse>, String> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            self.send(request, id);
            let answer = self.next_answer();
            if !self.transformer.step_accepts(answer.status) {
                let (headers, body) = (&answer.headers, &answer.body);
                let (status, now) = (answer.status, self.now_unix_s);
                let judged = self.transformer.judge(status, headers, body, false, 1, now);
                return Err(result_of(&judged));
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    fn next_answer(&mut self) -> StepResponse {
        if let Some((first, left)) = self.answers.split_first() {
            self.answers = left;
            return first.clone();
        }
        StepResponse {
            status: 200,
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        }
    }
}

/// Of one job: a definition has either steps or batches.
fn result_of(judged: &Judged) -> String {
    match judged_value(judged) {
        Value::String(result) => result,
        several => several.to_string(),
    }
}

/// The event's messageId; empty where it has none.
fn message_id(event: &[u8]) -> String {
    serde_json::from_slice(event)
        .map(|identity: Identity<'_>| identity.message_id.into_owned())
        .unwrap_or_default()
}

fn refusal(planned: Planned) -> Refused {
    let told = |reason: &str, detail: String| {
        if detail.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {detail}")
        }
    };
    match planned {
        Planned::Filtered(reason, detail) => Refused::Filtered(told(reason.as_str(), detail)),
        Planned::Rejected(reason, detail) => Refused::Rejected(told(reason.as_str(), detail)),
        Planned::Send { .. } | Planned::Entry(_) => {
            Refused::Rejected("bad_request: a batch made no request".to_owned())
        }
    }
}

/// A finished request's body, before it was compressed.
fn plain_body(request: &FinalRequest) -> Vec<u8> {
    match request
        .headers
        .iter()
        .any(|(name, _)| name == "content-encoding")
    {
        true => gunzip(&request.body),
        false => request.body.to_vec(),
    }
}

/// A finished request as cases show it.
fn request_value(kind: &Body, request: &FinalRequest, plain: &[u8]) -> Value {
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let text = String::from_utf8_lossy(plain);
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
