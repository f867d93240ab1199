//! What the browser SDK loads before it sends anything: where to send, and nothing else.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HOST, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::answer::{Answer, json as json_answer};

/// The least that `@segment/analytics-next` needs. It fails to load without an answer in 2xx.
pub(crate) fn answer(write_key: &str, headers: &HeaderMap, public_host: Option<&str>) -> Answer {
    let host = public_host.or_else(|| host(headers)).unwrap_or("localhost");
    // Behind a proxy that speaks TLS, the browser must do so too.
    let secure = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes() == b"https");
    let everything = json!({ "__default": { "enabled": true, "integrations": {} } });
    let settings = json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": format!("{host}/v1"),
                "protocol": if secure { "https" } else { "http" },
                "addBundledMetadata": true,
                "unbundledIntegrations": [],
                "maybeBundledConfigIds": {},
                "versionSettings": { "version": "4.4.7", "componentTypes": ["browser"] },
            },
        },
        "plan": { "track": everything, "identify": everything, "group": everything },
        "metrics": { "sampleRate": 0 },
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "edgeFunction": {},
        "remotePlugins": [],
        "analyticsNextEnabled": true,
    });
    let mut answer = json_answer(StatusCode::OK, Bytes::from(settings.to_string()));
    // Short: when the source or the host changes, browsers must hear of it.
    answer.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=60"),
    );
    answer
}

/// The host that the browser asked, if it looks like one.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    (!host.is_empty() && host.len() <= 261 && host.bytes().all(sane)).then_some(host)
}
