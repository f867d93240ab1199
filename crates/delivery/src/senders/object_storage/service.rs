//! Requests of an object store, through the HTTP client of all others: its pool, its limits, and the
//! egress guard, which judges each address that is dialled.
//!
//! A store wants a client that may move between threads; ours lives on its shard's. Both are content
//! with a task of this thread for each request, which leaves its answer where the put finds it: so the
//! status, the words and the failure are those of the service itself, not what the store made of them.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use model::Failure;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, PutResult};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::http::Failed;
use crate::http::request::prepare;
use crate::http::send::{Answer, Client, Reuse, Sent};

tokio::task_local! {
    /// The put that a request is made for. A store knows of none.
    static PUT: Put;
}

/// One put under way.
#[derive(Clone)]
pub(super) struct Put {
    http: Rc<Client>,
    deadline: Instant,
    last: Rc<RefCell<Option<Exchange>>>,
}

/// A request that was made, and how it ended.
struct Exchange {
    /// The put itself, and not a token for it.
    is_put: bool,
    sent: Sent,
}

impl Put {
    pub(super) fn new(http: Rc<Client>, deadline: Instant) -> Self {
        Self {
            http,
            deadline,
            last: Rc::default(),
        }
    }

    /// Runs a store's put, and tells what the service said to it.
    pub(super) async fn run(
        self,
        put: impl Future<Output = object_store::Result<PutResult>>,
    ) -> Sent {
        let last = Rc::clone(&self.last);
        let result = PUT.scope(self, put).await;
        match (result, last.take()) {
            (Ok(_), Some(Exchange { sent, .. })) => sent,
            (Ok(_), None) => Sent::answer(200, ""),
            (Err(_), Some(Exchange { is_put: true, sent })) if !is_success(&sent) => sent,
            (Err(error), Some(Exchange { is_put: true, .. })) => Sent::Failed(Failed::new(
                Failure::Indeterminate,
                format!("the answer to the put was none of one: {error}"),
            )),
            (
                Err(error),
                Some(Exchange {
                    is_put: false,
                    sent,
                }),
            ) => no_token(sent, &error),
            (Err(error), None) => Sent::answer(401, format!("no request could be made: {error}")),
        }
    }

    /// Sends one request of this put, and keeps how it ended.
    async fn send(self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let is_put = parts.method == Method::PUT;
        let body = body.collect().await?.to_bytes();
        let headers = headers(&parts.headers);
        let mut reuse = Reuse::Allowed;
        let sent = loop {
            let (url, headers) = (parts.uri.to_string(), headers.clone());
            let prepared = match prepare(parts.method.as_str(), url, headers, body.clone()) {
                Ok(prepared) => prepared,
                Err(problem) => break Sent::BadRequest(problem),
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            let sent = self.http.send(prepared, reuse, left).await;
            if !matches!(sent, Sent::Stale) || reuse == Reuse::Never {
                break sent;
            }
            // A put is the same however often it arrives.
            reuse = Reuse::Never;
        };
        let response = match &sent {
            Sent::Answered(answer) => response(answer),
            Sent::Failed(failed) => Err(error(failed.detail.clone())),
            Sent::Stale => Err(error("the connection died".to_owned())),
            Sent::BadRequest(problem) => Err(error(problem.to_string())),
        };
        *self.last.borrow_mut() = Some(Exchange { is_put, sent });
        response
    }
}

fn is_success(sent: &Sent) -> bool {
    matches!(sent, Sent::Answered(answer) if (200..300).contains(&answer.status))
}

/// A token was needed and is not to be had. What refuses it refuses the destination, not the events.
fn no_token(sent: Sent, error: &object_store::Error) -> Sent {
    match sent {
        Sent::Answered(answer) if answer.status == 429 || answer.status >= 500 => {
            Sent::Answered(answer)
        }
        Sent::Answered(answer) if !(200..300).contains(&answer.status) => Sent::Answered(Answer {
            status: 401,
            ..answer
        }),
        Sent::Answered(_) => Sent::answer(401, format!("no token: {error}")),
        // No event has been sent yet: nothing may have arrived.
        Sent::Failed(failed) if failed.failure == Failure::Indeterminate => {
            let failure = Failure::Unavailable {
                retry_after_s: None,
            };
            Sent::Failed(Failed::new(failure, format!("no token, {}", failed.detail)))
        }
        sent => sent,
    }
}

/// Without those that our own client writes.
fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    let ours = [header::HOST, header::CONTENT_LENGTH, header::USER_AGENT];
    map.iter()
        .filter(|(name, _)| !ours.contains(name))
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

fn response(answer: &Answer) -> Result<HttpResponse, HttpError> {
    let status =
        StatusCode::from_u16(answer.status).map_err(|problem| error(problem.to_string()))?;
    let body = Full::new(answer.body.clone()).map_err(|never| match never {});
    let mut response = Response::new(HttpResponseBody::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = answer.headers.clone();
    Ok(response)
}

fn error(detail: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(detail))
}

/// Gives stores the client of the put that they work for.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service))
    }
}

#[derive(Debug)]
struct Service;

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let task = PUT.try_with(|put| tokio::task::spawn_local(put.clone().send(request)));
        let task = task.map_err(|_| error("a request outside any put".to_owned()))?;
        // Whoever gives the put up gives its request up.
        let _abort = AbortOnDrop(task.abort_handle());
        task.await
            .unwrap_or_else(|_| Err(error("the request was cut off".to_owned())))
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
