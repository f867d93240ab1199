//! Loads a definition from its folder's files: every error names file and line, and what to do.

use std::ops::Range;
use std::sync::Arc;

use memchr::memmem::Finder;
use toml::Spanned;

use super::raw::{RawBatch, RawDefinition, RawRequest, RawSetting, RetryExpiry};
use super::settings::{SettingSpec, SettingType, nearest};
use super::{
    BatchLimits, CaseFile, Definition, Folder, PartialRule, Payload, RequestSpec, ResponseRule,
    Sender,
};
use crate::binding::check_host;
use crate::error::{Error, line_of};
use crate::events::EVENT_TYPES;
use crate::limits::BATCH_WAIT_MS_MAX;
use crate::marks;
use crate::program::{ProgramCache, Role, Source};
use crate::request::{check_header_value, check_method, header_name};
use crate::template::Template;

pub(super) mod auth;

const HOUR_MS: u64 = 3_600_000;

impl Definition {
    /// Loads and checks a folder. Its programs are not compiled yet: see [`Definition::compile`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(folder: Folder) -> Result<Self, Error> {
        Self::load_with(folder, Arc::default())
    }

    pub(crate) fn load_with(folder: Folder, cache: Arc<ProgramCache>) -> Result<Self, Error> {
        check_id(&folder)?;
        let text = folder
            .files
            .get("destination.toml")
            .ok_or_else(|| Error::Definition {
                place: folder.place.clone(),
                problem: "has no destination.toml; see docs/reference/destination.md".to_owned(),
            })?;
        let raw: RawDefinition = toml::from_str(text).map_err(|problem| {
            let line = problem.span().map_or(1, |span| line_of(text, span.start));
            Error::Definition {
                place: format!("{}/destination.toml:{line}", folder.place),
                problem: problem.message().trim().to_owned(),
            }
        })?;
        let settings = Loader {
            folder: &folder,
            text,
            settings: &[],
            has_token: false,
        }
        .settings(&raw)?;
        Loader {
            folder: &folder,
            text,
            settings: &settings,
            has_token: auth::has_token(&raw.auth.0),
        }
        .definition(raw, cache)
    }
}

fn check_id(folder: &Folder) -> Result<(), Error> {
    let first = folder
        .id
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = folder
        .id
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if first && rest && folder.id.len() <= model::Name::BYTES_MAX {
        return Ok(());
    }
    Err(Error::Definition {
        place: folder.place.clone(),
        problem: "a folder's name is its id: use a-z, 0-9, '-', '_', beginning with a letter or \
                  digit"
            .to_owned(),
    })
}

struct Loader<'a> {
    folder: &'a Folder,
    text: &'a str,
    settings: &'a [SettingSpec],
    /// Some auth has a token, so programs may say `{{auth.token}}`.
    has_token: bool,
}

impl Loader<'_> {
    fn error(&self, span: &Range<usize>, problem: impl Into<String>) -> Error {
        Error::Definition {
            place: self.place(span.start),
            problem: problem.into(),
        }
    }

    fn place(&self, at: usize) -> String {
        format!(
            "{}/destination.toml:{}",
            self.folder.place,
            line_of(self.text, at)
        )
    }

    fn settings(&self, raw: &RawDefinition) -> Result<Vec<SettingSpec>, Error> {
        let taken = |name: &str| {
            let secret = name
                .strip_prefix("has_")
                .and_then(|of| raw.settings.get(of));
            secret.is_some_and(|secret| secret.get_ref().secret)
        };
        if let Some((name, spanned)) = raw.settings.iter().find(|(name, _)| taken(name)) {
            let problem = format!(
                "[settings.{name}]: programs see by this name whether the secret is set: use another"
            );
            return Err(self.error(&spanned.span(), problem));
        }
        raw.settings
            .iter()
            .map(|(name, spanned)| self.setting(name, spanned))
            .collect()
    }

    fn setting(&self, name: &str, spanned: &Spanned<RawSetting>) -> Result<SettingSpec, Error> {
        let raw = spanned.get_ref();
        let wrong = |problem: &str| {
            Err(self.error(&spanned.span(), format!("[settings.{name}]: {problem}")))
        };
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if name.is_empty() || !plain {
            return wrong("a setting's name is made of a-z, 0-9 and '_'");
        }
        if raw.help.trim().is_empty() {
            return wrong("help must say where to find it");
        }
        if raw.secret && !matches!(raw.kind, SettingType::String | SettingType::Url) {
            return wrong("only a string or url can be secret");
        }
        if raw.default.is_some() && (raw.required || raw.secret) {
            return wrong("a setting with a default is neither required nor secret");
        }
        if raw.choices.is_some() && raw.kind != SettingType::String {
            return wrong("choices belong to string settings");
        }
        if raw.choices.as_ref().is_some_and(Vec::is_empty) {
            return wrong("choices = [] leaves nothing to choose: name some, or remove it");
        }
        let bounds = [raw.min, raw.max];
        if bounds.iter().any(Option::is_some)
            && !matches!(raw.kind, SettingType::Number | SettingType::Integer)
        {
            return wrong("min and max belong to number and integer settings");
        }
        let all_finite = bounds.iter().flatten().all(|bound| bound.is_finite());
        if !all_finite {
            return wrong("min and max must be numbers");
        }
        let possible = match (bounds, raw.kind) {
            ([Some(min), Some(max)], SettingType::Integer) => min.ceil() <= max.floor(),
            ([Some(min), Some(max)], _) => min <= max,
            _ => true,
        };
        if !possible {
            return wrong("no number is from min to max");
        }
        let spec = SettingSpec {
            name: name.to_owned(),
            kind: raw.kind,
            required: raw.required,
            secret: raw.secret,
            default: raw.default.clone(),
            choices: raw.choices.clone().unwrap_or_default(),
            min: raw.min,
            max: raw.max,
            help: raw.help.trim().to_owned(),
        };
        if let Some(default) = &spec.default
            && let Err(problem) = spec.check(default)
        {
            return wrong(&format!("its default {problem}"));
        }
        Ok(spec)
    }

    fn definition(
        &self,
        raw: RawDefinition,
        cache: Arc<ProgramCache>,
    ) -> Result<Definition, Error> {
        self.check_whole(&raw)?;
        let hosts = raw
            .hosts
            .iter()
            .map(|host| self.host(raw.sender, host))
            .collect::<Result<_, _>>()?;
        self.check_tokens(&raw.auth.0)?;
        let auth = raw
            .auth
            .0
            .iter()
            .enumerate()
            .map(|(index, auth)| self.auth(index, auth))
            .collect::<Result<Vec<_>, _>>()?;
        let events = self.events(&raw)?;
        let has_program = raw.payload == Payload::Program && raw.sender != Sender::Blackhole;
        Ok(Definition {
            id: self.folder.id.clone(),
            digest: self.folder.digest(),
            type_members: events.as_deref().map(type_members),
            events,
            rate_limit_per_s: self.rate(&raw)?,
            hosts,
            auth: auth.into_iter().flatten().collect(),
            request: self.request(raw.request.as_ref())?,
            options: self.options(&raw)?,
            steps: if has_program {
                self.steps(&raw)?
            } else {
                Vec::new()
            },
            batch_program: raw
                .batch
                .as_ref()
                .filter(|_| has_program)
                .map(|batch| self.program_file(&batch.span(), "batch.vrl", Role::Batch))
                .transpose()?,
            batch: raw
                .batch
                .as_ref()
                .map(|batch| self.batch(batch))
                .transpose()?,
            batch_setting: raw
                .batch
                .as_ref()
                .and_then(|batch| batch.get_ref().events_setting.clone()),
            responses: self.responses(&raw)?,
            partials: self.partials(&raw)?,
            cases: self.cases(),
            name: raw.name,
            category: raw.category,
            docs: raw.docs,
            readme: self.folder.files.get("README.md").cloned(),
            sender: raw.sender,
            payload: raw.payload,
            encoding: raw.body,
            gzip: raw.gzip,
            retry_expiry_ms: match raw.retry_expiry {
                RetryExpiry::Analytics => 4 * HOUR_MS,
                RetryExpiry::Webhook => 72 * HOUR_MS,
            },
            settings: self.settings.to_vec(),
            steps_accept: raw
                .steps_accept
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            cache_when: raw
                .cache_when
                .map(|when| self.inline(&when, Role::Response)),
            cache,
        })
    }

    fn check_whole(&self, raw: &RawDefinition) -> Result<(), Error> {
        let top = 0..0;
        if raw.name.trim().is_empty() || raw.category.trim().is_empty() {
            return Err(self.error(&top, "name and category must not be empty"));
        }
        if [&raw.name, &raw.category, &raw.docs]
            .iter()
            .any(|text| text.contains(char::is_control))
        {
            let problem = "name, category and docs are one line each, without control characters";
            return Err(self.error(&top, problem));
        }
        if raw.sender == Sender::Blackhole {
            return Ok(());
        }
        let has_url = raw
            .request
            .as_ref()
            .is_some_and(|request| request.get_ref().url.is_some());
        if raw.hosts.is_empty() && !has_url {
            let problem =
                "say where requests may go: hosts = [\"api.example.com\"], or [request] url";
            return Err(self.error(&top, problem));
        }
        if raw.sender != Sender::Http && !raw.auth.0.is_empty() {
            let problem =
                "[auth] is for the sender http: others take keys and passwords in [options]";
            return Err(self.error(&top, problem));
        }
        if raw.payload == Payload::Event {
            if !raw.sender.takes_events_as_they_are() {
                let problem =
                    "this sender needs payload = \"program\": each request a place of its own";
                return Err(self.error(&top, problem));
            }
            if !has_url {
                return Err(self.error(&top, "payload = \"event\" needs [request] url"));
            }
            if raw.steps.is_some() {
                let problem = "payload = \"event\" has no programs: remove steps";
                return Err(self.error(&top, problem));
            }
        }
        if let (Some(batch), Some(_)) = (&raw.batch, &raw.steps) {
            return Err(self.error(&batch.span(), "a definition has either [batch] or steps"));
        }
        if raw.steps.as_ref().is_none_or(|steps| steps.len() < 2) {
            let accept = raw.steps_accept.as_ref().map(Spanned::span);
            if let Some(place) = accept.or(raw.cache_when.as_ref().map(Spanned::span)) {
                let problem = "steps_accept and cache_when are about answers to earlier steps: name two \
                               programs or more in steps";
                return Err(self.error(&place, problem));
            }
        }
        Ok(())
    }

    fn events(&self, raw: &RawDefinition) -> Result<Option<Vec<String>>, Error> {
        let Some(types) = &raw.events else {
            return Ok(None);
        };
        if types.is_empty() {
            let problem = "events = [] takes none: name some, or remove it to take all";
            return Err(self.error(&(0..0), problem));
        }
        for kind in types {
            if !EVENT_TYPES.contains(&kind.get_ref().as_str()) {
                let problem = format!(
                    "{:?} is no type of event: use {}",
                    kind.get_ref(),
                    EVENT_TYPES.join(", ")
                );
                return Err(self.error(&kind.span(), problem));
            }
        }
        let types: Vec<String> = types.iter().map(|kind| kind.get_ref().clone()).collect();
        let all = EVENT_TYPES
            .iter()
            .all(|kind| types.iter().any(|taken| taken == kind));
        Ok(if all { None } else { Some(types) })
    }

    fn rate(&self, raw: &RawDefinition) -> Result<Option<f64>, Error> {
        let Some(rate) = &raw.rate_limit_per_s else {
            return Ok(None);
        };
        if rate.get_ref().is_finite() && *rate.get_ref() > 0.0 {
            return Ok(Some(*rate.get_ref()));
        }
        Err(self.error(&rate.span(), "rate_limit_per_s must be more than 0"))
    }

    /// What settings make of a host is looked at when they are known, see `Binding`.
    fn host(&self, sender: Sender, host: &Spanned<String>) -> Result<Template, Error> {
        let template = self.template(&host.span(), host.get_ref())?;
        if let Some(text) = template.literal().filter(|_| sender != Sender::Blackhole) {
            check_host(text, sender)
                .map_err(|problem| self.error(&host.span(), format!("hosts: {problem}")))?;
        }
        Ok(template)
    }

    fn template(&self, span: &Range<usize>, text: &str) -> Result<Template, Error> {
        Template::parse(text, self.settings).map_err(|problem| self.error(span, problem))
    }

    fn request(&self, raw: Option<&Spanned<RawRequest>>) -> Result<RequestSpec, Error> {
        let Some(spanned) = raw else {
            return Ok(RequestSpec::default());
        };
        let (span, raw) = (spanned.span(), spanned.get_ref());
        let wrong = |problem: String| self.error(&span, problem);
        let template = |text: &String| {
            Template::parse_request(text, self.settings, self.has_token).map_err(wrong)
        };
        let mut headers = Vec::new();
        for (name, value) in &raw.headers {
            let name = header_name(name).map_err(wrong)?;
            let value = template(value)?;
            check_header(&name, &value).map_err(wrong)?;
            headers.push((name, value));
        }
        let method = raw.method.as_ref().map(template).transpose()?;
        if let Some(method) = method.as_ref().and_then(Template::literal) {
            check_method(method).map_err(wrong)?;
        }
        if let Some(name) = &raw.headers_setting {
            let is_map = |spec: &&SettingSpec| spec.name == *name && spec.kind == SettingType::Map;
            if !self.settings.iter().any(|spec| is_map(&spec)) {
                let problem = format!("headers_setting: {name} is no setting of type \"map\"");
                return Err(self.error(&span, problem));
            }
        }
        Ok(RequestSpec {
            method,
            url: raw.url.as_ref().map(template).transpose()?,
            headers,
            headers_setting: raw.headers_setting.clone(),
        })
    }

    fn options(&self, raw: &RawDefinition) -> Result<Vec<(String, Template)>, Error> {
        let known = raw.sender.option_names();
        let mut options = Vec::new();
        for (name, value) in &raw.options {
            if !known.contains(&name.as_str()) {
                let problem = match (known, nearest(name, known.iter().copied())) {
                    ([], _) => format!("[options] {name}: this sender has no options"),
                    (_, Some(near)) => format!(
                        "[options] {name}: this sender has no such option; did you mean {near}?"
                    ),
                    (known, None) => format!(
                        "[options] {name}: this sender has no such option; it knows: {}",
                        known.join(", ")
                    ),
                };
                return Err(self.error(&value.span(), problem));
            }
            let template = self.template(&value.span(), value.get_ref())?;
            options.push((name.clone(), template));
        }
        Ok(options)
    }

    fn batch(&self, spanned: &Spanned<RawBatch>) -> Result<BatchLimits, Error> {
        let raw = spanned.get_ref();
        let bytes_max = u64::try_from(crate::limits::BODY_BYTES_MAX).unwrap_or(u64::MAX);
        if raw.events_max == 0 || raw.bytes_max == 0 || raw.bytes_max > bytes_max {
            let problem =
                format!("[batch] events_max must be at least 1, bytes_max 1 to {bytes_max}");
            return Err(self.error(&spanned.span(), problem));
        }
        if raw.wait_ms > BATCH_WAIT_MS_MAX {
            let problem = format!("[batch] wait_ms must be at most {BATCH_WAIT_MS_MAX}, an hour");
            return Err(self.error(&spanned.span(), problem));
        }
        if let Some(name) = &raw.events_setting {
            let is_integer =
                |spec: &SettingSpec| spec.name == *name && spec.kind == SettingType::Integer;
            if !self.settings.iter().any(is_integer) {
                let problem =
                    format!("[batch] events_setting: {name} is no setting of type \"integer\"");
                return Err(self.error(&spanned.span(), problem));
            }
        }
        Ok(BatchLimits {
            events_max: raw.events_max,
            bytes_max: raw.bytes_max,
            wait_ms: raw.wait_ms,
        })
    }

    fn steps(&self, raw: &RawDefinition) -> Result<Vec<Source>, Error> {
        let default = [Spanned::new(0..0, "event.vrl".to_owned())];
        let names = raw.steps.as_deref().unwrap_or(&default);
        if names.is_empty() {
            return Err(self.error(&(0..0), "steps must name at least one program"));
        }
        names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let role = if index == 0 { Role::Event } else { Role::Step };
                self.program_file(&name.span(), name.get_ref(), role)
            })
            .collect()
    }

    fn program_file(&self, span: &Range<usize>, file: &str, role: Role) -> Result<Source, Error> {
        let Some(text) = self.folder.files.get(file) else {
            return Err(self.error(span, format!("there is no {file} beside destination.toml")));
        };
        let path = format!("{}/{file}", self.folder.place);
        let marked =
            marks::place(text, self.settings, self.has_token).map_err(|(at, problem)| {
                Error::Definition {
                    place: format!("{path}:{}", line_of(text, at)),
                    problem,
                }
            })?;
        Ok(Source::new(path, None, marked, role))
    }

    fn inline(&self, source: &Spanned<String>, role: Role) -> Source {
        let start = source.span().start;
        let written = self.text.get(start..).unwrap_or_default();
        // TOML drops a line break right behind the quotes.
        let below = ["'''\n", "'''\r\n", "\"\"\"\n", "\"\"\"\r\n"];
        let below = below.iter().any(|quotes| written.starts_with(quotes));
        let line = line_of(self.text, start) + usize::from(below);
        let path = format!("{}/destination.toml", self.folder.place);
        Source::new(path, Some(line), source.get_ref().clone(), role)
    }

    fn responses(&self, raw: &RawDefinition) -> Result<Vec<ResponseRule>, Error> {
        let mut rules = Vec::new();
        for spanned in &raw.response {
            let rule = spanned.get_ref();
            if rule.status.is_none() && rule.when.is_none() {
                return Err(self.error(&spanned.span(), "[[response]] needs status, when, or both"));
            }
            rules.push(ResponseRule {
                status: rule.status.clone(),
                when: rule
                    .when
                    .as_ref()
                    .map(|when| self.inline(when, Role::Response)),
                result: rule.result,
            });
        }
        Ok(rules)
    }

    fn partials(&self, raw: &RawDefinition) -> Result<Vec<PartialRule>, Error> {
        let mut rules = Vec::new();
        for spanned in &raw.partial {
            if raw.batch.is_none() {
                return Err(self.error(&spanned.span(), "[[partial]] needs [batch]"));
            }
            let rule = spanned.get_ref();
            rules.push(PartialRule {
                status: rule.status.clone(),
                failed: self.inline(&rule.failed, Role::Partial),
                result: rule.result,
                rest: rule.rest,
            });
        }
        Ok(rules)
    }

    fn cases(&self) -> Vec<CaseFile> {
        let is_case = |path: &&String| path.starts_with("cases/") && path.ends_with(".json");
        let files = self.folder.files.iter().filter(|(path, _)| is_case(path));
        files
            .map(|(path, text)| CaseFile {
                path: path.clone(),
                text: text.clone(),
            })
            .collect()
    }
}

/// What a header's author wrote of it. What settings add is looked at when they are known.
fn check_header(name: &str, value: &Template) -> Result<(), String> {
    value
        .written()
        .try_for_each(|text| check_header_value(name, text))
}

/// Event types as an event's JSON spells them, where nobody put spaces into it.
fn type_members(types: &[String]) -> Vec<Finder<'static>> {
    types
        .iter()
        .map(|kind| Finder::new(&format!("\"type\":\"{kind}\"")).into_owned())
        .collect()
}
