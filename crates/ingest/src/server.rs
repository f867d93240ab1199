//! Threads, connections, and how both end.
//!
//! One thread accepts and deals every connection to the thread that has the fewest. Each thread
//! has a runtime of its own and shares nothing with the others but counters, so a request stays on
//! one core from its first byte to its answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use eventlog::EventLog;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::UnixMillis;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::Error;
use crate::admission::{Admitted, Connections, InFlight};
use crate::clock::Clock;
use crate::dedup::Window;
use crate::handler::{Shared, handle};
use crate::limiter::Limiter;
use crate::options::{HEADERS_MAX_DEFAULT, Options};
use crate::overload::Overload;
use crate::sources::SourceTable;
use crate::stats::{Cut, IngestStats};
use crate::watch::{Command, SWEEP_MS, Watch, WatchedStream, Watching};

/// Accepted connections that a thread has not looked at yet.
const DEALT_MAX: usize = 1_024;

/// Read and write buffer of a connection at most; bodies are taken out of it piece by piece.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// A running ingest. A cheap handle: clones are the same server. [`Ingest::shutdown`] ends it in
/// order; when the last handle is dropped without it, open connections are cut off.
#[derive(Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    stage: watch::Sender<Stage>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Serving,
    /// No new connections; open ones end with their present request.
    Draining,
    Closed,
}

/// Starts to serve on `listener`. The window of message ids is rebuilt from the log before the
/// first connection is accepted. `/ready` says no until [`Ingest::set_ready`].
///
/// # Errors
/// An option that cannot work, a log that cannot be read, or no threads or sockets.
pub fn start(
    options: Options,
    listener: TcpListener,
    log: EventLog,
    sources: Arc<ArcSwap<SourceTable>>,
    clock: Clock,
) -> Result<Ingest, Error> {
    options.check()?;
    listener
        .set_nonblocking(true)
        .map_err(Error::io("listen"))?;
    let local_addr = listener.local_addr().map_err(Error::io("listen"))?;
    let window = restored_window(&options, &log, clock())?;
    let per_ip_max = if options.trusted_proxies > 0 {
        options.connections_max
    } else {
        options.connections_per_ip_max
    };
    let shared = Arc::new(Shared {
        log,
        sources,
        clock,
        started: Instant::now(),
        stats: IngestStats::default(),
        window,
        overload: Overload::new(
            options.commit_wait_target_ms,
            options.commit_wait_interval_ms,
        ),
        limiter: Limiter::new(options.source_rate_limit_per_s, options.ip_rate_limit_per_s),
        in_flight: Arc::new(InFlight::new(options.bytes_in_flight_max)),
        connections: Arc::new(Connections::new(options.connections_max, per_ip_max)),
        ready: AtomicBool::new(false),
        full_until_us: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        notices: Default::default(),
        options,
    });
    let (stage, _) = watch::channel(Stage::Serving);
    let inner = Inner {
        shared,
        local_addr,
        stage,
        threads: Mutex::default(),
    };
    let ingest = Ingest {
        inner: Arc::new(inner),
    };
    ingest.spawn_threads(listener)?;
    tracing::info!(address = %local_addr, "ingest is listening");
    Ok(ingest)
}

fn restored_window(
    options: &Options,
    log: &EventLog,
    now: UnixMillis,
) -> Result<Arc<Window>, Error> {
    let window = Window::new(options.dedup_window_ms, options.dedup_entries_max);
    let since = UnixMillis(now.0.saturating_sub(options.dedup_window_ms));
    log.messages_since(since, &mut |_, hash, at| window.restore(hash, at))?;
    Ok(Arc::new(window))
}

impl Ingest {
    /// Where it listens: with port 0, the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    #[must_use]
    pub fn stats(&self) -> &IngestStats {
        &self.inner.shared.stats
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.shared.connections.open()
    }

    /// Bytes of bodies and batches in memory.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.inner.shared.in_flight.bytes()
    }

    /// Why `/ready` says no, if it does.
    ///
    /// # Errors
    /// In words for a person.
    pub fn ready(&self) -> Result<(), &'static str> {
        let shared = &self.inner.shared;
        match (shared.is_full(), shared.is_ready()) {
            (true, _) => Err("the event log is full: make room, or raise retention_bytes_max"),
            (false, false) => Err("Fairlane is starting or stopping"),
            (false, true) => Ok(()),
        }
    }

    /// What `/ready` answers. Events are accepted either way.
    pub fn set_ready(&self, ready: bool) {
        self.inner.shared.ready.store(ready, Relaxed);
    }

    /// Stops accepting, answers what is under way, closes. What is not done within `drain` is cut
    /// off; its clients have no answer and send again. Returns when all threads have ended.
    ///
    /// Cancel safe: call it again to go on waiting.
    pub async fn shutdown(&self, drain: Duration) {
        self.set_ready(false);
        let stage = &self.inner.stage;
        stage.send_if_modified(|stage| {
            let serving = *stage == Stage::Serving;
            *stage = if serving { Stage::Draining } else { *stage };
            serving
        });
        // Every thread holds a receiver until it ends.
        if timeout(drain, stage.closed()).await.is_err() {
            tracing::warn!(
                connections = self.connections(),
                "closing connections that did not end in time"
            );
            stage.send_replace(Stage::Closed);
            stage.closed().await;
        }
        let mut threads = self
            .inner
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of ingest had panicked");
            }
        }
    }

    fn spawn_threads(&self, listener: TcpListener) -> Result<(), Error> {
        let options = &self.inner.shared.options;
        let mut dealer = Dealer { hands: Vec::new() };
        let mut receivers = Vec::new();
        for _ in 0..options.threads {
            let (sender, receiver) = mpsc::channel(DEALT_MAX);
            let open = Arc::new(AtomicUsize::new(0));
            dealer.hands.push(Hand {
                sender,
                open: Arc::clone(&open),
            });
            receivers.push(receiver);
        }
        let mut acceptor = Some((listener, dealer));
        for (index, dealt) in receivers.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::io("make a runtime"))?;
            let thread = Thread {
                shared: Arc::clone(&self.inner.shared),
                watch: Arc::new(Watch::default()),
                stage: self.inner.stage.subscribe(),
            };
            let acceptor = acceptor.take();
            let handle = std::thread::Builder::new()
                .name(format!("ingest-{index}"))
                .spawn(move || runtime.block_on(thread.run(dealt, acceptor)))
                .map_err(Error::io("start a thread"))?;
            self.inner
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(handle);
        }
        Ok(())
    }
}

/// One connection on its way to its thread.
struct Dealt {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
    open: OpenCount,
}

/// Counts a connection of a thread, until it is dropped.
struct OpenCount(Arc<AtomicUsize>);

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

struct Hand {
    sender: mpsc::Sender<Dealt>,
    open: Arc<AtomicUsize>,
}

/// Deals connections to threads.
struct Dealer {
    hands: Vec<Hand>,
}

impl Dealer {
    async fn accept(self, listener: TcpListener, shared: Arc<Shared>) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot accept connections"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.deal(stream, peer, &shared),
                Err(error) => {
                    // No file descriptors, most likely. Those of the log are reserved; waiting a
                    // little lets connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn deal(&self, stream: TcpStream, peer: SocketAddr, shared: &Shared) {
        let Some(admitted) = shared.connections.admit(peer.ip()) else {
            return shared.stats.count_cut(Cut::TooMany);
        };
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let Some(hand) = self.hands.iter().min_by_key(|hand| hand.open.load(Relaxed)) else {
            return;
        };
        hand.open.fetch_add(1, Relaxed);
        let open = OpenCount(Arc::clone(&hand.open));
        if hand
            .sender
            .try_send(Dealt {
                stream,
                peer,
                admitted,
                open,
            })
            .is_err()
        {
            shared.stats.count_cut(Cut::TooMany);
        }
    }
}

/// What one thread works with.
struct Thread {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    stage: watch::Receiver<Stage>,
}

impl Thread {
    async fn run(
        mut self,
        mut dealt: mpsc::Receiver<Dealt>,
        acceptor: Option<(TcpListener, Dealer)>,
    ) {
        let accepting = acceptor
            .map(|(listener, dealer)| tokio::spawn(dealer.accept(listener, self.shared.clone())));
        let mut sweeps = interval(Duration::from_millis(SWEEP_MS));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                connection = dealt.recv() => match connection {
                    Some(connection) => self.serve(connection),
                    None => break,
                },
                _ = sweeps.tick() => self.sweep(),
                changed = self.stage.changed() => {
                    if changed.is_err() || *self.stage.borrow() != Stage::Serving {
                        break;
                    }
                }
            }
        }
        if let Some(accepting) = accepting {
            accepting.abort();
        }
        self.drain(dealt).await;
    }

    /// Lets what is under way end.
    async fn drain(self, mut dealt: mpsc::Receiver<Dealt>) {
        dealt.close();
        while let Ok(connection) = dealt.try_recv() {
            self.serve(connection);
        }
        let mut stage = self.stage.clone();
        let mut looks = interval(Duration::from_millis(5));
        while self.watch.len() > 0 || self.shared.in_flight.bytes() > 0 {
            self.watch.give_all(Command::Finish);
            tokio::select! {
                _ = looks.tick() => self.sweep(),
                _ = stage.wait_for(|stage| *stage == Stage::Closed) => break,
            }
        }
    }

    fn sweep(&self) {
        let shared = &self.shared;
        let now_ms = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.watch
            .sweep(now_ms, &shared.options, |cut| shared.stats.count_cut(cut));
        shared.limiter.sweep();
        (shared.options.on_tick)();
    }

    fn serve(&self, dealt: Dealt) {
        let Dealt {
            stream,
            peer,
            admitted,
            open,
        } = dealt;
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        // Answers are small and waited for.
        let _delayed_at_worst = stream.set_nodelay(true);
        let shared = Arc::clone(&self.shared);
        let watching = self.watch.begin();
        tokio::spawn(async move {
            connection(stream, peer, shared, &watching).await;
            drop((watching, admitted, open));
        });
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, watching: &Watching) {
    let watched = &watching.watched;
    let stream = WatchedStream::new(stream, Arc::clone(watched));
    let options = &shared.options;
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(options.header_bytes_max)
        .max_buf_size(BUFFER_BYTES_MAX.max(options.header_bytes_max))
        // The watch keeps the time: no timer a request.
        .header_read_timeout(None)
        // A client that has said all may close its half and still wants its answer.
        .half_close(true);
    if options.headers_max != HEADERS_MAX_DEFAULT {
        builder.max_headers(options.headers_max);
    }
    let service =
        service_fn(|request| handle(Arc::clone(&shared), Arc::clone(watched), peer, request));
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    std::future::poll_fn(|cx| {
        match watched.command(cx) {
            Command::GoOn => {}
            Command::Finish => served.as_mut().graceful_shutdown(),
            Command::Close => return std::task::Poll::Ready(()),
        }
        served.as_mut().poll(cx).map(|result| {
            if let Err(error) = result {
                tracing::debug!(%error, %peer, "connection ended");
            }
        })
    })
    .await;
}
