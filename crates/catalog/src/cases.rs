//! Recorded cases: what a definition makes of events, and of answers, held against what was written
//! down. `docs/reference/destination.md` describes the files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::{JobResult, Secret, Settings};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::compare::differences;
use crate::definition::Definition;
use crate::error::Error;
use crate::judge::Judged;
use crate::play::{NOW_UNIX_S, Outcome, TOKEN, play};
use crate::transformer::Transformer;

mod file;
mod recording;

use file::{Case, CaseFileText};
pub use recording::{EventCase, Recording, event_cases, record, unblessed_cases};

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

/// Runs all cases of a definition. One without any has failed: nobody has said what it should do.
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
    if reports.is_empty() {
        reports.push(CaseReport {
            definition: definition.id.clone(),
            file: "cases/*.json".to_owned(),
            name: "(no case)".to_owned(),
            failure: Some(NO_CASE.to_owned()),
        });
    }
    reports
}

const NO_CASE: &str = "there is no recorded case, and a definition needs one: write an event into \
                       cases/track.json, {\"name\": \"..\", \"settings\": {..}, \"event\": {..}}, \
                       and let `fairlane destination test --bless` fill in what comes of it";

/// The settings of a definition's first case that has any: good ones, for trying it out.
#[must_use]
pub fn example_settings(definition: &Definition) -> Option<BTreeMap<String, Value>> {
    definition.cases.iter().find_map(|case_file| {
        let parsed = CaseFileText::parse(&case_file.text).ok()?;
        let mut cases = parsed.cases().iter();
        cases.find_map(|case| case.written_settings())
    })
}

/// A case whose expectation was written anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Blessed {
    /// `cases/track.json`
    pub file: String,
    pub case: String,
    /// What was expected, if anything was.
    pub before: Option<Value>,
    pub after: Value,
}

/// Writes what comes out of a definition's cases into their files under `dir` (the definition's
/// folder) as what is expected. Returns the cases that changed.
///
/// # Errors
/// A file cannot be read or written, or a case cannot be run at all.
pub fn bless(definition: &Arc<Definition>, dir: &Path) -> Result<Vec<Blessed>, Error> {
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
            let before = case.expected().ok();
            case.expect(&came);
            let after = case.expected().map_err(wrong)?;
            if before.as_ref() != Some(&after) {
                changed.push(Blessed {
                    file: case_file.path.clone(),
                    case: case.name.clone(),
                    before: before.as_ref().map(Came::to_value),
                    after: after.to_value(),
                });
            }
        }
        let text = parsed.write();
        if text != case_file.text {
            fs::write(&path, &text).map_err(|problem| Error::Unreadable {
                path: path.clone(),
                problem: problem.to_string(),
            })?;
        }
    }
    Ok(changed)
}

/// What came out of a case.
#[derive(Debug, PartialEq)]
enum Came {
    Events(Outcome),
    /// Of a response case.
    Result(Value),
}

impl Came {
    fn to_value(&self) -> Value {
        match self {
            Self::Events(outcome) => outcome.to_value(),
            Self::Result(result) => json!({ "result": result }),
        }
    }
}

fn run_case(definition: &Arc<Definition>, case: &Case) -> Result<(), String> {
    let came = outcome(definition, case)?;
    let expected = case.expected()?;
    let same = match (&came, &expected) {
        (Came::Events(came), Came::Events(expected)) => {
            came.refused == expected.refused
                && came.requests.len() == expected.requests.len()
                && came
                    .requests
                    .iter()
                    .zip(&expected.requests)
                    .all(|(came, expected)| request_fits(came, expected))
        }
        _ => came == expected,
    };
    if same {
        return Ok(());
    }
    Err(told(&expected, &came))
}

/// What differs, and the whole of what came: the first to see it, the second to write it down.
fn told(expected: &Came, came: &Came) -> String {
    let mut told = String::from("expected -> came:\n");
    for difference in differences(&expected.to_value(), &heard(expected, came)) {
        // Writing to a String cannot fail.
        let _ = writeln!(told, "  {difference}");
    }
    let whole = serde_json::to_string_pretty(&came.to_value()).unwrap_or_default();
    let _ = write!(told, "came:\n{whole}");
    told
}

/// What came, with only those headers that the case cares for.
fn heard(expected: &Came, came: &Came) -> Value {
    let (Came::Events(expected), Came::Events(came)) = (expected, came) else {
        return came.to_value();
    };
    let mut came = came.clone();
    for (came, expected) in came.requests.iter_mut().zip(&expected.requests) {
        file::keep_headers(came, expected);
    }
    came.to_value()
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

/// What turns a case's events into requests.
fn transformer(
    definition: &Arc<Definition>,
    settings: &Settings,
    filter: Option<&str>,
    transform: Option<&str>,
) -> Result<Transformer, Error> {
    let checked = definition
        .check_settings(settings)
        .map_err(Error::Settings)?;
    let names = [definition.name.clone(), definition.id.clone()];
    Transformer::new(Arc::clone(definition), checked, &names, filter, transform)
}

fn outcome(definition: &Arc<Definition>, case: &Case) -> Result<Came, String> {
    case.check()?;
    let (filter, transform) = (case.filter.as_deref(), case.transform.as_deref());
    let mut transformer = transformer(definition, &case.settings()?, filter, transform)
        .map_err(|error| error.to_string())?;
    if let Some(response) = case.response()? {
        let jobs = case.jobs.unwrap_or(1);
        // A recorded answer has no time but its own `Date`.
        let (headers, body) = (&response.headers, &response.body);
        let judged = transformer.judge(response.status, headers, body, false, jobs, 0);
        return Ok(Came::Result(judged_value(&judged)));
    }
    let now_unix_s = case.now.unwrap_or(NOW_UNIX_S);
    Ok(Came::Events(play(
        &mut transformer,
        &case.events()?,
        &case.responses()?,
        now_unix_s,
        &Secret::new(case.token.as_deref().unwrap_or(TOKEN)),
    )))
}

pub(crate) fn judged_value(judged: &Judged) -> Value {
    match judged {
        Judged::All(result) => result_text(*result).into(),
        Judged::Each(results) => results.iter().map(|result| result_text(*result)).collect(),
    }
}

/// A job's result as cases write it: `failed:rate_limited`.
#[must_use]
pub fn result_text(result: JobResult) -> String {
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
