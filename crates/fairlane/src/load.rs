//! A load generator over hyper's bare connections: cheap, so that the machine's cores are left to
//! what is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One kept-alive connection to a server.
pub struct LoadConnection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl LoadConnection {
    /// # Errors
    /// The server does not take the connection.
    pub async fn open(address: SocketAddr, write_key: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: address.to_string(),
            authorization: basic(write_key),
        })
    }

    /// What is posted from now on is of the source with this key.
    pub fn speak_for(&mut self, write_key: &str) {
        self.authorization = basic(write_key);
    }

    /// Posts one body and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke: open another.
    pub async fn post(&mut self, path: &str, body: Bytes) -> anyhow::Result<StatusCode> {
        self.sender.ready().await?;
        let request = Request::post(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(status)
    }
}

fn basic(write_key: &str) -> String {
    let key = BASE64.encode(format!("{write_key}:"));
    format!("Basic {key}")
}

/// Every latency of a run, to be sorted at the end: exact percentiles, bounded by the run's length.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn record(&mut self, elapsed: Duration) {
        self.0
            .push(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The latency below which `permille` of 1,000 lie, in milliseconds.
    pub fn quantile_ms(&mut self, permille: usize) -> f64 {
        self.0.sort_unstable();
        let index = (self.0.len() * permille / 1_000).min(self.0.len().saturating_sub(1));
        self.0
            .get(index)
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }
}
