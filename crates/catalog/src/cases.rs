//! Recorded cases: what a definition makes of events, and of answers, held against what was written
//! down. `docs/reference/destination.md` describes the files.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::JobResult;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::definition::Definition;
use crate::error::Error;
use crate::events::Identity;
use crate::finish::FinalRequest;
use crate::judge::Judged;
use crate::request::{Body, RequestPlan};
use crate::transformer::{Entry, Planned, StepResponse, Transformer};

mod file;

use file::{Case, CaseFileText};

/// The attempt's time where a case names none: it shows in signatures.
const NOW_UNIX_S: u64 = 1_700_000_000;

/// How one case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    pub definition: String,
    /// `cases/track.json`
    pub file: String,
    pub name: String,
    /// What differs; `None` where nothing does.
    pub failure: Option<String>,
}

/// Runs all cases of a definition.
#[must_use]
pub fn run_cases(definition: &Arc<Definition>) -> Vec<CaseReport> {
    let mut reports = Vec::new();
    for case_file in &definition.cases {
        let report = |name: &str, failure: Option<String>| CaseReport {
            definition: definition.id.clone(),
            file: case_file.path.clone(),
            name: name.to_owned(),
            failure,
        };
        match CaseFileText::parse(&case_file.text) {
            Err(problem) => reports.push(report("(the file)", Some(problem))),
            Ok(parsed) => {
                for case in parsed.cases() {
                    reports.push(report(&case.name, run_case(definition, case).err()));
                }
            }
        }
    }
    reports
}

/// Writes what comes out of a definition's cases into their files under `dir` (the definition's
/// folder) as what is expected. Returns the files that changed.
///
/// # Errors
/// A file cannot be read or written, or a case cannot be run at all.
pub fn bless(definition: &Arc<Definition>, dir: &Path) -> Result<Vec<String>, Error> {
    let mut changed = Vec::new();
    for case_file in &definition.cases {
        let path = dir.join(&case_file.path);
        let wrong = |problem: String| Error::Definition {
            place: path.display().to_string(),
            problem,
        };
        let mut parsed = CaseFileText::parse(&case_file.text).map_err(wrong)?;
        for case in parsed.cases_mut() {
            let came = outcome(definition, case)
                .map_err(|problem| wrong(format!("{}: {problem}", case.name)))?;
            case.expect(&came);
        }
        let text = parsed.write();
        if text != case_file.text {
            fs::write(&path, &text).map_err(|problem| Error::Unreadable {
                path: path.clone(),
                problem: problem.to_string(),
            })?;
            changed.push(case_file.path.clone());
        }
    }
    Ok(changed)
}

/// What came out of a case.
#[derive(Debug, PartialEq)]
enum Came {
    Requests(Vec<Value>),
    Filtered(String),
    Rejected(String),
    /// Of a response case.
    Result(Value),
}

fn run_case(definition: &Arc<Definition>, case: &Case) -> Result<(), String> {
    let came = outcome(definition, case)?;
    let expected = case.expected()?;
    let same = match (&came, &expected) {
        (Came::Requests(came), Came::Requests(expected)) => {
            came.len() == expected.len()
                && came
                    .iter()
                    .zip(expected)
                    .all(|(came, expected)| request_fits(came, expected))
        }
        _ => came == expected,
    };
    if same {
        return Ok(());
    }
    let mut told = String::from("expected:\n");
    // Writing to a String cannot fail.
    let _ = write!(told, "{}\ncame:\n{}", show(&expected), show(&came));
    Err(told)
}

fn show(came: &Came) -> String {
    let value = match came {
        Came::Requests(requests) => json!({ "requests": requests }),
        Came::Filtered(why) => json!({ "filtered": why }),
        Came::Rejected(why) => json!({ "rejected": why }),
        Came::Result(result) => json!({ "result": result }),
    };
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

/// Every member that the case names must be equal; of headers only those it lists.
fn request_fits(came: &Value, expected: &Value) -> bool {
    let Some(expected) = expected.as_object() else {
        return false;
    };
    expected
        .iter()
        .all(|(key, value)| match (key.as_str(), value) {
            ("headers", Value::Object(headers)) => headers
                .iter()
                .all(|(name, value)| came.get("headers").and_then(|h| h.get(name)) == Some(value)),
            ("body", Value::Null) => came.get("body").is_none_or(Value::is_null),
            _ => came.get(key) == Some(value),
        })
        && (expected.contains_key("body") || came.get("body").is_none_or(Value::is_null))
}

fn outcome(definition: &Arc<Definition>, case: &Case) -> Result<Came, String> {
    let settings = case.settings()?;
    let checked = definition
        .check_settings(&settings)
        .map_err(|problems| Error::Settings(problems).to_string())?;
    let names = [definition.name.clone(), definition.id.clone()];
    let mut transformer = Transformer::new(
        Arc::clone(definition),
        checked,
        &names,
        case.filter.as_deref(),
        case.transform.as_deref(),
    )
    .map_err(|error| error.to_string())?;
    if let Some(response) = case.response()? {
        let jobs = case.jobs.unwrap_or(1);
        // A recorded answer has no time but its own `Date`.
        let (headers, body) = (&response.headers, &response.body);
        let judged = transformer.judge(response.status, headers, body, jobs, 0);
        return Ok(Came::Result(judged_value(&judged)));
    }
    let mut run = Run {
        transformer: &mut transformer,
        answers: case.responses()?,
        answered: 0,
        now_unix_s: case.now.unwrap_or(NOW_UNIX_S),
        requests: Vec::new(),
    };
    run.events(&case.events()?)
}

/// One event as a line of JSON, and what its connection would send: for `fairlane destination
/// transform`. Earlier steps' requests are answered with 200 `{}`; a batch holds one event. A line
/// that ingest would not take is rejected.
pub fn transform_line(transformer: &mut Transformer, line: &[u8]) -> Value {
    if let Err(problem) = serde_json::from_slice::<HashMap<String, IgnoredAny>>(line) {
        return json!({ "rejected": format!("the line is no JSON object: {problem}") });
    }
    let mut run = Run {
        transformer,
        answers: Vec::new(),
        answered: 0,
        now_unix_s: NOW_UNIX_S,
        requests: Vec::new(),
    };
    match run.events(&[Bytes::copy_from_slice(line)]) {
        Ok(Came::Requests(requests)) => json!({ "requests": requests }),
        Ok(Came::Filtered(why)) => json!({ "filtered": why }),
        Ok(Came::Rejected(why)) => json!({ "rejected": why }),
        Ok(Came::Result(result)) => json!({ "result": result }),
        Err(problem) => json!({ "rejected": problem }),
    }
}

/// Plays events through a transformer, with recorded answers.
struct Run<'a> {
    transformer: &'a mut Transformer,
    answers: Vec<StepResponse>,
    answered: usize,
    now_unix_s: u64,
    requests: Vec<Value>,
}

impl Run<'_> {
    fn events(&mut self, events: &[Bytes]) -> Result<Came, String> {
        let mut entries: Vec<(Entry, String)> = Vec::new();
        let mut refused = None;
        for event in events {
            let id = message_id(event);
            // The flag of the log is set where it matters: here every event is looked at.
            let mut planned = self.transformer.event(event, true);
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
        Ok(match refused {
            Some(refused) if self.requests.is_empty() => refused,
            _ => Came::Requests(std::mem::take(&mut self.requests)),
        })
    }

    fn send(&mut self, requests: &[RequestPlan], id: &str) {
        for request in requests {
            let final_request = self.transformer.finish(request, id, self.now_unix_s);
            self.requests
                .push(request_value(&request.body, &final_request));
        }
    }

    fn answers_to(&mut self, requests: usize) -> Vec<StepResponse> {
        let given = self
            .answers
            .iter()
            .skip(self.answered)
            .take(requests)
            .cloned();
        let mut answers: Vec<StepResponse> = given.collect();
        self.answered += answers.len();
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

fn refusal(planned: Planned) -> Came {
    let told = |reason: &str, detail: String| {
        if detail.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {detail}")
        }
    };
    match planned {
        Planned::Filtered(reason, detail) => Came::Filtered(told(reason.as_str(), detail)),
        Planned::Rejected(reason, detail) => Came::Rejected(told(reason.as_str(), detail)),
        Planned::Send { .. } | Planned::Entry(_) => {
            Came::Rejected("bad_request: a batch made no request".to_owned())
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
        Body::Ndjson(_) => text.lines().map(parsed).collect(),
        Body::Json(_) | Body::Event(_) | Body::Events(_) => parsed(&text),
        Body::Form(_) | Body::Text(_) => Value::from(text.as_ref()),
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

fn judged_value(judged: &Judged) -> Value {
    match judged {
        Judged::All(result) => result_text(*result).into(),
        Judged::Each(results) => results.iter().map(|result| result_text(*result)).collect(),
    }
}

fn result_text(result: JobResult) -> String {
    match result {
        JobResult::Delivered => "delivered".to_owned(),
        JobResult::Filtered(reason) => format!("filtered:{}", reason.as_str()),
        JobResult::Rejected(reason) => format!("rejected:{}", reason.as_str()),
        JobResult::Failed(failure) => format!("failed:{}", failure.as_str()),
    }
}

/// JSON as its author laid it out.
type Raw = Box<RawValue>;

#[cfg(test)]
mod tests;
