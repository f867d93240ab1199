//! Destinations played by the program itself, for the demo and the benchmarks: real HTTP servers
//! on loopback, each with a temper.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::load::Latencies;

/// How a receiver treats its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Temper {
    /// 200 at once.
    Healthy,
    /// Takes the request and never answers.
    Hangs,
    /// 500 for every other request.
    FailsHalf,
    /// 429 with `Retry-After: 1` for what is over this many requests a second.
    LimitsTo(u32),
}

/// What a receiver remembers of the events that it took, beside their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    Nothing,
    /// The id of each event, which costs memory: for short runs.
    Ids,
    /// How long each event was on its way: its id says when it was sent ([`stamped_id`]).
    Latencies,
}

/// A message id that says when it was made, for [`Keep::Latencies`].
pub fn stamped_id(number: u64) -> String {
    format!("{}-{number}", unix_micros())
}

fn unix_micros() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_micros())
}

/// A running receiver. Ends with the process, or when its runtime does.
pub struct Receiver {
    pub name: &'static str,
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What a receiver knows of its own: an account that shares nothing with the product's.
#[derive(Default)]
struct Seen {
    /// While this is unset, every receiver is healthy: the calm before the faults.
    faulty: AtomicBool,
    requests: AtomicU64,
    accepted: AtomicU64,
    /// `webhook-id`s answered with 200.
    ids: Mutex<HashSet<String>>,
    latencies: Mutex<Latencies>,
    window: Mutex<Option<(Instant, u32)>>,
}

impl Receiver {
    /// Starts a receiver on a free loopback port.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(name: &'static str, temper: Temper, keep: Keep) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let seen = Arc::<Seen>::default();
        let for_server = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let seen = Arc::clone(&for_server);
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| answer(request, temper, keep, Arc::clone(&seen))),
                );
                tokio::spawn(serve);
            }
        });
        Ok(Self {
            name,
            address,
            seen,
        })
    }

    /// From now on the receiver behaves as its temper says; before, it is healthy.
    pub fn begin_faults(&self) {
        self.seen.faulty.store(true, Ordering::Relaxed);
    }

    /// Requests received, whatever was answered.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Requests answered with 200.
    pub fn accepted(&self) -> u64 {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    /// Distinct events answered with 200; 0 without [`Keep::Ids`].
    pub fn distinct(&self) -> usize {
        lock(&self.seen.ids).len()
    }

    /// The latencies since the last call; none without [`Keep::Latencies`].
    pub fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut lock(&self.seen.latencies))
    }
}

async fn answer(
    request: Request<Incoming>,
    temper: Temper,
    keep: Keep,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let number = seen.requests.fetch_add(1, Ordering::Relaxed);
    let id = (keep != Keep::Nothing)
        .then(|| {
            request
                .headers()
                .get("webhook-id")?
                .to_str()
                .ok()
                .map(str::to_owned)
        })
        .flatten();
    // The body is read to its end, as a real receiver would; a broken one is the sender's affair.
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let temper = if seen.faulty.load(Ordering::Relaxed) {
        temper
    } else {
        Temper::Healthy
    };
    let status = match temper {
        Temper::Healthy => 200,
        Temper::Hangs => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            200
        }
        Temper::FailsHalf => {
            if number.is_multiple_of(2) {
                500
            } else {
                200
            }
        }
        Temper::LimitsTo(per_second) => {
            if seen.within(per_second) {
                200
            } else {
                429
            }
        }
    };
    if status == 200 {
        seen.accepted.fetch_add(1, Ordering::Relaxed);
        if let Some(id) = id {
            seen.keep(keep, id);
        }
    }
    let mut response = Response::builder().status(status);
    if status == 429 {
        response = response.header("retry-after", "1");
    }
    Ok(response
        .body(Full::new(Bytes::new()))
        .expect("a status and one header make a response"))
}

impl Seen {
    fn keep(&self, keep: Keep, id: String) {
        if keep == Keep::Ids {
            lock(&self.ids).insert(id);
            return;
        }
        let sent = id
            .split_once('-')
            .and_then(|(micros, _)| micros.parse::<u128>().ok());
        if let Some(sent) = sent {
            let took = u64::try_from(unix_micros().saturating_sub(sent)).unwrap_or(u64::MAX);
            lock(&self.latencies).record(Duration::from_micros(took));
        }
    }

    /// Counts one request against a limit for each second.
    fn within(&self, per_second: u32) -> bool {
        let now = Instant::now();
        let mut window = lock(&self.window);
        let (began, used) = window.get_or_insert((now, 0));
        if now.duration_since(*began) >= Duration::from_secs(1) {
            (*began, *used) = (now, 0);
        }
        *used += 1;
        *used <= per_second
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
