//! One request, one answer: in bounded time and memory, whatever the other side does.
//!
//! Redirects are not followed: a 3xx is an answer like any other. At most `response_bytes_max` of
//! a body are read, then the connection is closed.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use model::Failure;
use tokio::time::Instant;

use super::Failed;
use super::dial::{Dialer, Link, Phase};
use super::pool::Pool;
use super::request::{BadRequest, Place, Prepared};

/// What a destination answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// At most `response_bytes_max`.
    pub body: Bytes,
    /// The body was longer, or could not be read to its end.
    pub truncated: bool,
}

/// How sending ended.
#[derive(Debug)]
pub enum Sent {
    Answered(Answer),
    Failed(Failed),
    /// A connection that had been idle died before any byte of an answer: most likely the other
    /// side closed it while the request was on its way. Send once more at once, without reuse.
    Stale,
    /// It is no request that may be sent: the definition's fault, or the event's.
    BadRequest(BadRequest),
}

impl Sent {
    /// What a service without HTTP said, told as the status that means the same.
    #[must_use]
    pub fn answer(status: u16, text: impl Into<Bytes>) -> Self {
        Self::Answered(Answer {
            status,
            headers: HeaderMap::new(),
            body: text.into(),
            truncated: false,
        })
    }
}

/// Whether an idle connection may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Allowed,
    Never,
}

/// One shard's HTTP sender.
pub struct Client {
    pub dialer: Dialer,
    pub pool: Pool,
    pub response_bytes_max: usize,
}

impl Client {
    /// Sends one request. Cancel safe: dropping the future closes the connection.
    pub async fn send(&self, prepared: Prepared, reuse: Reuse, timeout: Duration) -> Sent {
        let phase = Cell::new(Phase::Resolving);
        let partial = Cell::new(None);
        let exchange = self.exchange(prepared, reuse, &phase, &partial);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(sent) => sent,
            Err(_) => timed_out(phase.get(), partial.take(), timeout),
        }
    }

    async fn exchange(
        &self,
        prepared: Prepared,
        reuse: Reuse,
        phase: &Cell<Phase>,
        partial: &Cell<Option<HeaderMap>>,
    ) -> Sent {
        let Prepared { place, request } = prepared;
        let idle = match reuse {
            Reuse::Allowed => self.take_alive(&place).await,
            Reuse::Never => None,
        };
        let reused = idle.is_some();
        let mut link = match idle {
            Some(link) => link,
            // Boxed, here and elsewhere: an attempt should not carry the room of what is rare.
            None => match Box::pin(self.dialer.dial(&place, &|now| phase.set(now))).await {
                Ok(link) => link,
                Err(failed) => return Sent::Failed(failed),
            },
        };
        phase.set(Phase::Sending);
        let received = link.received.bytes();
        // What is read at once may hold the answer's head and more.
        let dialing = &self.dialer.options;
        let ahead = dialing.response_head_bytes_max + dialing.buffer_bytes_max;
        link.received.awaits_answer(ahead);
        let response = match request_on(&mut link, request).await {
            Ok(response) => response,
            Err(lost) => {
                let silent = link.received.bytes() == received;
                if reused && silent {
                    return Sent::Stale;
                }
                return Sent::Failed(lost.into_failed(&place));
            }
        };
        link.received.has_answer();
        let status = response.status().as_u16();
        phase.set(Phase::Reading { status });
        let (head, body) = response.into_parts();
        partial.set(Some(head.headers));
        let read = self.read_body(&mut link, body).await;
        let headers = partial.take().unwrap_or_default();
        let truncated = match &read {
            Ok(_) => false,
            Err(broken) if broken.readable => true,
            Err(broken) => return cut_off(status, headers, &broken.detail),
        };
        if !truncated {
            self.keep(place, link).await;
        }
        let body = read.unwrap_or_else(|broken| broken.body);
        Sent::Answered(Answer {
            status,
            headers,
            body,
            truncated,
        })
    }

    /// An idle connection that the other side has not closed yet, as far as this side can know.
    async fn take_alive(&self, place: &Place) -> Option<Link> {
        loop {
            let mut link = self.pool.take(place, Instant::now())?;
            if is_alive(&mut link).await {
                return Some(link);
            }
        }
    }

    /// Gives a connection back, if it is ready for another request. One that still has bytes of
    /// the last exchange to move is closed instead.
    async fn keep(&self, place: Place, mut link: Link) {
        if is_alive(&mut link).await {
            self.pool.put(place, link, Instant::now());
        }
    }

    async fn read_body(&self, link: &mut Link, body: Incoming) -> Result<Bytes, Broken> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let mut body = pin!(body);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = poll_fn(|cx| {
                let ended = link.driver.drive(cx);
                match body.as_mut().poll_frame(cx) {
                    Poll::Pending if ended => Poll::Ready(Some(Err(None))),
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Some))),
                }
            });
            let so_far = first.len() + rest.len();
            let data = match frame.await {
                None => return Ok(joined(first, rest)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => {
                    let readable = error.as_ref().is_some_and(is_bad_encoding);
                    let detail = error.map_or_else(
                        || "the connection closed".to_owned(),
                        |error| explain(&error),
                    );
                    return Err(Broken {
                        body: joined(first, rest),
                        readable,
                        detail,
                    });
                }
            };
            let room = self.response_bytes_max.saturating_sub(so_far);
            if data.len() > room {
                rest.extend_from_slice(data.get(..room).unwrap_or_default());
                let detail = "the body is too long".to_owned();
                return Err(Broken {
                    body: joined(first, rest),
                    readable: true,
                    detail,
                });
            }
            // Most answers are one piece: it is kept as it came, without a copy.
            if so_far == 0 {
                first = data
            } else {
                rest.extend_from_slice(&data)
            }
        }
    }
}

/// A body that did not come whole.
struct Broken {
    body: Bytes,
    /// It did come, but too long or wrongly encoded: the answer as such stands.
    readable: bool,
    detail: String,
}

fn joined(first: Bytes, rest: BytesMut) -> Bytes {
    if rest.is_empty() {
        return first;
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    whole.freeze()
}

/// A request that got no response.
enum Lost {
    /// Not a byte of it was written.
    Unsent(String),
    Sent(String),
}

impl Lost {
    fn into_failed(self, place: &Place) -> Failed {
        let host = place.authority.host();
        match self {
            Self::Unsent(why) => Failed::new(Failure::Connect, format!("{host}: {why}")),
            Self::Sent(why) => Failed::new(
                Failure::Indeterminate,
                format!("{host} gave no answer: {why}"),
            ),
        }
    }
}

async fn request_on(
    link: &mut Link,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Lost> {
    let mut response = pin!(link.sender.try_send_request(request));
    poll_fn(|cx| {
        let ended = link.driver.drive(cx);
        match response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                let why = explain(error.error());
                Poll::Ready(Err(if unsent {
                    Lost::Unsent(why)
                } else {
                    Lost::Sent(why)
                }))
            }
            Poll::Pending if ended => {
                Poll::Ready(Err(Lost::Sent("the connection closed".to_owned())))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Moves the connection once, without waiting: whether it can take a request now.
async fn is_alive(link: &mut Link) -> bool {
    poll_fn(|cx| {
        let ended = link.driver.drive(cx);
        Poll::Ready(!ended && link.sender.is_ready())
    })
    .await
}

fn timed_out(phase: Phase, partial: Option<HeaderMap>, timeout: Duration) -> Sent {
    let waited = timeout.as_millis();
    let (failure, what) = match phase {
        Phase::Resolving => (Failure::Dns, "its name was not looked up"),
        Phase::Connecting => (Failure::ConnectTimeout, "no connection"),
        Phase::Sending => (Failure::Indeterminate, "no answer"),
        Phase::Reading { status } => {
            let detail = format!("no whole answer in {waited} ms");
            return cut_off(status, partial.unwrap_or_default(), &detail);
        }
    };
    Sent::Failed(Failed::new(failure, format!("{what} in {waited} ms")))
}

/// An answer whose body never ended. A refusal stands as it is; "done" does not, as the part that
/// is missing may have said which events were not.
fn cut_off(status: u16, headers: HeaderMap, detail: &str) -> Sent {
    if (200..300).contains(&status) {
        let detail = format!("answer {status} was cut off: {detail}");
        return Sent::Failed(Failed::new(Failure::Indeterminate, detail));
    }
    Sent::Answered(Answer {
        status,
        headers,
        body: Bytes::new(),
        truncated: true,
    })
}

/// The other side sent something that is no chunk: its words stand as far as they were readable.
fn is_bad_encoding(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{InvalidData, InvalidInput};
            return matches!(io.kind(), InvalidInput | InvalidData);
        }
        source = inner.source();
    }
    error.is_parse()
}

/// An error with what caused it.
fn explain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
