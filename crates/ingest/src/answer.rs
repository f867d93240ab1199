//! Answers: one for success, and one for each way to refuse a request.
//!
//! SDKs retry 429 and 5xx and drop the events of every other 4xx, so a refusal that may pass is
//! always 429 or 503, with Retry-After. A 200 does not say that every event was good: what breaks
//! the contract is counted and discarded, as on the public API.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
    HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use model::limits::EVENT_BYTES_MAX;

use crate::envelope::BodyError;
use crate::json::JsonError;

pub(crate) type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// So that a browser's script may read when to try again.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-ratelimit-reset");

/// A transparent image of one pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\
                     \x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;";

/// Why a request is refused as a whole: none of its events was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the body is larger than {bytes_max} bytes: send fewer events at once")]
    BodyTooLarge { bytes_max: usize },
    #[error("the body unpacks to {ratio_max} times its size or more: send it less compressed")]
    InflatesTooMuch { ratio_max: usize },
    #[error(
        "the events take more than {bytes_max} bytes in the log, with the batch's context and \
         integrations merged into each: send fewer events at once"
    )]
    MergedTooLarge { bytes_max: usize },
    #[error("the event is larger than {EVENT_BYTES_MAX} bytes: send less with it")]
    EventTooLarge,
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the body is not what Content-Encoding: gzip says: send valid gzip, or none")]
    BadGzip,
    #[error("Content-Encoding must be gzip or absent")]
    UnknownEncoding,
    #[error("the body ended too early")]
    BodyCut,
    #[error(
        "no such path: events go to /v1/batch or /v1/track, identify, page, screen, group, alias"
    )]
    NotFound,
    #[error("no source has this write key: look it up in the configuration")]
    NoSuchSource,
    #[error("this path answers {0} only")]
    Method(Method),
    #[error("too many requests: try again in {wait_s} s")]
    RateLimited { wait_s: u64 },
    #[error("the server is overloaded: try again in {wait_s} s")]
    Overloaded { wait_s: u64 },
    #[error("the event log is full: try again in {wait_s} s")]
    LogFull { wait_s: u64 },
    #[error("the event log failed: try again in {wait_s} s")]
    LogFailed { wait_s: u64 },
    #[error("another request with the same messageId is under way: try again in {wait_s} s")]
    Pending { wait_s: u64 },
    #[error("not ready: try again in {wait_s} s")]
    NotReady { wait_s: u64 },
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self::Body(error.into())
    }
}

impl Refusal {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. }
            | Self::InflatesTooMuch { .. }
            | Self::MergedTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::EventTooLarge | Self::Body(_) | Self::BadGzip | Self::BodyCut => {
                StatusCode::BAD_REQUEST
            }
            Self::UnknownEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound | Self::NoSuchSource => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded { .. }
            | Self::LogFull { .. }
            | Self::LogFailed { .. }
            | Self::Pending { .. }
            | Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::InflatesTooMuch { .. } => "inflates_too_much",
            Self::MergedTooLarge { .. } => "merged_too_large",
            Self::EventTooLarge => "event_too_large",
            Self::Body(BodyError::Json(_)) => "invalid_json",
            Self::Body(BodyError::NoBatch) => "no_batch",
            Self::BadGzip => "invalid_gzip",
            Self::UnknownEncoding => "unknown_encoding",
            Self::BodyCut => "body_cut",
            Self::NotFound => "not_found",
            Self::NoSuchSource => "no_such_source",
            Self::Method(_) => "method_not_allowed",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::LogFull { .. } => "log_full",
            Self::LogFailed { .. } => "log_failed",
            Self::Pending { .. } => "pending",
            Self::NotReady { .. } => "not_ready",
        }
    }

    const fn wait_s(&self) -> Option<u64> {
        match self {
            Self::RateLimited { wait_s }
            | Self::Overloaded { wait_s }
            | Self::LogFull { wait_s }
            | Self::LogFailed { wait_s }
            | Self::Pending { wait_s }
            | Self::NotReady { wait_s } => Some(*wait_s),
            _ => None,
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let body = serde_json::json!({
            "success": false,
            "error": { "code": self.code(), "message": self.to_string() },
        });
        let mut answer = json(self.status(), Bytes::from(body.to_string()));
        let headers = answer.headers_mut();
        if let Some(wait_s) = self.wait_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        if let Self::RateLimited { wait_s } = self {
            headers.insert(RATE_LIMIT_RESET, HeaderValue::from(*wait_s));
        }
        if let Self::Method(method) = self {
            let allow = if *method == Method::GET {
                "GET, HEAD, OPTIONS"
            } else {
                "POST, OPTIONS"
            };
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

/// The events are durable.
pub(crate) fn success() -> Answer {
    json(StatusCode::OK, Bytes::from_static(br#"{"success":true}"#))
}

pub(crate) fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer
}

/// What an image in a mail gets, whatever becomes of its event.
pub(crate) fn pixel() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(GIF)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, max-age=0"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    answer
}

/// A browser asks whether it may: the SDK sends `Authorization`, and `X-Retry-Count` on a retry.
/// `*` lets it send what a site adds with the SDK's `headers` option, all but `Authorization`.
pub(crate) fn preflight() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, content-encoding, x-retry-count, *"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}
