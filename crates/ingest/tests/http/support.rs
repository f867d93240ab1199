//! A server with a log in a temporary directory, and a client that speaks bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use eventlog::EventLog;
use ingest::{Ingest, Options, SourceTable};
use model::{Name, Offset, Registry, Source, SourceId, UnixMillis};
use serde_json::Value;
use tempfile::TempDir;

/// 2026-11-23T10:00:00.000Z
pub const NOW: u64 = 1_795_428_000_000;

/// A guard only: no test waits that long.
const GUARD: Duration = Duration::from_secs(30);

pub struct Server {
    pub ingest: Ingest,
    pub log: EventLog,
    pub sources: Arc<ArcSwap<SourceTable>>,
    pub now: Arc<AtomicU64>,
    dir: Option<TempDir>,
}

pub fn registry() -> Registry {
    let source = |id: u32, key: &str, enabled, rate_limit_per_s| Source {
        id: SourceId(id),
        name: Name::new(&format!("source-{id}")).unwrap(),
        write_keys: vec![key.to_owned()],
        enabled,
        rate_limit_per_s,
    };
    Registry {
        sources: vec![
            source(1, "key", true, None),
            source(2, "other", true, None),
            source(3, "off", false, None),
            source(4, "limited", true, Some(2)),
        ],
        ..Registry::default()
    }
}

impl Server {
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::in_dir(TempDir::new().unwrap(), options, |_| {})
    }

    pub fn in_dir(
        dir: TempDir,
        options: Options,
        change: impl FnOnce(&mut eventlog::Options),
    ) -> Self {
        let mut log_options = eventlog::Options::new(dir.path().join("log"));
        log_options.segment_bytes_max = 8 << 20;
        change(&mut log_options);
        let now = Arc::new(AtomicU64::new(NOW));
        let opened = EventLog::open(log_options, UnixMillis(NOW)).unwrap();
        let sources = Arc::new(ArcSwap::from_pointee(SourceTable::from_registry(
            &registry(),
        )));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clock = Arc::clone(&now);
        let ingest = ingest::start(
            options,
            listener,
            opened.log.clone(),
            Arc::clone(&sources),
            Arc::new(move || UnixMillis(clock.load(Relaxed))),
        )
        .unwrap();
        ingest.set_ready(true);
        Self {
            ingest,
            log: opened.log,
            sources,
            now,
            dir: Some(dir),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.ingest.local_addr()
    }

    /// All events of the log.
    pub fn events(&self) -> Vec<Value> {
        self.records().into_iter().map(|(_, event)| event).collect()
    }

    pub fn records(&self) -> Vec<(SourceId, Value)> {
        (self.log.first().0..self.log.end().0)
            .map(|offset| self.log.read(Offset(offset)).unwrap())
            .map(|record| {
                (
                    record.stream,
                    serde_json::from_slice(&record.payload).unwrap(),
                )
            })
            .collect()
    }

    pub fn connect(&self) -> Client {
        Client::new(self.addr())
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        self.connect().send(method, path, headers, body)
    }

    /// A POST with the write key "key".
    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[&basic("key")], body.as_bytes())
    }

    /// Ends the server and its log; the directory stays.
    pub fn stop(mut self) -> TempDir {
        let dir = self.dir.take().unwrap();
        shutdown(&self.ingest);
        self.log.clone().close();
        dir
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        shutdown(&self.ingest);
    }
}

fn shutdown(ingest: &Ingest) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(ingest.shutdown(Duration::from_millis(500)));
}

pub fn basic(key: &str) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    format!("Authorization: Basic {}", engine.encode(format!("{key}:")))
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: t.example:80\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // A server that refuses may close while we write.
        let _ = self.0.write_all(&bytes);
        self.reply()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    /// The next answer; `None` when the server closes without one.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        let length = reply
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body).unwrap();
        Some(reply)
    }

    /// Waits until the server closes; true when it did, whatever it sent before.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 4_096];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error code, or body.
    pub fn summary(&self) -> String {
        let json = self.json();
        match json["error"]["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{} {json}", self.status),
        }
    }
}

pub const SUCCESS: &str = r#"200 {"success":true}"#;

/// Waits for what another thread brings about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + GUARD;
    while !holds() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
