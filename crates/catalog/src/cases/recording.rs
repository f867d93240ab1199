//! Recording: cases made of what a service really answered, with its secrets struck out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::Secret;
use serde_json::{Map, Value, json};

use super::file::CaseFileText;
use super::judged_value;
use crate::definition::Definition;
use crate::error::Error;
use crate::play::{NOW_UNIX_S, TOKEN, play};
use crate::transformer::StepResponse;

/// Where recorded cases go.
const FILE: &str = "cases/recorded.json";
/// Headers of an answer that are kept, beside those that a program of the definition names. Others
/// may hold what nobody should keep: cookies, request ids, tokens.
const HEADERS_KEPT: [&str; 2] = ["content-type", "retry-after"];

/// A case with events, for trying it on the real service.
#[derive(Debug, Clone)]
pub struct EventCase {
    pub name: String,
    pub settings: BTreeMap<String, Value>,
    pub filter: Option<String>,
    pub transform: Option<String>,
    pub events: Vec<Bytes>,
}

/// What came of an event case: with settings whose secrets are struck out, and so are they in the
/// answers.
#[derive(Debug)]
pub struct Recording {
    pub case: EventCase,
    /// To all requests, in order.
    pub answers: Vec<StepResponse>,
}

/// The cases of a definition by which something is sent; recorded ones left out.
///
/// # Errors
/// A case file cannot be read.
pub fn event_cases(definition: &Definition) -> Result<Vec<EventCase>, Error> {
    let mut found = Vec::new();
    for file in definition.cases.iter().filter(|file| file.path != FILE) {
        let wrong = |problem: String| Error::Definition {
            place: format!("{}/{}", definition.id, file.path),
            problem,
        };
        let parsed = CaseFileText::parse(&file.text).map_err(wrong)?;
        for case in parsed.cases().iter().filter(|case| case.sends()) {
            found.push(EventCase {
                name: case.name.clone(),
                settings: case.written_settings().unwrap_or_default(),
                filter: case.filter.clone(),
                transform: case.transform.clone(),
                events: case.events().map_err(wrong)?,
            });
        }
    }
    Ok(found)
}

/// The names of cases with events that do not say yet what comes of them: [`event_cases`] has none of
/// these.
#[must_use]
pub fn unblessed_cases(definition: &Definition) -> Vec<String> {
    let parsed = definition.cases.iter();
    let parsed = parsed.filter_map(|file| CaseFileText::parse(&file.text).ok());
    let names = |file: CaseFileText| -> Vec<String> {
        let cases = file.cases().iter().filter(|case| case.is_unblessed());
        cases.map(|case| case.name.clone()).collect()
    };
    parsed.flat_map(names).collect()
}

/// Writes what was recorded into `cases/recorded.json` under `dir` (the definition's folder); cases
/// there of the same names are replaced. Returns the names that were written.
///
/// # Errors
/// The file cannot be read or written, or a case cannot be played.
pub fn record(
    definition: &Arc<Definition>,
    dir: &Path,
    recordings: &[Recording],
) -> Result<Vec<String>, Error> {
    let path = dir.join(FILE);
    let unreadable = |problem: String| Error::Unreadable {
        path: path.clone(),
        problem,
    };
    let mut all: Vec<Value> = match fs::read_to_string(&path) {
        Ok(text) => {
            serde_json::from_str(&text).map_err(|problem| unreadable(problem.to_string()))?
        }
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(problem) => return Err(unreadable(problem.to_string())),
    };
    let mut written = Vec::new();
    for recording in recordings {
        for case in cases_of(definition, recording)? {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            all.retain(|known| known["name"] != case["name"]);
            all.push(case);
            written.push(name);
        }
    }
    let mut text = serde_json::to_string_pretty(&all).unwrap_or_default();
    text.push('\n');
    let made = fs::create_dir_all(dir.join("cases")).and_then(|()| fs::write(&path, text));
    made.map_err(|problem| unreadable(problem.to_string()))?;
    Ok(written)
}

/// One case of the events and their requests, and one of the last answer.
fn cases_of(definition: &Arc<Definition>, recording: &Recording) -> Result<Vec<Value>, Error> {
    let case = &recording.case;
    let (filter, transform) = (case.filter.as_deref(), case.transform.as_deref());
    let settings = case.settings.clone().into();
    let mut transformer = super::transformer(definition, &settings, filter, transform)?;
    let mut cases = Vec::new();
    let token = Secret::new(TOKEN);
    let (events, answers) = (&case.events, &recording.answers);
    let outcome = play(&mut transformer, events, answers, NOW_UNIX_S, &token);
    // A request that was sent again with another token has one answer more than its case.
    if !answers.is_empty() && outcome.requests.len() == answers.len() {
        let mut whole = base(format!("recorded: {}", case.name), case);
        let events = events.iter().map(|event| {
            serde_json::from_slice(event).unwrap_or_else(|_| Value::from("(no JSON)"))
        });
        let events: Vec<Value> = events.collect();
        match events.as_slice() {
            [one] => whole.insert("event".to_owned(), one.clone()),
            several => whole.insert("events".to_owned(), several.into()),
        };
        if definition.steps.len() > 1 {
            let shown = recording.answers.iter().map(|one| shown(definition, one));
            whole.insert("responses".to_owned(), shown.collect());
        }
        if let Value::Object(came) = outcome.to_value() {
            whole.extend(came);
        }
        cases.push(whole.into());
    }
    if let Some(last) = recording.answers.last() {
        let jobs = case.events.len();
        let mut answer = base(format!("recorded answer: {}", case.name), case);
        // Judged as the file will say it: with the headers that are kept.
        let headers = kept(definition, last);
        let judged = transformer.judge(last.status, &headers, &last.body, false, jobs, 0);
        answer.insert("response".to_owned(), shown(definition, last));
        answer.insert("jobs".to_owned(), jobs.into());
        answer.insert("result".to_owned(), judged_value(&judged));
        cases.push(answer.into());
    }
    Ok(cases)
}

fn base(name: String, case: &EventCase) -> Map<String, Value> {
    let mut base = Map::new();
    base.insert("name".to_owned(), name.into());
    base.insert("settings".to_owned(), json!(case.settings));
    for (key, program) in [("filter", &case.filter), ("transform", &case.transform)] {
        if let Some(program) = program {
            base.insert(key.to_owned(), program.as_str().into());
        }
    }
    base
}

fn kept(definition: &Definition, answer: &StepResponse) -> Vec<(String, String)> {
    let is_kept = |name: &str| HEADERS_KEPT.contains(&name) || definition.mentions(name);
    let headers = answer.headers.iter().filter(|(name, _)| is_kept(name));
    headers.cloned().collect()
}

fn shown(definition: &Definition, answer: &StepResponse) -> Value {
    let text = String::from_utf8_lossy(&answer.body);
    let body = match serde_json::from_str::<Value>(&text) {
        // A text of its own would be read as one that holds JSON.
        Ok(value) if !value.is_string() && !value.is_null() => value,
        _ => Value::from(text.as_ref()),
    };
    let headers: BTreeMap<String, String> = kept(definition, answer).into_iter().collect();
    json!({"status": answer.status, "headers": headers, "body": body})
}
