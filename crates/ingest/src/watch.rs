//! Watching connections: what each one is doing, since when, and when that has been too long.
//!
//! ```text
//!   Idle --first byte--> Head --headers read--> Body --body read--> Working --answered--> Idle
//!    |                    |                      |  \--refused--> Lingering --> closed
//!    idle_timeout         header_timeout         |                  |
//!                                                body_timeout,      header_timeout
//!                                                or too slow
//! ```
//!
//! One sweep a thread looks at all its connections a few times a second, so that a request sets no
//! timer at all. Times are therefore kept to within one [`SWEEP_MS`].

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::{self, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::options::Options;
use crate::stats::Cut;

/// How often connections are looked at.
pub(crate) const SWEEP_MS: u64 = 200;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Idle,
    Head,
    Body,
    /// It waits for us.
    Working,
    /// It was refused while it was still sending. Closing at once would reset the connection, and
    /// the client would see that instead of its answer: so we close our half and read on a little.
    Lingering,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Idle,
        Self::Head,
        Self::Body,
        Self::Working,
        Self::Lingering,
    ];

    /// Its place in [`Phase::ALL`], for an atomic.
    const fn code(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Head => 1,
            Self::Body => 2,
            Self::Working => 3,
            Self::Lingering => 4,
        }
    }
}

/// Bytes that a lingering connection may still send.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What a connection is told to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(crate) enum Command {
    GoOn,
    /// Answer what is under way, then close.
    Finish,
    /// Close now.
    Close,
}

impl Command {
    const ALL: [Self; 3] = [Self::GoOn, Self::Finish, Self::Close];

    /// Its place in [`Command::ALL`], for an atomic; a stronger command has a higher one.
    const fn code(self) -> u8 {
        match self {
            Self::GoOn => 0,
            Self::Finish => 1,
            Self::Close => 2,
        }
    }
}

/// One connection, as the sweep sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    phase: AtomicU8,
    /// On the clock of [`Watch`].
    since_ms: AtomicU64,
    body_bytes: AtomicU64,
    command: AtomicU8,
    waker: Mutex<Option<Waker>>,
    clock_ms: Arc<AtomicU64>,
}

impl Watched {
    pub(crate) fn enter(&self, phase: Phase) {
        self.since_ms.store(self.clock_ms.load(Relaxed), Relaxed);
        if phase == Phase::Body {
            self.body_bytes.store(0, Relaxed);
        }
        self.phase.store(phase.code(), Relaxed);
    }

    /// The command in force; the task of `cx` is woken when it changes.
    pub(crate) fn command(&self, cx: &Context<'_>) -> Command {
        {
            let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
        }
        of_code(&Command::ALL, &self.command, SeqCst)
    }

    fn give(&self, command: Command) {
        self.command.fetch_max(command.code(), SeqCst);
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn received(&self, bytes: usize) {
        let phase = self.phase();
        if matches!(phase, Phase::Idle | Phase::Lingering) {
            self.enter(Phase::Head);
        } else if phase == Phase::Body {
            self.body_bytes
                .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
        }
    }

    fn phase(&self) -> Phase {
        of_code(&Phase::ALL, &self.phase, Relaxed)
    }

    fn overdue(&self, now_ms: u64, options: &Options) -> Option<Cut> {
        let in_phase_ms = now_ms.saturating_sub(self.since_ms.load(Relaxed));
        match self.phase() {
            Phase::Idle => (in_phase_ms > options.idle_timeout_ms).then_some(Cut::Idle),
            Phase::Head | Phase::Lingering => {
                (in_phase_ms > options.header_timeout_ms).then_some(Cut::SlowHeaders)
            }
            Phase::Body => {
                let expected =
                    (in_phase_ms / 1_000).saturating_mul(options.body_rate_min_bytes_per_s);
                let too_slow =
                    in_phase_ms > options.body_grace_ms && self.body_bytes.load(Relaxed) < expected;
                (too_slow || in_phase_ms > options.body_timeout_ms).then_some(Cut::SlowBody)
            }
            Phase::Working => None,
        }
    }
}

fn of_code<T: Copy>(all: &[T], code: &AtomicU8, ordering: Ordering) -> T {
    let code = usize::from(code.load(ordering));
    *all.get(code).expect("only codes of this list are stored")
}

/// All connections of one thread.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    clock_ms: Arc<AtomicU64>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, Arc<Watched>>,
}

impl Watch {
    pub(crate) fn begin(self: &Arc<Self>) -> Watching {
        let watched = Arc::new(Watched {
            phase: AtomicU8::new(Phase::Idle.code()),
            since_ms: AtomicU64::new(self.clock_ms.load(Relaxed)),
            body_bytes: AtomicU64::new(0),
            command: AtomicU8::new(Command::GoOn.code()),
            waker: Mutex::new(None),
            clock_ms: Arc::clone(&self.clock_ms),
        });
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, Arc::clone(&watched));
        Watching {
            watch: Arc::clone(self),
            number,
            watched,
        }
    }

    /// Sets the clock and closes what is overdue; calls `cut` for each.
    pub(crate) fn sweep(&self, now_ms: u64, options: &Options, mut cut: impl FnMut(Cut)) {
        self.clock_ms.store(now_ms, Relaxed);
        for watched in self.open().by_number.values() {
            if watched.command.load(Relaxed) < Command::Close.code()
                && let Some(reason) = watched.overdue(now_ms, options)
            {
                cut(reason);
                watched.give(Command::Close);
            }
        }
    }

    pub(crate) fn give_all(&self, command: Command) {
        for watched in self.open().by_number.values() {
            watched.give(command);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open().by_number.len()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is being watched, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    watch: Arc<Watch>,
    number: u64,
    pub(crate) watched: Arc<Watched>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.open().by_number.remove(&self.number);
    }
}

/// A socket that tells its [`Watched`] what arrives.
pub(crate) struct WatchedStream {
    stream: TcpStream,
    watched: Arc<Watched>,
    half_closed: bool,
    lingered_bytes: usize,
}

impl WatchedStream {
    pub(crate) fn new(stream: TcpStream, watched: Arc<Watched>) -> Self {
        Self {
            stream,
            watched,
            half_closed: false,
            lingered_bytes: 0,
        }
    }

    /// Reads and throws away until the client closes, or has sent enough. The sweep ends it too.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 8 * 1024];
        while self.lingered_bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.lingered_bytes += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        if bytes > 0 {
            self.watched.received(bytes);
        }
        poll
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.half_closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.half_closed = true;
        }
        if self.watched.phase() == Phase::Lingering {
            return self.poll_linger(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
