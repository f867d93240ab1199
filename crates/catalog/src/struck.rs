//! Secrets struck out: invented ones in their place, so that what was sent and answered can be shown
//! and kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::definition::Definition;
use crate::definition::settings::SettingType;
use crate::encode;
use crate::finish::FinalRequest;

/// Shorter texts are no secrets, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 4;

/// A secret as a request may hold it, and an answer repeat it: as it is, and as URLs, forms, JSON (once,
/// or where our body is quoted, twice; with or without `\u` escapes) and base64 write it. Longer ones
/// first: one may hold another.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Vec::new();
    }
    let percent = encode::component(secret);
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = in_json(secret);
    // As PHP, .NET and others write it.
    let escaped = [
        json.replace('/', "\\/"),
        ascii_only(&json),
        ascii_only(&json).replace('/', "\\/"),
        unicode_escaped(&json, false),
        unicode_escaped(&json, true),
        json,
    ];
    let mut forms = vec![
        secret.to_owned(),
        lower_hex(&percent),
        lower_hex(&form),
        percent,
        form,
        html(secret, "&#39;", false),
        html(secret, "&#x27;", true),
        BASE64.encode(secret),
    ];
    forms.extend(escaped.iter().map(|text| in_json(text)));
    forms.extend(escaped);
    longest_first(&mut forms);
    forms
}

/// With `\u` escapes for what .NET takes for dangerous.
fn unicode_escaped(json: &str, upper: bool) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '+' | '<' | '>' | '&' | '\'' | '`' if upper => {
                let _ = write!(out, "\\u{:04X}", u32::from(char));
            }
            '+' | '<' | '>' | '&' | '\'' | '`' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            other => out.push(other),
        }
    }
    out
}

/// `%2F` as `%2f`.
fn lower_hex(percent: &str) -> String {
    let mut parts = percent.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        out.push('%');
        out.push_str(&hex.to_ascii_lowercase());
        out.push_str(rest);
    }
    out
}

/// As text in a page; `all`: with what only some escape.
fn html(text: &str, quote: &str, all: bool) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', quote);
    match all {
        true => text.replace('/', "&#x2F;").replace('=', "&#x3D;"),
        false => text,
    }
}

/// The value of a header that holds a secret, as an answer may repeat it: whole, and without what
/// stands before it, as `Basic `.
pub(crate) fn header_forms(value: &str) -> Vec<String> {
    let mut all = forms(value);
    if let Some((_, secret)) = value.split_once(' ') {
        all.extend(forms(secret));
    }
    longest_first(&mut all);
    all
}

pub(crate) fn longest_first(forms: &mut Vec<String>) {
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
}

/// As JSON writes it between quotes.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inner = quoted.get(1..quoted.len().saturating_sub(1));
    inner.unwrap_or_default().to_owned()
}

/// With `\u` escapes for what is not ASCII, as many services write JSON.
fn ascii_only(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for unit in json.chars() {
        if unit.is_ascii() {
            out.push(unit);
            continue;
        }
        for half in unit.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{half:04x}");
        }
    }
    out
}

/// `text` without these.
pub(crate) fn out_of<'a>(text: String, forms: impl Iterator<Item = &'a str>) -> String {
    forms.fold(text, |text, form| text.replace(form, "****"))
}

/// Settings with an invented text for each secret, which names it.
#[must_use]
pub fn strike_settings(
    definition: &Definition,
    settings: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let mut struck = settings.clone();
    for spec in definition.settings().iter().filter(|spec| spec.secret) {
        if let Some(value) = struck.get_mut(&spec.name)
            && value.as_str().is_some_and(|text| !text.is_empty())
        {
            *value = invented(&spec.name, spec.kind).into();
        }
    }
    struck
}

/// What invented secrets begin with, before the setting's name.
pub const STRUCK_OUT: &str = "struck-out";

fn invented(name: &str, kind: SettingType) -> String {
    let name = name.replace('_', "-");
    match kind {
        SettingType::Url => format!("https://{STRUCK_OUT}.example/{name}"),
        _ => format!("{STRUCK_OUT}-{name}"),
    }
}

/// Secrets that must not be shown, each with what stands for it.
#[derive(Default)]
pub struct Strike {
    /// Longer ones first: one may hold another.
    pairs: Vec<(String, String)>,
}

impl Strike {
    /// The secrets among an operator's settings.
    #[must_use]
    pub fn new(definition: &Definition, settings: &BTreeMap<String, Value>) -> Self {
        let mut strike = Self::default();
        for spec in definition.settings().iter().filter(|spec| spec.secret) {
            if let Some(Value::String(secret)) = settings.get(&spec.name) {
                let stands = invented(&spec.name, spec.kind);
                for form in forms(secret) {
                    strike.add(&form, &stands);
                }
            }
        }
        strike
    }

    /// Learns what else is secret of a request: where it differs from the same request made with
    /// invented secrets. So tokens are found that were fetched, and secrets that were encoded.
    pub fn learn(&mut self, real: &FinalRequest, struck: &FinalRequest) {
        for (name, value) in &real.headers {
            let stands = struck.headers.iter().find(|(known, _)| known == name);
            let Some((_, stands)) = stands.filter(|(_, stands)| stands != value) else {
                continue;
            };
            self.add(value, stands);
            // `Bearer <token>`
            if let (Some((_, token)), Some((_, stands))) =
                (value.split_once(' '), stands.split_once(' '))
            {
                self.add(token, stands);
            }
        }
    }

    fn add(&mut self, secret: &str, stands: &str) {
        let known = self.pairs.iter().any(|(known, _)| known == secret);
        if secret.len() < SECRET_BYTES_MIN || known {
            return;
        }
        self.pairs.push((secret.to_owned(), stands.to_owned()));
        self.pairs
            .sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    }

    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (secret, stands) in &self.pairs {
            out = out.replace(secret, stands);
        }
        out
    }

    /// Every text in it, names of members too.
    #[must_use]
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| (self.text(name), self.value(value)))
                .collect(),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::tests::define;

    fn definition() -> Definition {
        let setting = |name: &str, kind: &str| {
            format!(
                "[settings.{name}]\ntype = \"{kind}\"\nsecret = {}\nhelp = \"h\"\n",
                name != "region"
            )
        };
        let settings = setting("api_key", "string") + &setting("hook", "url");
        let all = settings + &setting("region", "string");
        define(&format!("hosts = [\"a.example\"]\n{all}"), "null").unwrap()
    }

    fn settings(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn secrets_get_invented_texts_that_name_them() {
        let real =
            settings(json!({"api_key": "k-1 2", "hook": "https://h.example/x", "region": "eu"}));
        let struck = strike_settings(&definition(), &real);
        assert_eq!(
            json!(struck),
            json!({"api_key": "struck-out-api-key",
                "hook": "https://struck-out.example/hook", "region": "eu"})
        );
        assert!(definition().check_settings(&struck.into()).is_ok());
    }

    #[test]
    fn a_secret_is_found_wherever_it_comes_back() {
        let real = settings(json!({"api_key": "k-1 2", "region": "eu"}));
        let mut strike = Strike::new(&definition(), &real);
        let request = |value: &str| FinalRequest {
            method: "GET".to_owned(),
            url: "https://a.example/".to_owned(),
            headers: vec![("authorization".to_owned(), value.to_owned())],
            body: bytes::Bytes::new(),
            compress: false,
            options: Default::default(),
        };
        strike.learn(&request("Bearer fetched-token"), &request("Bearer tok"));
        let answer = json!({"echo": ["k-1 2", "?key=k-1%202"], "you": "fetched-token", "n": 1,
            "k-1 2": "eu"});
        assert_eq!(
            strike.value(&answer),
            json!({"echo": ["struck-out-api-key", "?key=struck-out-api-key"], "you": "tok", "n": 1,
                "struck-out-api-key": "eu"})
        );
    }
}
