//! Secrets struck out: invented ones in their place, so that what was sent and answered can be shown
//! and kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use model::Secret;
use serde_json::Value;
use url::Url;

use crate::definition::Definition;
use crate::definition::settings::SettingType;
use crate::encode;
use crate::finish::FinalRequest;

/// Shorter texts are no secrets, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 4;

/// Of a URL that is a secret: shorter parts of its path and query are names, as `services`.
const URL_PART_BYTES_MIN: usize = 12;

/// A secret as a request may hold it, and an answer repeat it: as it is, and as URLs, forms, JSON (once,
/// or where our body is quoted, twice; with or without `\u` escapes), base64 and hex write it. Of a URL
/// also its path and query, with which servers like to answer. Longer ones first: one may hold another.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Vec::new();
    }
    let mut forms = forms_of(secret);
    if secret.starts_with("http")
        && let Ok(url) = Url::parse(secret)
    {
        forms.extend(parts(&url).iter().flat_map(|part| forms_of(part)));
    }
    longest_first(&mut forms);
    forms
}

/// What of a URL is as secret as the whole.
fn parts(url: &Url) -> Vec<String> {
    let path = url.path();
    let query = url.query().unwrap_or_default();
    let mut parts = vec![format!("{path}?{query}")];
    // The path of `https://example.com/hook` alone says nothing.
    if path.len() >= URL_PART_BYTES_MIN {
        parts.push(path.to_owned());
    }
    parts.push(query.to_owned());
    let segments = path.split('/').map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    parts.extend(segments.chain(values));
    parts.retain(|part| part.len() >= URL_PART_BYTES_MIN);
    parts
}

fn forms_of(secret: &str) -> Vec<String> {
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
        // As some libraries do by default.
        percent.replace("%2F", "/"),
        lower_hex(&percent).replace("%2f", "/"),
        percent,
        form,
        html(secret, "&#39;", false),
        html(secret, "&#x27;", false),
        html(secret, "&#x27;", true),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        encode::hex(secret.as_bytes()),
        encode::hex(secret.as_bytes()).to_ascii_uppercase(),
    ];
    forms.extend(escaped.iter().map(|text| in_json(text)));
    forms.extend(escaped);
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
        let urls = (Url::parse(&real.url), Url::parse(&struck.url));
        if let (Ok(real), Ok(struck)) = urls {
            for ((_, value), (_, stands)) in real.query_pairs().zip(struck.query_pairs()) {
                if value != stands {
                    forms(&value)
                        .iter()
                        .for_each(|form| self.add(form, &stands));
                }
            }
        }
    }

    /// What a request held that no header or parameter shows alone, as a token in its body.
    pub fn add_secret(&mut self, secret: &Secret, stands: &str) {
        for form in forms(secret.reveal()) {
            self.add(&form, stands);
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
    fn the_path_and_query_of_a_secret_url_are_secret_too() {
        let strike = |url: &str, answer: &str| {
            let real = settings(json!({"hook": url, "region": "eu"}));
            Strike::new(&definition(), &real).text(answer)
        };
        let hook = "https://h.example/services/T0/SEKRET-SEKRET";
        let stands = "https://struck-out.example/hook";
        for (answer, shown) in [
            (
                "Cannot POST /services/T0/SEKRET-SEKRET",
                format!("Cannot POST {stands}"),
            ),
            (
                "no SEKRET-SEKRET among services",
                format!("no {stands} among services"),
            ),
        ] {
            assert_eq!(strike(hook, answer), shown);
        }
        let keyed = "https://h.example/x?token=SEKRET-SEKRET&v=1";
        assert_eq!(strike(keyed, "/x?token=SEKRET-SEKRET&v=1"), stands);
        assert_eq!(
            strike(keyed, "v=1, SEKRET-SEKRET, /x"),
            format!("v=1, {stands}, /x")
        );
        let plain = "https://h.example/hook";
        assert_eq!(
            strike(plain, "no /hook here, h.example"),
            "no /hook here, h.example"
        );
    }

    #[test]
    fn a_secret_is_found_as_others_write_it() {
        let real = settings(json!({"api_key": "Zx<9/q+W\"&Q=tail", "region": "eu"}));
        let strike = Strike::new(&definition(), &real);
        for written in [
            "Wng8OS9xK1ciJlE9dGFpbA",
            "Wng8OS9xK1ciJlE9dGFpbA==",
            "Zx%3C9/q%2BW%22%26Q%3Dtail",
            "Zx%3c9/q%2bW%22%26Q%3dtail",
            "5a783c392f712b572226513d7461696c",
        ] {
            assert!(strike.text(written).starts_with("struck-out"), "{written}");
        }
        // As Python and PHP write it into pages.
        let real = settings(json!({"api_key": "pa'ss/wo=rd", "region": "eu"}));
        let strike = Strike::new(&definition(), &real);
        for written in [
            "pa&#x27;ss/wo=rd",
            "pa&#39;ss/wo=rd",
            "pa&#x27;ss&#x2F;wo&#x3D;rd",
        ] {
            assert_eq!(strike.text(written), "struck-out-api-key", "{written}");
        }
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
        let at = |url: &str| FinalRequest {
            url: url.to_owned(),
            ..request("")
        };
        strike.learn(
            &at("https://a.example/?a=b&t=queried-token"),
            &at("https://a.example/?a=b&t=tok"),
        );
        assert_eq!(strike.text("?t=queried-token&a=b"), "?t=tok&a=b");
        strike.add_secret(&Secret::new("said in a body"), "tok");
        assert_eq!(
            strike.text("said%20in%20a%20body, said in a body"),
            "tok, tok"
        );
        let answer = json!({"echo": ["k-1 2", "?key=k-1%202"], "you": "fetched-token", "n": 1,
            "k-1 2": "eu"});
        assert_eq!(
            strike.value(&answer),
            json!({"echo": ["struck-out-api-key", "?key=struck-out-api-key"], "you": "tok", "n": 1,
                "struck-out-api-key": "eu"})
        );
    }
}
