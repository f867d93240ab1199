//! Finishing a request: secrets take the place of their marks, the body is compressed and signed, auth is
//! added. The only code that reveals secrets.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::binding::{Auth, Binding};
use crate::definition::Definition;
use crate::encode;
use crate::marks;
use crate::request::{Body, RequestPlan, append_query};
use crate::signature;

/// A request as it goes over the wire, secrets included: never log it.
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
    message_id: &str,
    now_unix_s: u64,
) -> FinalRequest {
    let mut url = marks::expand(&request.url, |index, leading| {
        let secret = binding.secret(index);
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
            let value = marks::expand(value, |index, _| binding.secret(index).to_owned());
            (name.clone(), value.into_owned())
        })
        .collect();
    let mut body = final_body(binding, &request.body);
    if let Some(kind) = request.body.content_type()
        && !headers.iter().any(|(name, _)| name == "content-type")
    {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    if definition.gzip && !body.is_empty() {
        body = gzip(&body);
        headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
    let id = match &request.body {
        // Named by what it holds: a batch that begins with the same event may hold others when it
        // is tried again, and a receiver that drops repeats must not drop those.
        Body::Events(events) => Cow::Owned(format!("batch_{}", signature::sha256_hex(events))),
        _ => Cow::Borrowed(message_id),
    };
    for auth in binding.auth.iter().filter(|_| request.auth) {
        add_auth(auth, &mut url, &mut headers, &body, &id, now_unix_s);
    }
    FinalRequest {
        method: request.method.clone(),
        url,
        headers,
        body,
    }
}

fn final_body(binding: &Binding, body: &Body) -> Bytes {
    let escape = |index: usize| -> String {
        let secret = binding.secret(index);
        match body {
            Body::Json(_) | Body::Ndjson(_) => json_escaped(secret),
            Body::Form(_) => encode::component(secret),
            Body::Text(_) | Body::Empty | Body::Event(_) | Body::Events(_) => secret.to_owned(),
        }
    };
    match body {
        Body::Empty => Bytes::new(),
        // Event data holds no marks; the log's own bytes go out uncopied.
        Body::Event(bytes) | Body::Events(bytes) => bytes.clone(),
        Body::Json(bytes) | Body::Ndjson(bytes) | Body::Form(bytes) | Body::Text(bytes) => {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            match marks::expand(text, |index, _| escape(index)) {
                Cow::Borrowed(_) => bytes.clone(),
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

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 64), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

fn add_auth(
    auth: &Auth,
    url: &mut String,
    headers: &mut Vec<(String, String)>,
    body: &[u8],
    message_id: &str,
    now_unix_s: u64,
) {
    let mut put = |name: &str, value: String| {
        headers.retain(|(known, _)| known != name);
        headers.push((name.to_owned(), value));
    };
    match auth {
        Auth::Header { name, value } => put(name, value.reveal().to_owned()),
        Auth::Query { name, value } => {
            append_query(
                url,
                &format!("{name}={}", encode::component(value.reveal())),
            );
        }
        Auth::StandardWebhooks(keys) => {
            // The id becomes a header: an event's own id may hold anything.
            let id: String = message_id.chars().filter(|c| !c.is_control()).collect();
            if let Some(keys) = keys {
                put("webhook-signature", keys.sign(&id, now_unix_s, body));
            }
            put("webhook-timestamp", now_unix_s.to_string());
            put("webhook-id", id);
        }
        Auth::Hmac {
            header,
            prefix,
            hash,
            secret,
        } => {
            put(
                header,
                format!("{prefix}{}", hash.hex(secret.reveal(), body)),
            );
        }
    }
}
