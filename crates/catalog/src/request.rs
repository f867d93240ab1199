//! A request as a program planned it: checked, but without secrets and auth.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use url::Url;
use vrl::value::{ObjectMap, Value};

use crate::binding::Binding;
use crate::columns;
use crate::definition::{Definition, Encoding};
use crate::encode::{self, scalar_text};
use crate::json;
use crate::limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, LOOK_UP_S_MAX, URL_BYTES_MAX};
use crate::look_up::LookUpKey;
use crate::marks;
use crate::signature;

/// A request that may still hold marks in place of secrets: only `Transformer::finish` resolves them.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestPlan {
    pub(crate) method: String,
    pub(crate) url: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// Whether the definition's `[auth]` is added.
    pub(crate) auth: bool,
    pub(crate) gzip: bool,
    /// How long its answer may be used again, where it is a look-up; 0 is not at all.
    pub(crate) cache_s: u32,
}

/// A body with the way it was encoded, which says how a secret in it must be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Empty,
    /// An event's own bytes, as the log holds them: never looked at.
    Event(Bytes),
    /// A batch of such events, as a JSON list.
    Events(Bytes),
    Json(Bytes),
    Ndjson(Bytes),
    Form(Bytes),
    Multipart {
        boundary: String,
        bytes: Bytes,
    },
    Text(Bytes),
    Xml(Bytes),
    /// A file: never searched for marks.
    Parquet(Bytes),
}

impl Body {
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match self {
            Self::Empty => &NONE,
            Self::Event(bytes)
            | Self::Events(bytes)
            | Self::Json(bytes)
            | Self::Ndjson(bytes)
            | Self::Form(bytes)
            | Self::Multipart { bytes, .. }
            | Self::Text(bytes)
            | Self::Xml(bytes)
            | Self::Parquet(bytes) => bytes,
        }
    }

    pub(crate) fn content_type(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::Empty => return None,
            Self::Event(_) | Self::Events(_) | Self::Json(_) => "application/json",
            Self::Ndjson(_) => "application/x-ndjson",
            Self::Form(_) => encode::FORM,
            Self::Multipart { boundary, .. } => {
                let kind = format!("multipart/form-data; boundary={boundary}");
                return Some(Cow::Owned(kind));
            }
            Self::Text(_) => "text/plain; charset=utf-8",
            Self::Xml(_) => "application/xml",
            Self::Parquet(_) => "application/vnd.apache.parquet",
        }))
    }
}

impl RequestPlan {
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Body bytes before compression.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.bytes().len()
    }

    /// All that may hold marks.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let body = match &self.body {
            // An event cannot spell a mark, and is not searched for one.
            Body::Empty | Body::Event(_) | Body::Events(_) | Body::Parquet(_) => "",
            body => std::str::from_utf8(body.bytes()).unwrap_or_default(),
        };
        headers.chain([self.url.as_str(), body])
    }

    /// What its answer is kept by, if it may be kept.
    #[must_use]
    pub fn look_up_key(&self) -> Option<LookUpKey> {
        (self.cache_s > 0).then(|| LookUpKey::of(self))
    }

    /// Method and URL as a person may see them: no query string, no secrets.
    #[must_use]
    pub fn request_line(&self, definition: &Definition) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        format!("{} {}", self.method, marks::show(url, &definition.settings))
    }
}

impl fmt::Debug for RequestPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and query may hold what an operator typed into settings: show neither.
        f.debug_struct("RequestPlan")
            .field("method", &self.method)
            .field("url", &self.url.split('?').next().unwrap_or_default())
            .field("body_bytes", &self.body_bytes())
            .finish_non_exhaustive()
    }
}

/// Plans one request from a program's object, over the definition's defaults. `entries`: those of the
/// batch that it is of.
///
/// # Errors
/// What is not allowed about it: the event is rejected as a bad request.
pub(crate) fn plan(
    binding: &Binding,
    definition: &Definition,
    mut asked: ObjectMap,
    entries: Option<&Value>,
) -> Result<RequestPlan, String> {
    let method = match asked.remove("method") {
        None | Some(Value::Null) => binding.method.clone(),
        Some(method) => text_of("method", &method)?,
    };
    check_method(&method)?;
    let mut url = match asked.remove("url") {
        None | Some(Value::Null) => binding
            .url
            .clone()
            .ok_or("the request has no url, and [request] gives none")?,
        Some(url) => text_of("url", &url)?,
    };
    match asked.remove("query") {
        None | Some(Value::Null) => {}
        Some(query) => push_query(&mut url, &query)?,
    }
    let mut headers = binding.headers.clone();
    match asked.remove("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => merge_headers(&mut headers, map)?,
        Some(other) => {
            return Err(format!(
                "headers must be an object, not {}",
                other.kind_str()
            ));
        }
    }
    let encoding = match asked.remove("encoding") {
        None | Some(Value::Null) => definition.encoding,
        Some(name) => encoding_of(&name)?,
    };
    let whole_batch = flag("entries", asked.remove("entries"), false)?;
    let body = match (asked.remove("body"), whole_batch) {
        (None | Some(Value::Null), false) => Body::Empty,
        (Some(value), false) => encode_body(encoding, &value, definition)?,
        (None | Some(Value::Null), true) => {
            let entries = entries.ok_or("entries: true is for batch.vrl: here is no batch")?;
            encode_body(encoding, entries, definition)?
        }
        (Some(_), true) => return Err("a request has either body or entries: true".to_owned()),
    };
    let gzip = flag("gzip", asked.remove("gzip"), definition.gzip)?;
    let auth = flag("auth", asked.remove("auth"), true)?;
    let cache_s = match asked.remove("cache_s") {
        None | Some(Value::Null) => 0,
        Some(seconds) => cache_seconds(&seconds)?,
    };
    if let Some(key) = asked.keys().next() {
        return Err(format!(
            "{:?} is no part of a request: use method, url, query, headers, body, entries, \
             encoding, gzip, auth, cache_s",
            key.as_str()
        ));
    }
    let url = binding.check_url(&url)?;
    let request = RequestPlan {
        method,
        url,
        headers,
        body,
        auth,
        gzip,
        cache_s,
    };
    binding.check_marks(&request)?;
    Ok(request)
}

fn text_of(what: &str, value: &Value) -> Result<String, String> {
    value
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{what} must be a string, not {}", value.kind_str()))
}

fn flag(name: &str, value: Option<Value>, default: bool) -> Result<bool, String> {
    match value {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Boolean(value)) => Ok(value),
        Some(other) => Err(format!(
            "{name} must be true or false, not {}",
            other.kind_str()
        )),
    }
}

fn cache_seconds(value: &Value) -> Result<u32, String> {
    value
        .as_integer()
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds <= LOOK_UP_S_MAX)
        .ok_or_else(|| format!("cache_s must be a number of seconds from 0 to {LOOK_UP_S_MAX}"))
}

pub(crate) fn check_method(method: &str) -> Result<(), String> {
    if ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].contains(&method) {
        return Ok(());
    }
    Err(format!(
        "{method:?} is no method: use GET, POST, PUT, PATCH, DELETE or HEAD"
    ))
}

fn push_query(url: &mut String, query: &Value) -> Result<(), String> {
    let pairs = encode::form("query", query, URL_BYTES_MAX)?;
    append_query(url, &pairs);
    Ok(())
}

/// Appends encoded pairs to a URL, before its fragment if it has one.
pub(crate) fn append_query(url: &mut String, pairs: &str) {
    if pairs.is_empty() {
        return;
    }
    // A fragment is never sent.
    if let Some(at) = url.find('#') {
        url.truncate(at);
    }
    match url.find('?') {
        None => url.push('?'),
        Some(at) if at + 1 == url.len() => {}
        Some(_) => url.push('&'),
    }
    url.push_str(pairs);
}

fn merge_headers(headers: &mut Vec<(String, String)>, map: ObjectMap) -> Result<(), String> {
    for (name, value) in map {
        let name = header_name(name.as_str())?;
        headers.retain(|(known, _)| *known != name);
        if value.is_null() {
            continue;
        }
        let text = scalar_text(&value)
            .ok_or_else(|| format!("header {name} must be a string, not {}", value.kind_str()))?;
        check_header_value(&name, &text)?;
        headers.push((name, text));
    }
    if headers.len() > HEADERS_MAX {
        return Err(format!(
            "{} headers: the limit is {HEADERS_MAX}",
            headers.len()
        ));
    }
    Ok(())
}

/// A header's name in lower case.
///
/// # Errors
/// It is no name, or one that belongs to the connection and not to the request.
pub(crate) fn header_name(name: &str) -> Result<String, String> {
    const OURS: [&str; 12] = [
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(format!("{name:?} is no header name"));
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) {
        return Err(format!("header {lower} is set by Fairlane itself"));
    }
    Ok(lower)
}

/// # Errors
/// Control characters: with a line break in it, event data could add headers or requests of its own.
pub(crate) fn check_header_value(name: &str, value: &str) -> Result<(), String> {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!(
            "header {name} has a line break or control character in it"
        ));
    }
    if value.len() > HEADER_BYTES_MAX {
        return Err(format!(
            "header {name} is longer than {HEADER_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

fn encoding_of(name: &Value) -> Result<Encoding, String> {
    name.to_str()
        .and_then(Encoding::named)
        .ok_or_else(|| format!("encoding must be {}", Encoding::NAMES))
}

fn encode_body(encoding: Encoding, value: &Value, definition: &Definition) -> Result<Body, String> {
    match encoding {
        Encoding::Json => Ok(Body::Json(body_json(value, BODY_BYTES_MAX)?.into())),
        Encoding::Form => Ok(Body::Form(
            encode::form("a form body", value, BODY_BYTES_MAX)?.into(),
        )),
        Encoding::Multipart => multipart(value, definition),
        Encoding::Text => body_text("text", value).map(Body::Text),
        Encoding::Xml => body_text("xml", value).map(Body::Xml),
        Encoding::Lines => lines(list("a lines", value)?),
        Encoding::Parquet => columns::write(list("a parquet", value)?).map(Body::Parquet),
        Encoding::Ndjson => {
            let items = list("an ndjson", value)?;
            let mut lines = Vec::new();
            for item in items {
                lines.extend(body_json(item, BODY_BYTES_MAX.saturating_sub(lines.len()))?);
                lines.push(b'\n');
            }
            Ok(Body::Ndjson(lines.into()))
        }
    }
}

fn list<'a>(kind: &str, value: &'a Value) -> Result<&'a [Value], String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!(
            "{kind} body must be a list, not {}",
            other.kind_str()
        )),
    }
}

/// Texts that are lines of JSON already.
fn lines(items: &[Value]) -> Result<Body, String> {
    let bytes: usize = items
        .iter()
        .filter_map(Value::as_bytes)
        .map(Bytes::len)
        .sum();
    let bytes = bytes + items.len();
    if bytes > BODY_BYTES_MAX {
        return Err(format!(
            "the body has {bytes} bytes: the limit is {BODY_BYTES_MAX}"
        ));
    }
    let mut lines = Vec::with_capacity(bytes);
    for item in items {
        match item.to_str() {
            Some(line) if !line.contains(['\n', '\r']) => lines.extend_from_slice(line.as_bytes()),
            Some(_) => return Err("an item of a lines body has a line break in it".to_owned()),
            None => {
                return Err(format!(
                    "an item of a lines body must be a string, not {}",
                    item.kind_str()
                ));
            }
        }
        lines.push(b'\n');
    }
    Ok(Body::Ndjson(lines.into()))
}

fn body_text(kind: &str, value: &Value) -> Result<Bytes, String> {
    match value.to_str() {
        Some(text) if text.len() > BODY_BYTES_MAX => Err(format!(
            "the body has {} bytes: the limit is {BODY_BYTES_MAX}",
            text.len()
        )),
        Some(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        None => Err(format!(
            "a body of {kind} must be a string, not {}",
            value.kind_str()
        )),
    }
}

/// The boundary is made of what it parts: the same event makes the same request, and no text can
/// hold a hash of itself.
fn multipart(value: &Value, definition: &Definition) -> Result<Body, String> {
    let pairs = encode::pairs("a multipart body", value, BODY_BYTES_MAX)?;
    // Marks differ from process to process: what they stand for does not.
    let shown = marks::show(&encode::multipart(&pairs, ""), &definition.settings);
    let hash = signature::sha256_hex(shown.as_bytes());
    let boundary = format!("fairlane-{}", hash.get(..32).unwrap_or_default());
    let text = encode::multipart(&pairs, &boundary);
    if text.len() > BODY_BYTES_MAX {
        return Err(format!(
            "the body has {} bytes: the limit is {BODY_BYTES_MAX}",
            text.len()
        ));
    }
    Ok(Body::Multipart {
        boundary,
        bytes: text.into(),
    })
}

fn body_json(value: &Value, bytes_max: usize) -> Result<Vec<u8>, String> {
    json::write(value, bytes_max).map_err(|problem| format!("the body is {problem}"))
}

/// Parses a URL strictly: what the parser would quietly change about its path is refused instead.
///
/// # Errors
/// It is no URL, or not one that a request may have.
pub(crate) fn strict_url(text: &str) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("the url is longer than {URL_BYTES_MAX} bytes"));
    }
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return Err(
            "the url has a space, backslash or control character in it: use \
                    encode_path_segment and query"
                .to_owned(),
        );
    }
    let url = Url::parse(text).map_err(|problem| format!("the url is none: {problem}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the url has a user name or password in it: use [auth]".to_owned());
    }
    let path = text
        .split_once("://")
        .map(|(_, rest)| rest.split(['?', '#']).next().unwrap_or_default())
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    let is_dots = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    };
    if path.split('/').any(is_dots) {
        return Err("the url's path has a '.' or '..' segment".to_owned());
    }
    Ok(url)
}

/// As [`strict_url`], of a URL that HTTP requests go to.
///
/// # Errors
/// It is no such URL.
pub(crate) fn http_url(text: &str) -> Result<(), String> {
    let url = strict_url(text)?;
    if matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    Err(format!(
        "the url must begin with https:// or http://, not {}:",
        url.scheme()
    ))
}

#[cfg(test)]
mod tests;
