//! What each route does: read the request, ask [`Control`](crate::Control), answer.

use axum::Json;
use axum::extract::{Query, Request};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::lane::LaneStatus;
use model::{LaneState, Offset, RejectReason, UnixMillis};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{App, Endpoint};
use crate::control::{
    ControlError, DeadLetterFilter, DeadLetterQuery, DeadLetterSummary, LogPoint, ReplayRequest,
    Selection,
};
use crate::{Refusal, metrics};

/// Lanes of one answer where the client does not say.
const LANES_PAGE: usize = 1_000;
/// Dead letters of one answer where the client does not say.
const DEAD_LETTERS_PAGE: usize = 100;

/// `param` is the path's parameter; empty where it has none.
pub(super) async fn answer(
    app: &App,
    endpoint: Endpoint,
    param: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let control = &app.control;
    match endpoint {
        Endpoint::Health => Ok(json_answer(&json!({ "status": "ok" }))),
        Endpoint::Ready => Ok(ready(app)),
        Endpoint::Status => Ok(json_answer(&control.status().await)),
        Endpoint::Lanes => lanes(app, request.uri()).await,
        Endpoint::Lane => Ok(json_answer(&control.lane(param).await?)),
        Endpoint::Hold => {
            control.hold(param).await?;
            Ok(json_answer(&control.lane(param).await?))
        }
        Endpoint::Resume => {
            control.resume(param).await?;
            Ok(json_answer(&control.lane(param).await?))
        }
        Endpoint::DeadLetters => dead_letters(app, request.uri()).await,
        Endpoint::DeadLetter => {
            let id = param.parse().map_err(|_| {
                ControlError::NotFound(
                    "dead letters have numbers: GET /v1/dead-letters lists them".to_owned(),
                )
            })?;
            Ok(json_answer(&control.dead_letter(id).await?))
        }
        Endpoint::Redeliver => redeliver(app, request).await,
        Endpoint::StartReplay => replay(app, request).await,
        Endpoint::Replays => Ok(json_answer(&json!({ "replays": control.replays().await? }))),
        Endpoint::Replay => Ok(json_answer(&control.replay_by_id(replay_id(param)?).await?)),
        Endpoint::CancelReplay => {
            let replay = control.cancel_replay(replay_id(param)?).await?;
            Ok(json_answer(&replay))
        }
        Endpoint::Destinations => Ok(json_answer(
            &json!({ "destinations": control.destinations().await }),
        )),
        Endpoint::Reload => Ok(json_answer(&control.reload().await?)),
        Endpoint::Metrics => scrape(app).await,
    }
}

fn ready(app: &App) -> Response {
    match app.control.ready() {
        Ok(()) => json_answer(&json!({ "status": "ready" })),
        Err(why) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why).into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanesParams {
    limit: Option<usize>,
    after: Option<String>,
    state: Option<String>,
}

async fn lanes(app: &App, uri: &Uri) -> Result<Response, Refusal> {
    let params: LanesParams = query(uri)?;
    let limit = page(params.limit, LANES_PAGE, app.options.lanes_page_max)?;
    let _turn = app.lanes_turn.lock().await;
    let mut lanes = app.control.lanes().await;
    let total = lanes.len();
    if let Some(state) = &params.state {
        if !LaneState::NAMES.contains(&state.as_str()) {
            return Err(Refusal::invalid(format!(
                "there is no state {state:?}: use one of {}",
                LaneState::NAMES.join(", ")
            )));
        }
        lanes.retain(|lane| lane.state.as_str() == state);
    }
    if let Some(after) = &params.after {
        lanes.retain(|lane| lane.connection.as_str() > after.as_str());
    }
    lanes.sort_unstable_by(|a, b| a.connection.cmp(&b.connection));
    let more = lanes.len() > limit;
    lanes.truncate(limit);
    let next = lanes
        .last()
        .filter(|_| more)
        .map(|lane: &LaneStatus| lane.connection.clone());
    Ok(json_answer(
        &json!({ "total": total, "lanes": lanes, "next": next }),
    ))
}

fn replay_id(param: &str) -> Result<u64, ControlError> {
    param.parse().map_err(|_| {
        ControlError::NotFound("replays have numbers: GET /v1/replays lists them".to_owned())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetterParams {
    connection: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    event: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

async fn dead_letters(app: &App, uri: &Uri) -> Result<Response, Refusal> {
    let params: DeadLetterParams = query(uri)?;
    let limit = page(
        params.limit,
        DEAD_LETTERS_PAGE,
        app.options.dead_letters_page_max,
    )?;
    let filter = DeadLetterFilter {
        reason: reason(params.reason.as_deref())?,
        since: time("since", params.since.as_deref())?,
        until: time("until", params.until.as_deref())?,
        event: params.event,
        connection: params.connection,
    };
    let connection = filter.connection.clone();
    let totals = app
        .control
        .dead_letter_totals(connection.as_deref())
        .await?;
    // One more than asked for tells whether there is a next page.
    let wanted = DeadLetterQuery {
        filter,
        after: params.after,
        limit: limit + 1,
    };
    let mut letters = app.control.dead_letters(wanted).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters
        .last()
        .filter(|_| more)
        .map(|letter: &DeadLetterSummary| letter.id);
    Ok(json_answer(
        &json!({ "dead_letters": letters, "next": next, "totals": totals }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedeliverBody {
    ids: Option<Vec<u64>>,
    connection: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    event: Option<String>,
    all: Option<bool>,
}

async fn redeliver(app: &App, request: Request) -> Result<Response, Refusal> {
    let body: RedeliverBody = body(app, request).await?;
    let filter = DeadLetterFilter {
        reason: reason(body.reason.as_deref())?,
        since: time("since", body.since.as_deref())?,
        until: time("until", body.until.as_deref())?,
        event: body.event,
        connection: body.connection,
    };
    let restricts = filter != DeadLetterFilter::default();
    let selection = match (body.ids, restricts, body.all.unwrap_or(false)) {
        (Some(ids), false, false) => {
            let max = app.options.dead_letters_page_max;
            if ids.len() > max {
                let given = ids.len();
                return Err(Refusal::invalid(format!(
                    "{given} ids are too many: send at most {max}, or name a connection"
                )));
            }
            Selection::Ids(ids)
        }
        (None, true, false) => Selection::Matching(filter),
        (None, false, true) => Selection::All,
        _ => {
            return Err(Refusal::invalid(
                "say which dead letters: {\"ids\": [..]}, or any of \"connection\", \"reason\", \
                 \"since\", \"until\" and \"event\", or {\"all\": true}",
            ));
        }
    };
    let redelivered = app.control.redeliver(selection).await?;
    let queued: u64 = redelivered.iter().map(|connection| connection.queued).sum();
    tracing::info!(queued, "dead letters queued for redelivery by request");
    Ok(json_answer(
        &json!({ "queued": queued, "connections": redelivered }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    connection: String,
    from: PointBody,
    to: Option<PointBody>,
    filter: Option<String>,
    rate_limit_per_s: Option<u32>,
}

/// An offset, a time, or `start`.
type PointBody = Value;

async fn replay(app: &App, request: Request) -> Result<Response, Refusal> {
    let body: ReplayBody = body(app, request).await?;
    let from = point("from", &body.from)?;
    let to = body.to.as_ref().map(|to| point("to", to)).transpose()?;
    let empty = match (from, to) {
        (LogPoint::Offset(from), Some(LogPoint::Offset(to))) => from >= to,
        (LogPoint::Time(from), Some(LogPoint::Time(to))) => from >= to,
        _ => false,
    };
    if empty {
        return Err(Refusal::invalid(
            "the range is empty: `from` is inclusive and must lie before `to`, which is exclusive",
        ));
    }
    let request = ReplayRequest {
        connection: body.connection,
        from,
        to,
        filter: body.filter,
        rate_limit_per_s: body.rate_limit_per_s,
    };
    if request.rate_limit_per_s == Some(0) {
        return Err(Refusal::invalid(
            "rate_limit_per_s is 0: use 1 or more, or leave it out",
        ));
    }
    let replay = app.control.replay(request).await?;
    tracing::info!(
        connection = replay.connection,
        id = replay.id,
        "replay begun by request"
    );
    Ok((StatusCode::CREATED, Json(replay)).into_response())
}

fn point(name: &str, body: &PointBody) -> Result<LogPoint, Refusal> {
    let point = match (body.as_u64(), body.as_str()) {
        (Some(offset), _) => Some(LogPoint::Offset(Offset(offset))),
        (None, Some("start")) => Some(LogPoint::Start),
        (None, text) => text.and_then(parse_time).map(LogPoint::Time),
    };
    point.ok_or_else(|| {
        Refusal::invalid(format!(
            "{name:?} is neither an offset, such as 1200, nor a time, such as \
             \"2026-01-31T09:00:00Z\", nor \"start\""
        ))
    })
}

fn time(name: &str, text: Option<&str>) -> Result<Option<UnixMillis>, Refusal> {
    let parsed = text.map(|text| {
        parse_time(text).ok_or_else(|| {
            Refusal::invalid(format!(
                "{name:?} is no time, such as \"2026-01-31T09:00:00Z\""
            ))
        })
    });
    parsed.transpose()
}

fn parse_time(text: &str) -> Option<UnixMillis> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(time.timestamp_millis()).ok().map(UnixMillis)
}

async fn scrape(app: &App) -> Result<Response, Refusal> {
    let _turn = app.lanes_turn.lock().await;
    let snapshot = app.control.metrics().await;
    let text = metrics::expose(snapshot, app.options.metrics_lanes_max);
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

fn reason(text: Option<&str>) -> Result<Option<RejectReason>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let known = || RejectReason::ALL.map(RejectReason::as_str).join(", ");
    RejectReason::parse(text)
        .map(Some)
        .ok_or_else(|| Refusal::invalid(format!("{text:?} is no reason; there are: {}", known())))
}

fn page(asked: Option<usize>, default: usize, max: usize) -> Result<usize, Refusal> {
    match asked {
        None => Ok(default.min(max)),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => Err(Refusal::invalid(format!(
            "limit is {limit}: use 1 to {max}, and `after` for the next page"
        ))),
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    Query::try_from_uri(uri)
        .map(|Query(params)| params)
        .map_err(|error| Refusal::invalid(format!("the query cannot be read: {}", deepest(&error))))
}

async fn body<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Refusal> {
    let max = app.options.body_bytes_max;
    let bytes = axum::body::to_bytes(request.into_body(), max)
        .await
        .map_err(|_| {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body was cut off, or is larger than {max} bytes: send less at a time"),
            )
        })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::invalid(format!("the body cannot be read as JSON: {error}")))
}

/// The innermost cause: the outer ones only say that something could not be read.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn json_answer(value: &impl serde::Serialize) -> Response {
    Json(value).into_response()
}
