//! The listener: one thread, a bounded number of connections, a time limit on each step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::access::Guard;
use crate::control::Control;
use crate::routes::{self, App, Peer};
use crate::{Error, Options};

/// How long to wait after a failed accept, which mostly means that no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running management API. Dropping it stops it as [`Admin::shutdown`] does, without waiting.
pub struct Admin {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Serves `control` on `listener` from a thread of its own.
///
/// # Errors
/// [`Error::OpenToTheNetwork`] and [`Error::WeakToken`] before anything is served; otherwise the
/// operating system's own.
pub fn start(
    options: Options,
    listener: std::net::TcpListener,
    control: Arc<dyn Control>,
) -> Result<Admin, Error> {
    let local_addr = listener.local_addr()?;
    let guard = Guard::new(options.token.as_ref(), local_addr)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let (stop, stopped) = watch::channel(false);
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let router = routes::router(App::new(control, guard, options.clone()));
            runtime.block_on(serve(listener, router, &options, stopped));
        })?;
    info!(%local_addr, "management API listens");
    Ok(Admin {
        local_addr,
        stop,
        thread,
    })
}

impl Admin {
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no more connections and lets requests that are being answered finish, within the
    /// options' `request_timeout_ms`. Blocks until then.
    pub fn shutdown(self) {
        // The thread has gone already where nobody receives this: nothing is left to stop.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            warn!("the management API's thread had panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    options: &Options,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(options.connections_max));
    loop {
        let slot = tokio::select! {
            _ = stopped.changed() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.expect("is never closed"),
        };
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                let connection = connection(stream, router, options, stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "management API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let all = u32::try_from(options.connections_max).unwrap_or(u32::MAX);
    // All slots free again means that no connection is left.
    if tokio::time::timeout(options.request_timeout(), slots.acquire_many(all))
        .await
        .is_err()
    {
        warn!("management API stops with requests unanswered");
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
    options: &Options,
    mut stopped: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout())
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    async move {
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(%error, "management API's connection ended early");
        }
    }
}

#[cfg(test)]
mod tests;
