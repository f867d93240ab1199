//! Templates: strings of `destination.toml` with `{{settings.x}}` and `{{secret.x}}` in them, in
//! `[request]` also `{{auth.token}}`.

use std::fmt;

use model::registry::CheckedSettings;

use crate::definition::settings::SettingSpec;
use crate::encode;
use crate::marks;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Setting(String),
    Secret {
        name: String,
        index: usize,
    },
    /// The token of `[auth]`.
    Token,
}

impl Template {
    /// # Errors
    /// A placeholder that names no setting, or is not closed.
    pub(crate) fn parse(text: &str, settings: &[SettingSpec]) -> Result<Self, String> {
        Self::parse_parts(text, |inside| placeholder(inside, settings))
    }

    /// As [`Template::parse`], for what goes into a request: `{{auth.token}}` stands for the token, if
    /// there is one. Not in a host: a service's answer must not choose where a request goes.
    pub(crate) fn parse_request(
        text: &str,
        settings: &[SettingSpec],
        has_token: bool,
    ) -> Result<Self, String> {
        let parsed = Self::parse_parts(text, |inside| match inside {
            "auth.token" if has_token => Ok(Part::Token),
            "auth.token" => Err(marks::NO_TOKEN.to_owned()),
            inside => placeholder(inside, settings),
        })?;
        let before = text.split("{{auth.token}}").next().unwrap_or_default();
        let host = before.split_once("://").map(|(_, host)| host);
        if parsed.parts.contains(&Part::Token)
            && host.is_some_and(|host| !host.contains(['/', '?']))
        {
            return Err(
                "{{auth.token}} stands in a path, a query or a header, not in a host".to_owned(),
            );
        }
        Ok(parsed)
    }

    fn parse_parts(
        text: &str,
        placeholder: impl Fn(&str) -> Result<Part, String>,
    ) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((inside, tail)) = after.split_once("}}") else {
                return Err(format!("{text:?} opens \"{{{{\" without \"}}}}\""));
            };
            parts.push(placeholder(inside.trim())?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The whole of it, where it has no placeholder.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What its author wrote around the placeholders.
    pub(crate) fn written(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Setting(_) | Part::Secret { .. } | Part::Token => None,
        })
    }

    /// The text with values and secrets in it, or `None` where one of them is not set.
    pub(crate) fn reveal(&self, settings: &CheckedSettings) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Setting(name) => out.push_str(&value_text(settings, name)?),
                Part::Secret { name, .. } => out.push_str(settings.secrets.get(name)?.reveal()),
                // Only requests have it, and those are marked.
                Part::Token => return None,
            }
        }
        Some(out)
    }

    /// The text with values in it and marks in place of secrets, or `None` where one is not set.
    pub(crate) fn marked(&self, settings: &CheckedSettings) -> Option<String> {
        self.fill(settings, |out, value| out.push_str(value))
    }

    /// As [`Template::marked`], for a URL: a value behind the host is percent-encoded, so that no
    /// setting can add a path segment or a parameter.
    pub(crate) fn marked_url(&self, settings: &CheckedSettings) -> Option<String> {
        self.fill(settings, |out, value| {
            let in_host = match out.split_once("://") {
                Some((_, behind)) => !behind.contains(['/', '?']),
                None => true,
            };
            if in_host && !marks::leads(out) {
                out.push_str(value);
            } else {
                out.push_str(&encode::component(value));
            }
        })
    }

    /// The settings and secrets it needs that are not set.
    pub(crate) fn unset<'a>(
        &'a self,
        settings: &'a CheckedSettings,
    ) -> impl Iterator<Item = &'a str> {
        self.names().filter(|name| {
            value_text(settings, name).is_none() && !settings.secrets.contains_key(*name)
        })
    }

    /// The settings and secrets it needs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) | Part::Token => None,
            Part::Setting(name) | Part::Secret { name, .. } => Some(name.as_str()),
        })
    }

    /// Whether no value ends the host of this URL before its author did. A URL that begins with a
    /// value is that value's own.
    pub(crate) fn keeps_host(&self, settings: &CheckedSettings) -> bool {
        let mut kept = true;
        self.fill(settings, |out, value| {
            let in_host = out
                .split_once("://")
                .is_some_and(|(_, behind)| !behind.contains(['/', '?']));
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            kept &= !in_host || value.bytes().all(plain);
            out.push_str(value);
        });
        kept
    }

    fn fill(
        &self,
        settings: &CheckedSettings,
        mut push: impl FnMut(&mut String, &str),
    ) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Setting(name) => push(&mut out, &value_text(settings, name)?),
                Part::Secret { name, index } => {
                    settings.secrets.get(name)?;
                    out.push_str(&marks::mark(*index));
                }
                Part::Token => out.push_str(&marks::mark(marks::TOKEN)),
            }
        }
        Some(out)
    }
}

/// As its author wrote it.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Setting(name) => write!(f, "{{{{settings.{name}}}}}"),
            Part::Secret { name, .. } => write!(f, "{{{{secret.{name}}}}}"),
            Part::Token => f.write_str("{{auth.token}}"),
        })
    }
}

fn placeholder(inside: &str, settings: &[SettingSpec]) -> Result<Part, String> {
    let (name, secret) = match inside.split_once('.') {
        Some(("settings", name)) => (name, false),
        Some(("secret", name)) => (name, true),
        _ => {
            return Err(format!(
                "{{{{{inside}}}}} is no placeholder: write {{{{settings.NAME}}}} or {{{{secret.NAME}}}}"
            ));
        }
    };
    let Some(index) = settings.iter().position(|setting| setting.name == name) else {
        return Err(format!(
            "{{{{{inside}}}}} names no setting; add [settings.{name}]"
        ));
    };
    let is_secret = settings.get(index).is_some_and(|setting| setting.secret);
    match (is_secret, secret) {
        (true, true) => Ok(Part::Secret {
            name: name.to_owned(),
            index,
        }),
        (false, false) => Ok(Part::Setting(name.to_owned())),
        (true, false) => Err(format!("{name} is a secret: write {{{{secret.{name}}}}}")),
        (false, true) => Err(format!(
            "{name} is no secret: write {{{{settings.{name}}}}}"
        )),
    }
}

fn value_text(settings: &CheckedSettings, name: &str) -> Option<String> {
    match settings.values.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
