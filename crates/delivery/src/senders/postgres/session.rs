//! One connection to a database.
//!
//! Whoever uses it drives it: there is no task of its own, so dropping it (a timeout, a shutdown)
//! closes the socket at once, and PostgreSQL takes back what was not committed.

use std::cell::Cell;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::Failure;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_postgres::config::SslMode as ProtocolSsl;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_rustls::TlsConnector;

use super::target::{SslMode, Target};
use super::wire::{Stream, Wire};
use crate::http::Failed;
use crate::http::dial::Dialer;

/// "Shall we speak TLS?", as PostgreSQL's protocol asks.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Why there is no session.
pub(super) enum NoSession {
    /// Nobody is there, or not to be trusted.
    Failed(Failed),
    /// The server says no.
    Refused(tokio_postgres::Error),
}

/// See the module.
pub(super) struct Session {
    client: Client,
    driver: Driver,
    allowance: Rc<Cell<usize>>,
    pub(super) opened_at: Instant,
    pub(super) used_at: Instant,
}

/// Moves the bytes of one connection.
struct Driver(Option<Pin<Box<Connection<Wire, NoTlsStream>>>>);

impl Driver {
    /// Moves what can be moved now. True once it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            // With it go the promises of answers, so that nobody waits for one any more.
            self.0 = None;
        }
        self.0.is_none()
    }
}

impl Session {
    /// Opens one, through the egress guard. `tls`: what to encrypt with, unless it is disabled.
    pub(super) async fn open(
        target: &Target,
        dialer: &Dialer,
        tls: Option<&TlsConnector>,
        answer_bytes_max: usize,
    ) -> Result<Self, NoSession> {
        let encrypted = target.ssl_mode != SslMode::Disable;
        let stream = dialer
            .dial_tcp(&target.host, target.port, encrypted)
            .await
            .map_err(NoSession::Failed)?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => {
                let limit = Duration::from_millis(dialer.options.tls_timeout_ms);
                let encrypted = tokio::time::timeout(limit, encrypt(stream, target, tls)).await;
                encrypted.map_err(|_| {
                    let waited = limit.as_millis();
                    let detail = format!("TLS with {}: not done in {waited} ms", target.place());
                    NoSession::Failed(Failed::new(Failure::ConnectTimeout, detail))
                })??
            }
            None => Box::new(stream),
        };
        let (wire, allowance) = Wire::new(stream, answer_bytes_max);
        let mut config = Config::new();
        config
            .user(&target.user)
            .dbname(&target.database)
            .application_name("fairlane")
            // It is encrypted already, or is not to be.
            .ssl_mode(ProtocolSsl::Disable);
        if let Some(password) = &target.password {
            config.password(password.reveal());
        }
        let (client, connection) = config
            .connect_raw(wire, NoTls)
            .await
            .map_err(|error| said(error, target))?;
        let now = Instant::now();
        Ok(Self {
            client,
            driver: Driver(Some(Box::pin(connection))),
            allowance,
            opened_at: now,
            used_at: now,
        })
    }

    /// Does work that needs the connection. `answer_bytes_max`: what it may read for it.
    pub(super) async fn run<'a, F: Future>(
        &'a mut self,
        answer_bytes_max: usize,
        work: impl FnOnce(&'a Client) -> F,
    ) -> F::Output {
        self.allowance.set(answer_bytes_max);
        let driver = &mut self.driver;
        let mut work = pin!(work(&self.client));
        poll_fn(|cx| {
            driver.drive(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Moves the connection once, without waiting: whether it can take work now, as far as this side
    /// can know.
    pub(super) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(!self.driver.drive(cx))).await
    }
}

async fn encrypt(
    mut stream: TcpStream,
    target: &Target,
    tls: &TlsConnector,
) -> Result<Box<dyn Stream>, NoSession> {
    let io = |error| NoSession::Failed(Failed::connecting(&error, &target.place()));
    let bad = |problem: String| {
        let detail = format!("TLS with {}: {problem}", target.place());
        NoSession::Failed(Failed::new(Failure::Tls, detail))
    };
    stream.write_all(&SSL_REQUEST).await.map_err(io)?;
    // One byte, and not more: what a stranger sends behind it would else be taken as said in secret.
    match stream.read_u8().await.map_err(io)? {
        b'S' => {}
        b'N' => {
            return Err(bad(
                "the server does not speak it; switch it on there, or set ssl_mode to disable"
                    .to_owned(),
            ));
        }
        _ => return Err(bad("that is no PostgreSQL server".to_owned())),
    }
    let host = target.host.trim_matches(['[', ']']).trim_end_matches('.');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| bad(format!("{host:?} is no name for TLS")))?;
    match tls.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error)
            if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            Err(bad(format!(
                "{error}; ca_certificate names an authority of your own, ssl_mode = \"require\" asks for none"
            )))
        }
        Err(error) => Err(io(error)),
    }
}

/// How a server's greeting ended.
fn said(error: tokio_postgres::Error, target: &Target) -> NoSession {
    let io = error.source().and_then(|source| source.downcast_ref());
    match io {
        Some(io) => NoSession::Failed(Failed::connecting(io, &target.place())),
        None if error.is_closed() => {
            let detail = format!("{} closed the connection", target.place());
            NoSession::Failed(Failed::new(Failure::Connect, detail))
        }
        None => NoSession::Refused(error),
    }
}
