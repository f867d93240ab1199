//! Settings: what an operator must, or may, say of a destination; and the check of what was said.

use std::borrow::Cow;
use std::fmt;

use model::Secret;
use model::registry::{CheckedSettings, Settings};
use serde_json::{Map, Value};
use url::Url;

use super::Definition;
use crate::binding::Binding;
use crate::token::TokenSource;

/// One setting of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingSpec {
    pub name: String,
    pub kind: SettingType,
    pub required: bool,
    /// Never seen by a program; placed when the request is finished.
    pub secret: bool,
    pub default: Option<Value>,
    /// Empty: any value.
    pub choices: Vec<String>,
    /// Of numbers.
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// One line: where to find it.
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingType {
    String,
    Number,
    Integer,
    Boolean,
    /// `http://` or `https://`, without user name and fragment.
    Url,
    List,
    Map,
}

impl SettingType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Url => "url",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String | Self::Url => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Map => value.is_object(),
        }
    }
}

/// What is wrong with one setting. The value itself is never shown: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    pub setting: String,
    pub problem: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl SettingSpec {
    /// # Errors
    /// What the value should have been.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        if !self.kind.fits(value) {
            let kind = self.kind.as_str();
            let article = if kind == "integer" { "an" } else { "a" };
            return Err(format!("must be {article} {kind}"));
        }
        if let Some(text) = value.as_str() {
            self.check_text(text)?;
        }
        if let Some(number) = value.as_f64()
            && (self.min.is_some_and(|min| number < min)
                || self.max.is_some_and(|max| number > max))
            && let Some(allowed) = self.allowed()
        {
            return Err(format!("must be {allowed}"));
        }
        // A request's depth of nesting is limited, and settings travel into it.
        crate::json::from_tree(value).map(|_| ())
    }

    /// What it may be, in words, where that is not anything of its type.
    #[must_use]
    pub fn allowed(&self) -> Option<String> {
        if self.choices.is_empty() {
            return self.range();
        }
        Some(format!("one of {}", self.choices.join(", ")))
    }

    /// The numbers that it may be, in words.
    pub(crate) fn range(&self) -> Option<String> {
        match (self.min, self.max) {
            (Some(min), Some(max)) => Some(format!("from {min} to {max}")),
            (Some(min), None) => Some(format!("at least {min}")),
            (None, Some(max)) => Some(format!("at most {max}")),
            (None, None) => None,
        }
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        if self.required && text.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == text) {
            return Err(format!("must be {}", self.allowed().unwrap_or_default()));
        }
        if self.secret && one_line(text).chars().any(char::is_control) {
            return Err(
                "has a line break or another control character in it; check what was \
                        pasted"
                    .to_owned(),
            );
        }
        if self.kind == SettingType::Url {
            check_url(text)?;
        }
        Ok(())
    }
}

/// A key file without its line breaks, as it is often pasted with them: a JSON object as it would be
/// without, PEM with `\n` in their place, as it stands in such an object. Any other text as it is.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.trim_start().starts_with("-----BEGIN ") {
        let lines: Vec<&str> = text.trim().lines().collect();
        return Cow::Owned(lines.join(r"\n"));
    }
    if !text.trim_start().starts_with('{') || !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(tree) => Cow::Owned(Value::Object(tree).to_string()),
        Err(_) => Cow::Borrowed(text),
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text)
        .map_err(|problem| format!("is no URL ({problem}); write https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "must begin with https:// or http://, not {}:",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (#...)".to_owned());
    }
    Ok(())
}

impl Definition {
    /// Checks what an operator configured: defaults filled in, secrets apart.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the settings' names.
    pub fn check_settings(&self, raw: &Settings) -> Result<CheckedSettings, Vec<SettingProblem>> {
        let mut checked = CheckedSettings::default();
        let mut problems = Vec::new();
        for name in raw.names() {
            if !self.settings.iter().any(|spec| spec.name == *name) {
                let problem = self.unknown_setting(name);
                problems.push(SettingProblem {
                    setting: name.to_owned(),
                    problem,
                });
            }
        }
        for spec in &self.settings {
            let given = raw.get(&spec.name).filter(|value| !value.is_null());
            let Some(value) = given.or(spec.default.as_ref()) else {
                if spec.required {
                    let problem = format!("is required: {}", spec.help);
                    problems.push(SettingProblem {
                        setting: spec.name.clone(),
                        problem,
                    });
                }
                continue;
            };
            if let Err(problem) = spec.check(value) {
                problems.push(SettingProblem {
                    setting: spec.name.clone(),
                    problem,
                });
            } else if spec.secret {
                let text = one_line(value.as_str().unwrap_or_default());
                // An empty optional secret is one that is not set.
                if !text.is_empty() {
                    checked.secrets.insert(spec.name.clone(), Secret::new(text));
                }
            } else {
                checked.values.insert(spec.name.clone(), value.clone());
            }
        }
        if problems.is_empty() {
            Ok(checked)
        } else {
            Err(problems)
        }
    }

    /// Whether settings that were checked let a token be fetched, where the definition needs one and
    /// none is set. Programs and cases run without.
    ///
    /// # Errors
    /// What must be set.
    pub fn check_token(&self, settings: &CheckedSettings) -> Result<(), SettingProblem> {
        if self.auth.iter().all(|auth| auth.token().is_none()) {
            return Ok(());
        }
        match Binding::new(self, settings).map(|binding| binding.token) {
            Ok(TokenSource::Fetched(grant)) => grant.map(|_| ()),
            // Settings of which no request can be made are told elsewhere.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn unknown_setting(&self, name: &str) -> String {
        let names = self.settings.iter().map(|spec| spec.name.as_str());
        match nearest(name, names.clone()) {
            Some(near) => format!("is no setting of {}; did you mean {near}?", self.id),
            None => {
                let known = names.collect::<Vec<_>>().join(", ");
                format!("is no setting of {}; it knows: {known}", self.id)
            }
        }
    }
}

/// Which of `known` a mistyped `word` most likely meant: at most a third of it mistyped.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = word.chars().count().div_ceil(3);
    known
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance between two words.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = *cell;
            previous = substituted.min(previous + 1).min(*cell + 1);
            *cell = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
