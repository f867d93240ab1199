//! Opening a connection: resolve, judge, connect, judge again, TLS.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::Failure;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::Failed;
use super::egress::EgressPolicy;
use super::request::{Place, literal};
use super::resolver::Resolver;

/// Limits of opening connections.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// TCP connect, over all addresses of a name. Default: 5,000.
    pub connect_timeout_ms: u64,
    /// TLS handshake. Default: 5,000.
    pub tls_timeout_ms: u64,
    /// Largest head of a response, and all that a service says before it (`100 Continue`).
    /// Default: 32 KiB.
    pub response_head_bytes_max: usize,
    /// Buffer of one connection. Default: 64 KiB. Minimum: 8 KiB.
    pub buffer_bytes_max: usize,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            tls_timeout_ms: 5_000,
            response_head_bytes_max: 32 * 1024,
            buffer_bytes_max: 64 * 1024,
        }
    }
}

/// What hyper needs at least.
const BUFFER_BYTES_LEAST: usize = 8 * 1024;

type Connection = http1::Connection<TokioIo<Socket>, Full<Bytes>>;

/// One open connection. Its attempt drives it: no task of its own, so dropping it (a timeout, a
/// shutdown) closes the socket at once and leaves nothing behind.
pub struct Link {
    pub sender: http1::SendRequest<Full<Bytes>>,
    pub driver: Driver,
    pub received: Arc<Received>,
    pub opened_at: Instant,
    pub used_at: Instant,
}

/// What came over one connection.
#[derive(Default)]
pub struct Received {
    /// Bytes, ever.
    bytes: AtomicU64,
    /// How many of them may come before an answer does; 0 while nobody counts.
    bytes_max: AtomicU64,
}

impl Received {
    /// Tells whether any byte of a response has come.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// From now on, until [`Received::has_answer`], no more than this is read: hyper passes over any
    /// number of interim answers, as fast as they come.
    pub fn awaits_answer(&self, bytes_max: usize) {
        let more = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        let bytes_max = self.bytes().saturating_add(more);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub fn has_answer(&self) {
        self.bytes_max.store(0, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        let max = self.bytes_max.load(Ordering::Relaxed);
        max > 0 && self.bytes() >= max
    }

    fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Moves the bytes of one connection.
pub struct Driver {
    connection: Pin<Box<Connection>>,
    ended: bool,
}

impl Driver {
    /// Moves what can be moved now; `cx` is woken when there is more. True once it has ended.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.ended = self.ended || self.connection.as_mut().poll(cx).is_ready();
        self.ended
    }
}

/// Opens connections that the egress guard allows. One for each shard.
pub struct Dialer {
    pub egress: Arc<EgressPolicy>,
    pub resolver: Resolver,
    pub tls: TlsConnector,
    pub options: DialOptions,
}

/// How far an attempt has come: says what a timeout means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Resolving,
    Connecting,
    Sending,
    Reading { status: u16 },
}

/// Where a connection goes.
#[derive(Clone, Copy)]
struct Target<'a> {
    /// As it was written.
    host: &'a str,
    port: u16,
    /// Nothing is said before it is encrypted.
    tls: bool,
}

impl Dialer {
    /// Opens a connection to `place`; tells `phase` as it goes. Cancel safe: dropping the future
    /// closes what was opened.
    ///
    /// # Errors
    /// No connection: nothing of the request was sent.
    pub async fn dial(&self, place: &Place, phase: &dyn Fn(Phase)) -> Result<Link, Failed> {
        let host = place
            .host()
            .map_err(|error| Failed::new(Failure::Dns, error.to_string()))?;
        let target = Target {
            host: place.authority.host(),
            port: place.port(),
            tls: place.tls,
        };
        let stream = self.reach(&host, target, phase).await?;
        let transport = if place.tls {
            Transport::Tls(Box::new(self.handshake(stream, &host).await?))
        } else {
            Transport::Plain(stream)
        };
        self.link(transport).await
    }

    /// Opens a plain connection for what is not HTTP. `tls`: whether the caller lets nothing over it
    /// but its own handshake before it is encrypted; without it, only addresses that are allowed
    /// plain are dialled. Cancel safe.
    ///
    /// # Errors
    /// No connection.
    pub async fn dial_tcp(&self, host: &str, port: u16, tls: bool) -> Result<TcpStream, Failed> {
        let parsed = Host::parse(host)
            .map_err(|error| Failed::new(Failure::Dns, format!("{host}: {error}")))?;
        self.reach(&parsed, Target { host, port, tls }, &|_| {})
            .await
    }

    /// Whether all addresses of a host may be dialled: for what is dialled by a library that does so by
    /// itself, and may take any of them.
    ///
    /// # Errors
    /// One may not, or they are not known.
    #[cfg(feature = "kafka")]
    pub async fn allowed(&self, host: &str, port: u16, tls: bool) -> Result<(), Failed> {
        let parsed = Host::parse(host)
            .map_err(|error| Failed::new(Failure::Dns, format!("{host}: {error}")))?;
        let target = Target { host, port, tls };
        for ip in self.addresses(&parsed).await? {
            self.judge(SocketAddr::new(ip, port), target)?;
        }
        Ok(())
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Failed> {
        match (literal(host), host) {
            (Some(ip), _) => Ok(vec![ip]),
            (None, Host::Domain(name)) => self.resolver.lookup(name).await,
            (None, _) => Ok(Vec::new()),
        }
    }

    async fn reach(
        &self,
        host: &Host,
        target: Target<'_>,
        phase: &dyn Fn(Phase),
    ) -> Result<TcpStream, Failed> {
        phase(Phase::Resolving);
        let addresses = self.addresses(host).await?;
        phase(Phase::Connecting);
        let stream = self.connect(&addresses, target).await?;
        // The kernel knows best whom we reached.
        let peer = stream
            .peer_addr()
            .map_err(|e| Failed::connecting(&e, target.host))?;
        self.judge(peer, target)?;
        // A request is one write: waiting for more only adds delay. A failure costs latency alone.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn judge(&self, address: SocketAddr, target: Target<'_>) -> Result<(), Failed> {
        let host = target.host;
        self.egress.judge(address, target.tls).map_err(|refusal| {
            tracing::warn!(host, %address, %refusal, "egress blocked");
            Failed::new(Failure::Blocked, format!("{host}: {refusal}"))
        })
    }

    /// Tries each allowed address in turn. Each gets a fair share of what time is left, so that
    /// one that swallows packets does not use up the time of those behind it.
    async fn connect(&self, addresses: &[IpAddr], target: Target<'_>) -> Result<TcpStream, Failed> {
        let host = target.host;
        let mut last = Failed::new(Failure::NoSuchHost, format!("{host} has no address"));
        let mut allowed = Vec::with_capacity(addresses.len());
        for ip in addresses {
            let address = SocketAddr::new(*ip, target.port);
            match self.judge(address, target) {
                Ok(()) => allowed.push(address),
                Err(refused) => last = refused,
            }
        }
        let deadline = Instant::now() + Duration::from_millis(self.options.connect_timeout_ms);
        for (index, address) in allowed.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let behind = u32::try_from(allowed.len() - index).unwrap_or(u32::MAX);
            let share = if behind > 1 {
                left / behind.min(4)
            } else {
                left
            };
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = Failed::connecting(&error, &format!("{host} at {address}"));
                    if last.failure == Failure::Ours {
                        break;
                    }
                }
                Err(_) => {
                    let detail = format!(
                        "connecting to {host} at {address}: no answer in {} ms",
                        share.as_millis()
                    );
                    last = Failed::new(Failure::ConnectTimeout, detail);
                }
            }
        }
        Err(last)
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        host: &Host,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| Failed::new(Failure::Tls, format!("{name:?} is no name for TLS")))?,
            Host::Ipv4(ip) => ServerName::from(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => ServerName::from(IpAddr::V6(*ip)),
        };
        let limit = Duration::from_millis(self.options.tls_timeout_ms);
        match tokio::time::timeout(limit, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error))
                if error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                Err(Failed::new(
                    Failure::Tls,
                    format!("TLS with {host}: {error}"),
                ))
            }
            Ok(Err(error)) => Err(Failed::connecting(&error, &format!("{host} (TLS)"))),
            Err(_) => {
                let detail = format!("TLS with {host}: not done in {} ms", limit.as_millis());
                Err(Failed::new(Failure::ConnectTimeout, detail))
            }
        }
    }

    async fn link(&self, transport: Transport) -> Result<Link, Failed> {
        let received = Arc::<Received>::default();
        let socket = Socket {
            transport,
            received: Arc::clone(&received),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.options.buffer_bytes_max.max(BUFFER_BYTES_LEAST))
            .max_header_size(self.options.response_head_bytes_max)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Failed::new(Failure::Connect, error.to_string()))?;
        let now = Instant::now();
        let driver = Driver {
            connection: Box::pin(connection),
            ended: false,
        };
        Ok(Link {
            sender,
            driver,
            received,
            opened_at: now,
            used_at: now,
        })
    }
}

/// The public authorities, and those of `extra_ca_pem` besides.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn trusted(policy: &EgressPolicy) -> Result<rustls::RootCertStore, io::Error> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = &policy.extra_ca_pem {
        add_certificates(&mut roots, &std::fs::read(path)?)?;
    }
    Ok(roots)
}

/// Adds the certificates of a PEM text.
///
/// # Errors
/// It holds none, or one that cannot be read.
pub fn add_certificates(roots: &mut rustls::RootCertStore, pem: &[u8]) -> Result<(), io::Error> {
    let before = roots.len();
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.len() == before {
        return Err(io::Error::other("it holds no certificate"));
    }
    Ok(())
}

/// TLS that trusts what [`trusted`] gives.
///
/// # Errors
/// As there.
pub fn tls_connector(policy: &EgressPolicy) -> Result<TlsConnector, io::Error> {
    let roots = trusted(policy)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed handshake costs 20% less; this many hosts are remembered.
    config.resumption = rustls::client::Resumption::in_memory_sessions(4_096);
    Ok(TlsConnector::from(Arc::new(config)))
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that counts what it receives.
pub struct Socket {
    transport: Transport,
    received: Arc<Received>,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.received.is_full() {
            return Poll::Ready(Err(io::Error::other("much was said, and no answer")));
        }
        let before = buf.filled().len();
        ready!(match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        })?;
        this.received.add(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
