//! A definition: one folder of `destinations/`, loaded and checked.
//!
//! Loading parses `destination.toml` and every template in it, and reads the programs; a program is
//! compiled on first use and shared by all transformers of its definition.

use std::sync::Arc;

use memchr::memmem::Finder;
use model::Settings;
use serde_json::Value;

use crate::error::Error;
use crate::events::EVENT_TYPES;
use crate::program::{Compiled, Program, ProgramCache, Role, Source};
use crate::status::StatusSet;
use crate::template::Template;

mod auth;
mod folder;
mod load;
mod raw;
#[cfg(test)]
mod schema;
mod sender;
pub mod settings;

pub(crate) use auth::{AuthSpec, Grant, LoginBody, OAuth1Spec, SigV4Spec, TokenPlace, TokenSpec};
pub use folder::{Folder, FoundFolder, without_mark};
pub use sender::Sender;
use settings::SettingSpec;

/// How a definition batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    pub events_max: u32,
    /// Of the entries, as JSON.
    pub bytes_max: u64,
    /// The longest that an event waits for company.
    pub wait_ms: u64,
}

/// How a program's `body` becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    Json,
    Form,
    Multipart,
    Ndjson,
    Text,
    Xml,
    /// Texts that are lines already.
    Lines,
    Parquet,
}

impl Encoding {
    pub(crate) const NAMES: &str = "json, form, multipart, ndjson, lines, parquet, text or xml";

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "form" => Self::Form,
            "multipart" => Self::Multipart,
            "ndjson" => Self::Ndjson,
            "text" => Self::Text,
            "xml" => Self::Xml,
            "lines" => Self::Lines,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    Program,
    /// The body is the event's own bytes, which are never parsed.
    Event,
}

/// What `[request]` says.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestSpec {
    pub(crate) method: Option<Template>,
    pub(crate) url: Option<Template>,
    pub(crate) headers: Vec<(String, Template)>,
    /// The name of a map setting whose pairs are headers.
    pub(crate) headers_setting: Option<String>,
}

/// What a response rule says became of the job, or jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Delivered,
    Filtered,
    Refused,
    TooLarge,
    Invalid,
    Retry,
    RateLimited,
    Unavailable,
    ServerError,
    Conflict,
    Unauthorized,
    Forbidden,
    NotFound,
    Gone,
}

/// One `[[response]]`.
#[derive(Debug)]
pub(crate) struct ResponseRule {
    pub(crate) status: Option<StatusSet>,
    pub(crate) when: Option<Source>,
    pub(crate) result: Verdict,
}

/// One `[[partial]]`.
#[derive(Debug)]
pub(crate) struct PartialRule {
    pub(crate) status: Option<StatusSet>,
    pub(crate) failed: Source,
    pub(crate) result: Verdict,
    pub(crate) rest: Verdict,
}

/// A recorded case file, as it stands in the folder.
#[derive(Debug, Clone)]
pub(crate) struct CaseFile {
    /// `cases/x.json`
    pub(crate) path: String,
    pub(crate) text: String,
}

/// One destination that Fairlane knows how to serve. Immutable; shared by `Arc`.
#[derive(Debug)]
pub struct Definition {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) docs: String,
    /// Of the files that make it what it does.
    pub(crate) digest: u64,
    pub(crate) readme: Option<String>,
    pub(crate) sender: Sender,
    /// `None` takes all types that there are.
    pub(crate) events: Option<Vec<String>>,
    /// Those types as members of JSON, to look for.
    pub(crate) type_members: Option<Vec<Finder<'static>>>,
    pub(crate) payload: Payload,
    pub(crate) encoding: Encoding,
    pub(crate) gzip: bool,
    pub(crate) retry_expiry_ms: u64,
    pub(crate) rate_limit_per_s: Option<f64>,
    pub(crate) settings: Vec<SettingSpec>,
    pub(crate) hosts: Vec<Template>,
    pub(crate) auth: Vec<AuthSpec>,
    pub(crate) request: RequestSpec,
    /// What its sender needs beside a request.
    pub(crate) options: Vec<(String, Template)>,
    pub(crate) batch: Option<BatchLimits>,
    /// The integer setting that says how many events a request may hold: below 2, none are batched.
    pub(crate) batch_setting: Option<String>,
    pub(crate) steps: Vec<Source>,
    pub(crate) steps_accept: StatusSet,
    /// Which answers to look-ups are kept: true or false. Without it, those with 2xx.
    pub(crate) cache_when: Option<Source>,
    pub(crate) batch_program: Option<Source>,
    pub(crate) responses: Vec<ResponseRule>,
    pub(crate) partials: Vec<PartialRule>,
    pub(crate) cases: Vec<CaseFile>,
    /// Filters and transforms of connections, shared over all definitions of a catalog.
    pub(crate) cache: Arc<ProgramCache>,
}

impl Definition {
    /// The folder's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn category(&self) -> &str {
        &self.category
    }

    /// The service's own API documentation: a link.
    #[must_use]
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// The folder's README.md; empty where it has none.
    #[must_use]
    pub fn readme(&self) -> &str {
        self.readme.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn settings(&self) -> &[SettingSpec] {
        &self.settings
    }

    /// How a destination with these settings batches; `None` where every event goes alone.
    #[must_use]
    pub fn batch(&self, settings: &Settings) -> Option<BatchLimits> {
        self.batch_sized(|name| settings.get(name))
    }

    pub(crate) fn batch_sized<'a>(
        &self,
        setting: impl Fn(&str) -> Option<&'a Value>,
    ) -> Option<BatchLimits> {
        let limits = self.batch?;
        let Some(name) = &self.batch_setting else {
            return Some(limits);
        };
        let default = self.settings.iter().find(|spec| spec.name == *name);
        let size = setting(name)
            .filter(|value| !value.is_null())
            .or(default.and_then(|spec| spec.default.as_ref()))
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        (size > 1).then(|| BatchLimits {
            events_max: size.min(limits.events_max),
            ..limits
        })
    }

    /// Requests a second that the service declares to take.
    #[must_use]
    pub fn rate_limit_per_s(&self) -> Option<f64> {
        self.rate_limit_per_s
    }

    /// A job that keeps failing on its own expires after this long.
    #[must_use]
    pub fn retry_expiry_ms(&self) -> u64 {
        self.retry_expiry_ms
    }

    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// The types of event it takes; `None` for all.
    #[must_use]
    pub fn events(&self) -> Option<&[String]> {
        self.events.as_deref()
    }

    /// How many recorded case files it has.
    #[must_use]
    pub fn case_files(&self) -> usize {
        self.cases.len()
    }

    /// Compiles every program now. Without this call each is compiled on its first use.
    ///
    /// # Errors
    /// The first program that does not compile, with its file and line.
    pub fn compile(&self) -> Result<(), Error> {
        self.programs()
            .try_for_each(|source| self.program(source).map(|_| ()))
    }

    /// Whether a transformer with these filters and this transform is made without compiling anything.
    pub fn has_compiled<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a str>,
        transform: Option<&'a str>,
    ) -> bool {
        self.programs().all(Source::is_compiled)
            && self.cache.has_all(of_connection(filters, transform))
    }

    /// Compiles all that a transformer with these filters and this transform needs, on any thread: it may
    /// take a second.
    ///
    /// # Errors
    /// The first program that does not compile.
    pub fn compile_with<'a>(
        &self,
        filters: impl IntoIterator<Item = &'a str>,
        transform: Option<&'a str>,
    ) -> Result<Compiled, Error> {
        self.compile()?;
        self.cache.compile_all(of_connection(filters, transform))
    }

    /// Of all its programs: about what compiling them costs.
    #[must_use]
    pub fn program_bytes(&self) -> usize {
        self.programs().map(Source::bytes).sum()
    }

    pub(crate) fn program(&self, source: &Source) -> Result<Arc<Program>, Error> {
        source.program(&self.settings)
    }

    /// Whether its event programs look at `.record`.
    pub(crate) fn wants_origin(&self) -> bool {
        self.steps.iter().any(|step| step.mentions(".record"))
    }

    /// Whether one of its programs has this word in it.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.programs().any(|source| source.mentions(word))
    }

    fn programs(&self) -> impl Iterator<Item = &Source> {
        self.steps
            .iter()
            .chain(&self.batch_program)
            .chain(self.responses.iter().filter_map(|rule| rule.when.as_ref()))
            .chain(self.partials.iter().map(|rule| &rule.failed))
            .chain(&self.cache_when)
            .chain(self.auth.iter().filter_map(AuthSpec::program))
    }

    /// Whether another, loaded at another time, was made of the same files. Cases do nothing.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        self.id == other.id && self.digest == other.digest
    }

    /// Whether its programs look at events. Those of others go as they are, or nowhere.
    pub(crate) fn needs_tree(&self) -> bool {
        !self.steps.is_empty()
    }

    /// A quick look at an event's JSON: false only where it is not as most are, or not to be taken.
    pub(crate) fn may_take(&self, event: &[u8]) -> bool {
        self.type_members
            .as_ref()
            .is_none_or(|members| members.iter().any(|member| member.find(event).is_some()))
    }

    pub(crate) fn takes(&self, event_type: &str) -> bool {
        match &self.events {
            Some(types) => types.iter().any(|taken| taken == event_type),
            None => EVENT_TYPES.contains(&event_type),
        }
    }
}

/// What a connection brings itself.
fn of_connection<'a>(
    filters: impl IntoIterator<Item = &'a str>,
    transform: Option<&'a str>,
) -> impl Iterator<Item = (Role, &'a str)> {
    let filters = filters.into_iter().map(|text| (Role::Filter, text));
    filters.chain(transform.map(|text| (Role::Transform, text)))
}

#[cfg(test)]
pub(crate) mod tests;
