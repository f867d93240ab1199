//! A whole installation for a test: a log, a store, a catalog and receivers, all real.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use catalog::Catalog;
use eventlog::{AppendBatch, EventLog, RecordFlags};
use model::lane::LaneStatus;
use model::{
    Connection, ConnectionId, Destination, DestinationId, Name, Offset, Registry, Source, SourceId,
    UnixMillis,
};
use serde_json::{Value, json};
use store::Store;

use crate::clock::Clock;
use crate::{Delivery, EgressPolicy, Options, start};

pub const HOOK: &str = r#"
name = "Hook"
category = "testing"
docs = "https://example.com"
payload = "event"
[settings.url]
type = "url"
required = true
help = "Where to."
[settings.secret]
type = "string"
secret = true
help = "Signs."
[request]
method = "POST"
url = "{{settings.url}}"
[auth]
kind = "standard_webhooks"
secret = "{{secret.secret}}"
"#;

const BATCHY: &str = r#"
name = "Batchy"
category = "testing"
docs = "https://example.com"
[settings.url]
type = "url"
required = true
help = "Where to."
[request]
method = "POST"
url = "{{settings.url}}"
[batch]
events_max = 10
bytes_max = 100000
wait_ms = 20
"#;

const OAUTH: &str = r#"
name = "OAuth"
category = "testing"
docs = "https://example.com"
payload = "event"
[settings.url]
type = "url"
required = true
help = "Where to."
[settings.token_url]
type = "url"
required = true
help = "Where tokens come from."
[settings.refresh_token]
type = "string"
secret = true
help = "What they are asked with."
[settings.access_token]
type = "string"
secret = true
help = "Instead."
[request]
url = "{{settings.url}}"
[auth]
kind = "oauth2"
grant = "refresh_token"
token_url = "{{settings.token_url}}"
client_id = "client"
refresh_token = "{{secret.refresh_token}}"
access_token = "{{secret.access_token}}"
"#;

const LOOK_UP: &str = r#"
name = "LookUp"
category = "testing"
docs = "https://example.com"
hosts = ["{{settings.url}}"]
steps = ["event.vrl", "write.vrl"]
cache_when = 'is_integer(.body.id)'
[settings.url]
type = "url"
required = true
help = "Where to."
"#;

/// Its program asks for two requests an event, of which the service may not want the first.
const PAIR: &str = r#"
name = "Pair"
category = "testing"
docs = "https://example.com"
[settings.url]
type = "url"
required = true
help = "Where to."
[request]
url = "{{settings.url}}"
[[response]]
status = 409
result = "filtered"
"#;

const HOLE: &str = r#"
name = "Hole"
category = "testing"
docs = "https://example.com"
sender = "blackhole"
"#;

/// What a receiver was sent.
#[derive(Clone, Debug)]
pub struct Got {
    pub headers: BTreeMap<String, String>,
    /// Null where it is no JSON.
    pub body: Value,
    pub text: String,
}

impl Got {
    pub fn message_id(&self) -> &str {
        self.body["messageId"].as_str().unwrap_or_default()
    }
}

/// How a receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// With this body.
    Text(u16, String),
    /// Reads the request and closes the connection.
    Close,
    /// Never answers.
    Hang,
}

/// A listener that remembers what it was sent.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// `reply` is given what came, and how many came before.
    pub fn start(reply: impl Fn(&Got, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&got), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*reply));
            }
        });
        Self { address, got }
    }

    pub fn ok() -> Self {
        Self::start(|_, _| Reply::Status(200))
    }

    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Different message ids that came.
    pub fn ids(&self) -> std::collections::BTreeSet<String> {
        self.got()
            .iter()
            .map(|got| got.message_id().to_owned())
            .collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Got>>, reply: &dyn Fn(&Got, usize) -> Reply) {
    while let Some(got) = read_request(&mut stream) {
        let before = {
            let mut seen = seen.lock().unwrap();
            seen.push(got.clone());
            seen.len() - 1
        };
        match reply(&got, before) {
            Reply::Status(status) => answer(&mut stream, status, "said"),
            Reply::Text(status, text) => answer(&mut stream, status, &text),
            Reply::Close => return,
            Reply::Hang => std::thread::sleep(Duration::from_secs(600)),
        }
    }
}

/// Where the other side is gone, the next read ends.
fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes());
}

fn read_request(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let headers: BTreeMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers
                .get("content-length")
                .map_or(0, |length| length.parse().unwrap());
            if let Some(body) = bytes.get(end + 4..end + 4 + length) {
                let text = String::from_utf8_lossy(body).into_owned();
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                return Some(Got {
                    headers,
                    body,
                    text,
                });
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(size) => bytes.extend_from_slice(&buffer[..size]),
        }
    }
}

pub struct World {
    /// Kept until the world ends.
    _dir: tempfile::TempDir,
    log_options: eventlog::Options,
    pub log: EventLog,
    pub store: Store,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub registry: Registry,
    runtime: tokio::runtime::Runtime,
}

pub const SOURCE: SourceId = SourceId(1);

impl World {
    pub fn new() -> Self {
        Self::with_log(|_| {})
    }

    pub fn with_log(change: impl FnOnce(&mut eventlog::Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (id, text) in [
            ("hook", HOOK),
            ("batchy", BATCHY),
            ("oauth", OAUTH),
            ("look_up", LOOK_UP),
            ("pair", PAIR),
            ("hole", HOLE),
        ] {
            let folder = dir.path().join("catalog").join(id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("destination.toml"), text).unwrap();
        }
        let batchy = dir.path().join("catalog/batchy");
        let entry = r#"{"entry": .event, "group": string(.event.userId) ?? null}"#;
        std::fs::write(batchy.join("event.vrl"), entry).unwrap();
        std::fs::write(batchy.join("batch.vrl"), "{\"body\": .entries}").unwrap();
        let pair = r#"{"requests": [{"body": {"n": 1}}, {"body": {"n": 2}}]}"#;
        std::fs::write(dir.path().join("catalog/pair/event.vrl"), pair).unwrap();
        let look_up = dir.path().join("catalog/look_up");
        let look = r#"{"method": "GET", "url": .settings.url, "query": {"u": .event.userId}, "cache_s": 300}"#;
        let write = r#"{"url": .settings.url, "body": {"id": .responses[0].body.id}}"#;
        std::fs::write(look_up.join("event.vrl"), look).unwrap();
        std::fs::write(look_up.join("write.vrl"), write).unwrap();
        let catalog = Catalog::default()
            .with_overlay(&dir.path().join("catalog"))
            .unwrap();
        let mut options = eventlog::Options::new(dir.path().join("log"));
        change(&mut options);
        let log = EventLog::open(options.clone(), Clock::unix()).unwrap().log;
        let store = store::Options {
            dir: dir.path().join("store"),
            key: store::KeySource::File(dir.path().join("key")),
            ..Default::default()
        };
        let store = Store::open(store, Clock::unix()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let registry = Registry {
            sources: vec![Source {
                id: SOURCE,
                name: Name::new("site").unwrap(),
                write_keys: vec!["key".to_owned()],
                enabled: true,
                rate_limit_per_s: None,
            }],
            ..Registry::default()
        };
        let catalog = Arc::new(ArcSwap::from_pointee(catalog));
        Self {
            _dir: dir,
            log_options: options,
            log,
            store,
            catalog,
            registry,
            runtime,
        }
    }

    /// Closes the log and opens it again, after something has happened to its directory.
    pub fn reopen_log(mut self, between: impl FnOnce(&Path)) -> Self {
        self.log.close();
        between(&self.log_options.dir);
        let lanes = self.store.lanes().unwrap();
        let highest = lanes.iter().map(|lane| lane.progress.end()).max();
        self.log_options.end_min = highest.unwrap_or(Offset::ZERO);
        let opened = EventLog::open(self.log_options.clone(), Clock::unix());
        self.log = opened.unwrap().log;
        self
    }

    /// Adds a connection from the one source to a destination of its own.
    pub fn connect(&mut self, name: &str, definition: &str, settings: Value) -> &mut Connection {
        let number = u32::try_from(self.registry.connections.len()).unwrap() + 1;
        self.registry.destinations.push(Arc::new(Destination {
            id: DestinationId(number),
            name: Name::new(name).unwrap(),
            definition: definition.to_owned(),
            enabled: true,
            settings: serde_json::from_value(settings).unwrap(),
        }));
        self.registry.connections.push(Arc::new(Connection {
            id: ConnectionId(number),
            name: Name::new(name).unwrap(),
            source: SOURCE,
            destination: DestinationId(number),
            enabled: true,
            filter: None,
            transform: None,
            policy: Arc::default(),
        }));
        self.connection(self.registry.connections.len() - 1)
    }

    /// The connection that was added as the `index`th, to be changed.
    pub fn connection(&mut self, index: usize) -> &mut Connection {
        Arc::make_mut(&mut self.registry.connections[index])
    }

    /// Its destination, to be changed.
    pub fn destination(&mut self, index: usize) -> &mut Destination {
        Arc::make_mut(&mut self.registry.destinations[index])
    }

    pub fn hook(&mut self, name: &str, receiver: &Receiver) -> &mut Connection {
        self.connect(name, "hook", json!({"url": receiver.url()}))
    }

    pub fn options() -> Options {
        Options {
            egress: EgressPolicy {
                allow: vec!["127.0.0.0/8".parse().unwrap()],
                ..Default::default()
            },
            scheduler: scheduler::Options {
                stagger_us_max: 1_000,
                ..Default::default()
            },
            shards: 2,
            ..Default::default()
        }
    }

    pub fn start(&self) -> Delivery {
        self.start_with(Self::options())
    }

    pub fn start_with(&self, options: Options) -> Delivery {
        let registry = Arc::new(self.registry.clone());
        let (log, store) = (self.log.clone(), self.store.clone());
        start(options, log, store, Arc::clone(&self.catalog), registry).unwrap()
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn apply(&self, delivery: &Delivery) -> crate::ApplyReport {
        self.block_on(delivery.apply(Arc::new(self.registry.clone())))
            .unwrap()
    }

    /// Appends events `m<from>` to `m<to>` (exclusive).
    pub fn append(&self, ids: std::ops::Range<usize>) -> Offset {
        self.append_with(ids, json!({}), RecordFlags::NONE)
    }

    pub fn append_with(
        &self,
        ids: std::ops::Range<usize>,
        members: Value,
        flags: RecordFlags,
    ) -> Offset {
        let mut batch = AppendBatch::new();
        for id in ids {
            let mut event = json!({"type": "track", "messageId": format!("m{id}")});
            for (name, value) in members.as_object().unwrap() {
                event[name] = value.clone();
            }
            batch.push(
                SOURCE,
                Clock::unix(),
                0,
                flags,
                event.to_string().as_bytes(),
            );
        }
        self.block_on(self.log.append(batch)).unwrap().first
    }

    pub fn lane(&self, delivery: &Delivery, name: &str) -> LaneStatus {
        self.block_on(delivery.lane(name)).unwrap()
    }

    /// Waits until the lane is as `wanted`.
    pub fn wait(
        &self,
        delivery: &Delivery,
        name: &str,
        wanted: impl Fn(&LaneStatus) -> bool,
    ) -> LaneStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let lane = self.lane(delivery, name);
            if wanted(&lane) {
                return lane;
            }
            assert!(Instant::now() < deadline, "still {lane:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing is pending in the lane.
    pub fn settle(&self, delivery: &Delivery, name: &str) -> LaneStatus {
        self.wait(delivery, name, |lane| lane.pending == 0)
    }

    pub fn check_balance(&self, delivery: &Delivery) {
        let balance = self.block_on(delivery.balance());
        assert!(balance.is_balanced(), "{balance:?}");
    }

    pub fn shutdown(&self, delivery: Delivery) {
        self.block_on(delivery.shutdown(Duration::from_secs(20)));
    }
}

/// Waits until `wanted`.
pub fn wait_for(wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted() {
        assert!(Instant::now() < deadline, "it did not come to pass in 60 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn far_future() -> UnixMillis {
    UnixMillis(Clock::unix().0 + 365 * 24 * 3_600 * 1_000)
}
