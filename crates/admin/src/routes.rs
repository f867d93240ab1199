//! The table of routes, from which the router, the reference and the access test are all made:
//! a route that is not in [`ROUTES`] cannot be reached.

mod handlers;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Extension, RawPathParams, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use tokio::sync::Mutex;

use crate::access::{Access, Guard};
use crate::control::Control;
use crate::{Options, Refusal};

/// One path and method.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub verb: Verb,
    /// As axum spells it: `{name}` is a parameter.
    pub path: &'static str,
    pub access: Access,
    pub endpoint: Endpoint,
    /// For the reference.
    pub summary: &'static str,
}

/// The methods that the API knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Get,
    Post,
}

impl Verb {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
        }
    }
}

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    Health,
    Ready,
    Status,
    Lanes,
    Lane,
    Hold,
    Resume,
    DeadLetters,
    DeadLetter,
    Redeliver,
    StartReplay,
    Replays,
    Replay,
    CancelReplay,
    Destinations,
    Reload,
    Metrics,
}

const fn get(path: &'static str, endpoint: Endpoint, summary: &'static str) -> Route {
    Route {
        verb: Verb::Get,
        path,
        access: Access::Guarded,
        endpoint,
        summary,
    }
}

const fn post(path: &'static str, endpoint: Endpoint, summary: &'static str) -> Route {
    Route {
        verb: Verb::Post,
        path,
        access: Access::Guarded,
        endpoint,
        summary,
    }
}

const fn open(route: Route) -> Route {
    Route {
        access: Access::Open,
        ..route
    }
}

/// Every route there is.
pub const ROUTES: &[Route] = &[
    open(get(
        "/health",
        Endpoint::Health,
        "200 while the process lives.",
    )),
    open(get(
        "/ready",
        Endpoint::Ready,
        "200 while events are taken and delivered, else 503 and why not.",
    )),
    get(
        "/v1/status",
        Endpoint::Status,
        "Version, uptime, the balance sheet, how many lanes are in which state, the log and the \
         store.",
    ),
    get(
        "/v1/lanes",
        Endpoint::Lanes,
        "The lanes by connection. `?limit=` (1,000, at most 10,000), `?after=` the last connection seen, \
         `?state=` only those in one state.",
    ),
    get(
        "/v1/lanes/{connection}",
        Endpoint::Lane,
        "One connection's lane (or the lane that is shown under this name) with some of its last \
         attempts: of those that failed one a second at most, of those that were delivered one a \
         minute.",
    ),
    post(
        "/v1/lanes/{connection}/hold",
        Endpoint::Hold,
        "Stops delivery to this connection. Nothing is lost; its events wait in the log.",
    ),
    post(
        "/v1/lanes/{connection}/resume",
        Endpoint::Resume,
        "Lets a held lane go on, whatever held it. 409 where the configuration has disabled it.",
    ),
    get(
        "/v1/dead-letters",
        Endpoint::DeadLetters,
        "Dead letters by id, and how many there are, were given up (evicted) or delivered in the \
         end. `?connection=`, `?reason=`, `?since=` and `?until=` when they died (RFC 3339), \
         `?event=` its name or type, `?limit=` (100, at most 1,000), `?after=` the last id seen.",
    ),
    get(
        "/v1/dead-letters/{id}",
        Endpoint::DeadLetter,
        "One dead letter with its event.",
    ),
    post(
        "/v1/dead-letters/redeliver",
        Endpoint::Redeliver,
        "Delivers dead letters again: `{\"ids\": [1, 2]}`, those that match any of \
         `\"connection\"`, `\"reason\"`, `\"since\"`, `\"until\"` and `\"event\"`, or \
         `{\"all\": true}`. Durable on answer.",
    ),
    post(
        "/v1/replays",
        Endpoint::StartReplay,
        "Sends a range of the log again to one connection: `{\"connection\", \"from\", \"to\"}`, \
         where `from` (inclusive) and `to` (exclusive; left out: all until now) are offsets, \
         RFC 3339 times or `\"start\"`, where the connection began: up to it, a new one has missed \
         everything. `\"filter\"`: VRL, only events of which it is true. `\"rate_limit_per_s\"`: \
         requests a second. Durable on answer.",
    ),
    get(
        "/v1/replays",
        Endpoint::Replays,
        "Replays, running, finished and cancelled, with their counts.",
    ),
    get("/v1/replays/{id}", Endpoint::Replay, "One replay."),
    post(
        "/v1/replays/{id}/cancel",
        Endpoint::CancelReplay,
        "Ends a replay before it is done; what it has delivered stays delivered.",
    ),
    get(
        "/v1/destinations",
        Endpoint::Destinations,
        "The configured destinations, with the names of their settings and without their values.",
    ),
    post(
        "/v1/reload",
        Endpoint::Reload,
        "Reads the configuration again. A wrong one changes nothing, and the answer says where.",
    ),
    get(
        "/metrics",
        Endpoint::Metrics,
        "Metrics for Prometheus; see the metrics reference.",
    ),
];

/// Whom a request came from; the server adds it to every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What every request may use.
pub(crate) struct App {
    control: Arc<dyn Control>,
    guard: Guard,
    options: Options,
    /// Lists of all lanes are made one at a time: 100,000 lanes are tens of megabytes each.
    lanes_turn: Mutex<()>,
}

impl App {
    pub(crate) fn new(control: Arc<dyn Control>, guard: Guard, options: Options) -> Arc<Self> {
        Arc::new(Self {
            control,
            guard,
            options,
            lanes_turn: Mutex::new(()),
        })
    }
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for &route in ROUTES {
        let app = Arc::clone(&app);
        let handler = move |Extension(peer): Extension<Peer>,
                            params: Result<RawPathParams, RawPathParamsRejection>,
                            request: Request| {
            let app = Arc::clone(&app);
            async move { harden(guarded(&app, Some(route), peer, params.ok(), request).await) }
        };
        router = router.route(route.path, on(route.verb.filter(), handler));
    }
    let elsewhere = move |Extension(peer): Extension<Peer>, request: Request| {
        let app = Arc::clone(&app);
        async move { harden(guarded(&app, None, peer, None, request).await) }
    };
    router
        .method_not_allowed_fallback(elsewhere.clone())
        .fallback(elsewhere)
}

/// Access first, for every path there is and is not; then the time limit around all the rest.
async fn guarded(
    app: &App,
    route: Option<Route>,
    peer: Peer,
    params: Option<RawPathParams>,
    request: Request,
) -> Result<Response, Refusal> {
    let access = route.map_or(Access::Guarded, |route| route.access);
    app.guard
        .check(access, peer.0.ip(), request.method(), request.headers())?;
    let Some(route) = route else {
        return Err(unknown(request.method(), request.uri().path()));
    };
    let param = params
        .as_ref()
        .and_then(|params| params.iter().next())
        .map(|(_, value)| value);
    let answer = handlers::answer(app, route.endpoint, param.unwrap_or_default(), request);
    tokio::time::timeout(app.options.request_timeout(), answer)
        .await
        .unwrap_or_else(|_| {
            Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                format!(
                    "not answered within {} ms: look at the process's log, then try again",
                    app.options.request_timeout_ms
                ),
            ))
        })
}

fn unknown(method: &Method, path: &str) -> Refusal {
    let verbs: Vec<&str> = ROUTES
        .iter()
        .filter(|route| matches_path(route.path, path))
        .map(|route| route.verb.as_str())
        .collect();
    if verbs.is_empty() {
        let message = format!(
            "no such path; there are: {}",
            ROUTES
                .iter()
                .map(|route| route.path)
                .collect::<Vec<_>>()
                .join(", ")
        );
        return Refusal::new(StatusCode::NOT_FOUND, "no_such_path", message);
    }
    let message = format!("this path takes {}, not {method}", verbs.join(" and "));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let all = pattern.split('/').all(|want| {
        parts
            .next()
            .is_some_and(|part| want == part || (want.starts_with('{') && !part.is_empty()))
    });
    all && parts.next().is_none()
}

/// Headers that keep a browser from storing an answer or taking it for something else.
fn harden(result: Result<Response, Refusal>) -> Response {
    let mut response = result.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// The routes as a page of the reference.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Management API\n\n\
         <!-- Made from crates/admin/src/routes.rs: `UPDATE_EXPECT=1 cargo test -p admin` writes \
         it anew. -->\n\n\
         JSON on a listener of its own (`admin_listen`, by default 127.0.0.1:9080). With an\n\
         `admin_token` every request must carry `Authorization: Bearer <token>`; without one only\n\
         requests from this machine to `localhost` or `127.0.0.1` are served. Errors are\n\
         `{\"error\": {\"code\", \"message\"}}`; the message says what to do. Times are milliseconds\n\
         since 1970. A body may have 1 MiB. [Answers](management-api-answers.md): an example of\n\
         each, every field, all limits.\n\n\
         | | | |\n|---|---|---|\n",
    );
    for route in ROUTES {
        let note = if route.access == Access::Open {
            " No token needed."
        } else {
            ""
        };
        page.push_str(&format!(
            "| {} | `{}` | {}{note} |\n",
            route.verb.as_str(),
            route.path,
            route.summary
        ));
    }
    page
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
