//! A case file: one case, or a list of them. What the author wrote is kept to the letter; only what
//! is expected is ever rewritten.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use model::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::{Came, Raw};
use crate::json;
use crate::play::{Outcome, Refused, WrittenAnswer};
use crate::transformer::StepResponse;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Raw>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jobs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

impl Case {
    pub(super) fn settings(&self) -> Result<Settings, String> {
        self.settings
            .as_ref()
            .map_or_else(|| Ok(Settings::default()), |raw| read("settings", raw))
    }

    /// `None` where it has none, or they cannot be read.
    pub(super) fn written_settings(&self) -> Option<BTreeMap<String, Value>> {
        read("settings", self.settings.as_ref()?).ok()
    }

    /// Whether requests are expected of its events.
    pub(super) fn sends(&self) -> bool {
        self.requests.is_some() && (self.event.is_some() || self.events.is_some())
    }

    /// Whether it has events, and says nothing yet of what comes of them.
    pub(super) fn is_unblessed(&self) -> bool {
        let said = [&self.filtered, &self.rejected]
            .into_iter()
            .any(Option::is_some)
            || self.requests.is_some()
            || self.result.is_some();
        !said && (self.event.is_some() || self.events.is_some())
    }

    pub(super) fn events(&self) -> Result<Vec<Bytes>, String> {
        match (&self.event, &self.events) {
            (Some(event), None) => Ok(vec![json::compact(event.get()).into()]),
            (None, Some(events)) => Ok(events
                .iter()
                .map(|event| json::compact(event.get()).into())
                .collect()),
            _ => Err("a case has either event, events or response".to_owned()),
        }
    }

    /// # Errors
    /// Members that do not go together: one of them would mean nothing.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.response.is_some() {
            if self.event.is_some() || self.events.is_some() || self.responses.is_some() {
                return Err(
                    "a case has either event, events or response: make two of it".to_owned(),
                );
            }
            if self.jobs == Some(0) {
                return Err("jobs must be at least 1".to_owned());
            }
        } else if self.jobs.is_some() {
            return Err("jobs belongs to a case with response".to_owned());
        }
        Ok(())
    }

    pub(super) fn responses(&self) -> Result<Vec<StepResponse>, String> {
        let Some(raw) = &self.responses else {
            return Ok(Vec::new());
        };
        let responses: Vec<WrittenAnswer> = read("responses", raw)?;
        Ok(responses.into_iter().map(StepResponse::from).collect())
    }

    pub(super) fn response(&self) -> Result<Option<StepResponse>, String> {
        let Some(raw) = &self.response else {
            return Ok(None);
        };
        read("response", raw).map(|response: WrittenAnswer| Some(response.into()))
    }

    pub(super) fn expected(&self) -> Result<Came, String> {
        let sends = self.requests.is_some();
        let refused = match (&self.filtered, &self.rejected, &self.result) {
            (Some(why), None, None) => Some(Refused::Filtered(why.clone())),
            (None, Some(why), None) => Some(Refused::Rejected(why.clone())),
            (None, None, None) if sends => None,
            (None, None, Some(Value::String(result))) if sends => {
                Some(Refused::Answered(result.clone()))
            }
            (None, None, Some(result)) if !sends => return Ok(Came::Result(result.clone())),
            _ => {
                return Err(
                    "a case expects requests, filtered or rejected (with the requests of \
                            earlier steps, if they sent some; result beside them, where an answer \
                            ended the attempt), or result; run `fairlane destination test --bless` \
                            to fill it in"
                        .to_owned(),
                );
            }
        };
        let requests = self.requests.as_ref().map(|raw| read("requests", raw));
        let requests = requests.transpose()?.unwrap_or_default();
        Ok(Came::Events(Outcome::of(requests, refused)))
    }

    /// Takes what came as what is expected. A request keeps the list of headers that its
    /// predecessor cared for.
    pub(super) fn expect(&mut self, came: &Came) {
        let before = match self.expected() {
            Ok(Came::Events(outcome)) => outcome.requests,
            _ => Vec::new(),
        };
        self.requests = None;
        self.filtered = None;
        self.rejected = None;
        self.result = None;
        match came {
            Came::Events(outcome) => {
                let mut requests = outcome.requests.clone();
                for (request, before) in requests.iter_mut().zip(&before) {
                    keep_headers(request, before);
                }
                if outcome.refused.is_none() || !requests.is_empty() {
                    self.requests = to_raw_value(&requests).ok();
                }
                match &outcome.refused {
                    None => {}
                    Some(Refused::Filtered(why)) => self.filtered = Some(why.clone()),
                    Some(Refused::Rejected(why)) => self.rejected = Some(why.clone()),
                    Some(Refused::Answered(result)) => {
                        self.result = Some(result.as_str().into());
                    }
                }
            }
            Came::Result(result) => self.result = Some(result.clone()),
        }
    }
}

/// Leaves of a request's headers those that the other's author cared for.
pub(super) fn keep_headers(request: &mut Value, before: &Value) {
    let Some(cared) = before.get("headers").and_then(Value::as_object) else {
        if let Some(request) = request.as_object_mut() {
            request.remove("headers");
        }
        return;
    };
    if let Some(headers) = request.get_mut("headers").and_then(Value::as_object_mut) {
        headers.retain(|name, _| cared.contains_key(name));
    }
}

fn read<T: for<'de> Deserialize<'de>>(what: &str, raw: &Raw) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|problem| format!("{what}: {problem}"))
}

/// A case file in memory.
pub(super) struct CaseFileText {
    cases: Vec<Case>,
    /// It holds one case, not a list.
    single: bool,
}

impl CaseFileText {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let single = text.trim_start().starts_with('{');
        let cases = if single {
            serde_json::from_str(text).map(|case| vec![case])
        } else {
            serde_json::from_str(text)
        };
        let cases: Vec<Case> = cases.map_err(|problem| problem.to_string())?;
        let mut names = HashSet::new();
        if let Some(again) = cases.iter().find(|case| !names.insert(&case.name)) {
            return Err(format!("two cases are named {:?}", again.name));
        }
        Ok(Self { cases, single })
    }

    pub(super) fn cases(&self) -> &[Case] {
        &self.cases
    }

    pub(super) fn cases_mut(&mut self) -> &mut [Case] {
        &mut self.cases
    }

    pub(super) fn write(&self) -> String {
        let text = match self.cases.as_slice() {
            [only] if self.single => serde_json::to_string_pretty(only),
            cases => serde_json::to_string_pretty(cases),
        };
        let mut text = text.unwrap_or_default();
        text.push('\n');
        text
    }
}
