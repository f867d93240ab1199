//! Finishing a request: secrets take the place of their marks, the body is compressed and signed, auth is
//! added. The only code that reveals secrets.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::Secret;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::binding::{Auth, Binding};
use crate::definition::{Definition, Sender, TokenPlace};
use crate::encode;
use crate::marks;
use crate::options::SenderOptions;
use crate::request::{Body, RequestPlan, append_query};
use crate::signature::{self, Signed};

/// What only the attempt knows.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Goes into signatures; a batch takes that of its first event.
    pub message_id: &'a str,
    /// The attempt's time.
    pub now_unix_s: u64,
    /// Where [`crate::Transformer::needs_token`].
    pub token: Option<&'a Secret>,
}

/// A request as its sender takes it, secrets included: never log it.
///
/// Header values are UTF-8 without control characters, and may hold characters beyond ASCII: make
/// them with `HeaderValue::from_bytes`, not `from_str`.
#[derive(Clone, PartialEq, Eq)]
pub struct FinalRequest {
    pub method: String,
    pub url: String,
    /// Lower-case names; no `host`, no `content-length`.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The sender compresses the body, where it keeps no other request waiting; never for HTTP, which
    /// signs what it sends.
    pub compress: bool,
    /// What a sender other than HTTP needs beside.
    pub options: SenderOptions,
}

impl fmt::Debug for FinalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinalRequest")
            .field("method", &self.method)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

pub(crate) fn finish(
    binding: &Binding,
    definition: &Definition,
    request: &RequestPlan,
    stamp: Stamp<'_>,
) -> FinalRequest {
    // What the operator has set needs no fetching.
    let token = binding.token.given().or(stamp.token);
    let secret = |index: usize| match index {
        marks::TOKEN => token.map_or("", Secret::reveal),
        index => binding.secret(index),
    };
    let url = marks::expand(&request.url, |index, leading| {
        let secret = secret(index);
        if leading {
            secret.to_owned()
        } else {
            encode::component(secret)
        }
    })
    .into_owned();
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let value = marks::expand(value, |index, _| secret(index).to_owned());
            (name.clone(), value.into_owned())
        })
        .collect();
    let mut body = final_body(&secret, &request.body);
    if matches!(request.body, Body::Multipart { .. }) {
        // Only ours names the boundary.
        headers.retain(|(name, _)| name != "content-type");
    }
    if let Some(kind) = request.body.content_type()
        && !headers.iter().any(|(name, _)| name == "content-type")
    {
        headers.push(("content-type".to_owned(), kind.into_owned()));
    }
    let compress = request.gzip && !body.is_empty();
    if compress && definition.sender == Sender::Http {
        body = gzip(&body);
        headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
    let id = match &request.body {
        // Named by what it holds: a batch that begins with the same event may hold others when it
        // is tried again, and a receiver that drops repeats must not drop those.
        Body::Events(events) => Cow::Owned(format!("batch_{}", signature::sha256_hex(events))),
        _ => Cow::Borrowed(stamp.message_id),
    };
    let mut last = FinalRequest {
        method: request.method.clone(),
        url,
        headers,
        body,
        compress: compress && definition.sender != Sender::Http,
        options: binding.options.clone(),
    };
    for auth in binding.auth.iter().filter(|_| request.auth) {
        add_auth(auth, &mut last, &id, token, stamp.now_unix_s);
    }
    last
}

fn final_body<'a>(secret: &impl Fn(usize) -> &'a str, body: &Body) -> Bytes {
    let escape = |index: usize| -> String {
        let secret = secret(index);
        match body {
            Body::Json(_) | Body::Ndjson(_) => json_escaped(secret),
            Body::Form(_) => encode::component(secret),
            Body::Xml(_) => encode::xml_text(secret),
            Body::Multipart { .. } | Body::Text(_) => secret.to_owned(),
            Body::Empty | Body::Event(_) | Body::Events(_) | Body::Parquet(_) => String::new(),
        }
    };
    match body {
        Body::Empty => Bytes::new(),
        // Event data holds no marks; the log's own bytes go out uncopied.
        Body::Event(bytes) | Body::Events(bytes) => bytes.clone(),
        // No text: what looked like a mark in it would be none.
        Body::Parquet(bytes) => bytes.clone(),
        marked => {
            let text = std::str::from_utf8(marked.bytes()).unwrap_or_default();
            match marks::expand(text, |index, _| escape(index)) {
                Cow::Borrowed(_) => marked.bytes().clone(),
                Cow::Owned(text) => text.into(),
            }
        }
    }
}

/// As JSON writes it inside quotes.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted
        .get(1..quoted.len() - 1)
        .unwrap_or_default()
        .to_owned()
}

/// A body compressed, fast rather than small.
#[must_use]
pub fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 64), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

impl FinalRequest {
    fn put(&mut self, name: &str, value: String) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value));
    }

    fn put_query(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={}", encode::component(value));
        append_query(&mut self.url, &pair);
    }
}

/// An event's own id may hold anything, and becomes a header: what is no visible ASCII is encoded, and
/// `%` besides, so that no two ids become one.
const NO_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn add_auth(
    auth: &Auth,
    request: &mut FinalRequest,
    message_id: &str,
    token: Option<&Secret>,
    now_unix_s: u64,
) {
    match auth {
        Auth::Header { name, value } => request.put(name, value.reveal().to_owned()),
        Auth::Query { name, value } => request.put_query(name, value.reveal()),
        Auth::StandardWebhooks(keys) => {
            let id = utf8_percent_encode(message_id, NO_HEADER).to_string();
            if let Some(keys) = keys {
                let signature = keys.sign(&id, now_unix_s, &request.body);
                request.put("webhook-signature", signature);
            }
            request.put("webhook-timestamp", now_unix_s.to_string());
            request.put("webhook-id", id);
        }
        Auth::Hmac {
            header,
            prefix,
            hash,
            secret,
        } => {
            let hash = hash.hex(secret.reveal(), &request.body);
            request.put(header, format!("{prefix}{hash}"));
        }
        Auth::UrlHmac(signer) => signer.sign(&mut request.url, now_unix_s),
        Auth::OAuth1(keys) => {
            let is_form = request
                .headers
                .iter()
                .any(|(name, value)| name == "content-type" && value.starts_with(encode::FORM));
            let form = if is_form { &request.body[..] } else { &[] };
            let signed = Signed {
                method: &request.method,
                url: &request.url,
                form: std::str::from_utf8(form).unwrap_or_default(),
            };
            let value = keys.sign(signed, message_id, &request.body, now_unix_s);
            request.put("authorization", value);
        }
        Auth::AwsSigV4(keys) => {
            // Ours, not a program's: what is signed must be what is sent.
            request
                .headers
                .retain(|(name, _)| name != "authorization" && name != "x-amz-date");
            let FinalRequest {
                method,
                url,
                headers,
                body,
                ..
            } = &*request;
            let signed = keys.sign(method, url, headers, body, now_unix_s);
            request.headers.extend(signed);
        }
        Auth::Token(place) => {
            let token = token.map_or("", Secret::reveal);
            match place {
                TokenPlace::Header { name, prefix } => {
                    request.put(name, format!("{prefix}{token}"));
                }
                TokenPlace::Query { name } => {
                    request.put_query(&encode::component(name), token);
                }
            }
        }
    }
}
