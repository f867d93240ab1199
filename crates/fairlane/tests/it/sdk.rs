//! The SDKs that people already have, from their registries, pointed at Fairlane by their host
//! option alone. What they send arrives, complete; when Fairlane says 429, they wait and nothing is
//! lost or doubled. (503 is tried in `faults/sdk.rs`.)
//!
//! The packages are installed below `target/sdk`. What cannot be had is skipped, loudly.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::{Received, Receiver};

const TRACKS: usize = 40;

/// A source that takes three requests a second: every SDK meets 429 and has to come again.
const SLOW: &str = "[ingest]\nsource_rate_limit_per_s = 3\n";

/// One SDK, and what its program in `tests/sdk` sends: each of the six calls once, but as many
/// tracks as there are.
pub struct Sdk {
    name: &'static str,
    event: &'static str,
    tracks: usize,
    /// Starts the program against this address. `Err` says why it cannot be had.
    start: fn(SocketAddr) -> Result<Running, String>,
}

pub const NODE: Sdk = Sdk {
    name: "@segment/analytics-node",
    event: "Node Tested",
    tracks: TRACKS,
    start: start_node,
};

pub const PYTHON: Sdk = Sdk {
    name: "segment-analytics-python",
    event: "Python Tested",
    tracks: TRACKS,
    start: start_python,
};

const RUST: Sdk = Sdk {
    name: "the segment crate",
    event: "Rust Tested",
    tracks: TRACKS,
    start: start_rust,
};

/// One request an event, which is its default.
pub const BROWSER: Sdk = Sdk {
    name: "@segment/analytics-next in Chromium",
    event: "Browser Tested",
    tracks: 5,
    start: |address| start_browser(address, "standard"),
};

const BROWSER_IN_BATCHES: Sdk = Sdk {
    name: "@segment/analytics-next in Chromium, in batches",
    event: "Browser Tested",
    tracks: 5,
    start: |address| start_browser(address, "batching"),
};

#[test]
fn the_node_sdk_arrives_complete() {
    arrives_complete(&NODE);
    waits_for_its_rate(&NODE);
}

#[test]
fn the_python_sdk_arrives_complete() {
    arrives_complete(&PYTHON);
    waits_for_its_rate(&PYTHON);
}

/// This client sends no messageId and never retries: Fairlane assigns the ids.
#[test]
fn the_rust_client_arrives_complete() {
    arrives_complete(&RUST);
}

#[test]
fn the_browser_sdk_arrives_complete() {
    waits_for_its_rate(&BROWSER);
    for sdk in [BROWSER, BROWSER_IN_BATCHES] {
        for event in arrives_complete(&sdk).unwrap_or_default() {
            assert_eq!(
                event["context"]["ip"], "127.0.0.1",
                "the address is filled in for browsers: {event}"
            );
        }
    }
}

fn arrives_complete(sdk: &Sdk) -> Option<Vec<Value>> {
    let (receiver, fairlane) = receiver_and_fairlane("");
    let running = sdk.start(&fairlane)?;
    Some(sdk.arrived(&receiver, &fairlane, running))
}

fn waits_for_its_rate(sdk: &Sdk) {
    let (receiver, fairlane) = receiver_and_fairlane(SLOW);
    if let Some(running) = sdk.start(&fairlane) {
        sdk.arrived(&receiver, &fairlane, running);
        assert!(answered(&fairlane, 429) > 0, "it was never refused");
    }
}

fn receiver_and_fairlane(rate: &str) -> (Receiver, Fairlane) {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(rate)
        .start();
    (receiver, fairlane)
}

/// Requests with events that were answered with this status since the start.
pub fn answered(fairlane: &Fairlane, status: u16) -> u64 {
    let metrics = fairlane.management("GET", "/metrics", "").body;
    let metrics = String::from_utf8(metrics).unwrap();
    let status = format!("status=\"{status}\"");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("fairlane_ingest_requests_total{") && line.contains(&status)
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

impl Sdk {
    /// Starts it, or says loudly why not.
    pub fn start(&self, fairlane: &Fairlane) -> Option<Running> {
        match (self.start)(fairlane.ingest) {
            Ok(running) => Some(running),
            Err(why) => {
                eprintln!("\n*** SKIPPED: {}: {why}\n", self.name);
                None
            }
        }
    }

    /// Waits until every call has arrived behind the connection `hook`, exactly once, with what it
    /// carried.
    pub fn arrived(
        &self,
        receiver: &Receiver,
        fairlane: &Fairlane,
        running: Running,
    ) -> Vec<Value> {
        const ONCE: [&str; 5] = ["identify", "page", "screen", "group", "alias"];
        let expected = self.tracks + ONCE.len();
        receiver.wait_for("everything the SDK sent", |all| {
            all.iter().map(Received::id).collect::<HashSet<_>>().len() >= expected
        });
        running.finish();
        // A copy would be here by now.
        let lane = fairlane.wait_lane("hook", "all delivered", |lane| lane["pending"] == 0);
        assert_eq!(lane["delivered"], expected, "{lane}");
        let received = receiver.received();
        assert_eq!(received.len(), expected, "something arrived twice");
        let events: Vec<_> = received.iter().map(|one| one.request.json()).collect();
        for kind in ONCE {
            let mut found = events.iter().filter(|event| event["type"] == kind);
            let event = found.next().unwrap_or_else(|| panic!("no {kind}"));
            check_carried(kind, event);
            assert_eq!(found.next(), None, "{kind} arrived twice");
        }
        let tracks = events.iter().filter(|event| event["type"] == "track");
        let mut numbers: Vec<_> = tracks.map(|track| self.check_track(track)).collect();
        numbers.sort_unstable();
        let all: Vec<_> = (0..u64::try_from(self.tracks).unwrap()).collect();
        assert_eq!(numbers, all);
        events.iter().for_each(check_common);
        events
    }

    /// The number that it carries.
    fn check_track(&self, event: &Value) -> u64 {
        assert_eq!(event["event"], self.event);
        assert_eq!(event["properties"]["text"], "ünïcode ✓");
        event["properties"]["n"].as_u64().unwrap()
    }
}

fn check_carried(kind: &str, event: &Value) {
    let (place, carried) = match kind {
        "identify" => ("/traits/email", "sdk@mail.example"),
        "page" => ("/name", "Home"),
        "screen" => ("/name", "Start"),
        "group" => ("/traits/name", "Group"),
        _ => ("/previousId", "sdk-user"),
    };
    assert_eq!(event.pointer(place), Some(&carried.into()), "{event}");
    if kind == "group" {
        assert_eq!(event["groupId"], "g-1", "{event}");
    }
}

/// What is true of every event, whoever sent it.
fn check_common(event: &Value) {
    for member in ["messageId", "receivedAt", "timestamp", "originalTimestamp"] {
        let text = event[member].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{member}: {event}");
    }
    // The browser's SDK overwrites what an alias says.
    if event["type"] != "alias" {
        assert_eq!(event["userId"], "sdk-user", "{event}");
    }
    assert!(
        event.get("writeKey").is_none(),
        "the write key must not travel on: {event}"
    );
}

/// A program at work; dropping it ends it.
pub struct Running {
    process: Child,
    /// A browser never ends by itself; it keeps its profile here.
    profile: Option<tempfile::TempDir>,
}

impl Running {
    fn spawn(command: &mut Command) -> Result<Self, String> {
        let process = command.stdin(Stdio::null()).spawn();
        Ok(Self {
            process: process.map_err(|error| format!("{command:?}: {error}"))?,
            profile: None,
        })
    }

    /// A program that ends while it still has something to send has given up.
    pub fn assert_at_work(&mut self) {
        assert_eq!(self.process.try_wait().unwrap(), None, "it gave up");
    }

    fn finish(mut self) {
        if self.profile.is_none() {
            let status = self.process.wait().unwrap();
            assert!(status.success(), "the SDK says that it failed: {status}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // A browser's own processes end a moment after it, and write until then.
        let Some(profile) = self.profile.take().map(tempfile::TempDir::keep) else {
            return;
        };
        for _ in 0..100 {
            match fs::remove_dir_all(&profile) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                _ => return,
            }
        }
        println!("{} could not be removed", profile.display());
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Where packages are installed: kept between runs.
pub fn installed(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/sdk")
        .join(name);
    fs::create_dir_all(&dir).unwrap();
    dir.canonicalize().unwrap()
}

/// Runs a command to its end; `Err` says why there is nothing to test with.
pub fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown}: {}: {said}", output.status))
}

fn npm_packages() -> Result<PathBuf, String> {
    static ONCE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let dir = installed("node");
        for file in ["package.json", "node.mjs"] {
            fs::copy(sources().join(file), dir.join(file)).unwrap();
        }
        if !dir.join("node_modules/@segment/analytics-node").exists() {
            println!("installing Segment's SDKs from npm into {}", dir.display());
            run(Command::new("npm")
                .args(["install", "--no-audit", "--no-fund"])
                .current_dir(&dir))?;
        }
        Ok(dir)
    })
    .clone()
}

fn start_node(address: SocketAddr) -> Result<Running, String> {
    let dir = npm_packages()?;
    let host = format!("http://{address}");
    let mut node = Command::new("node");
    node.args(["node.mjs", &host, WRITE_KEY, &TRACKS.to_string()])
        .current_dir(dir);
    Running::spawn(&mut node)
}

fn python_package() -> Result<PathBuf, String> {
    static ONCE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let venv = installed("python");
        let python = venv.join("bin/python");
        if !venv.join("ready").exists() {
            println!(
                "installing segment-analytics-python from PyPI into {}",
                venv.display()
            );
            run(Command::new("python3").arg("-m").arg("venv").arg(&venv))?;
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet"])
                .arg("segment-analytics-python==2.4.0"))?;
            fs::write(venv.join("ready"), "").unwrap();
        }
        Ok(python)
    })
    .clone()
}

fn start_python(address: SocketAddr) -> Result<Running, String> {
    let mut python = Command::new(python_package()?);
    python
        .arg(sources().join("python.py"))
        .args([&format!("http://{address}"), WRITE_KEY])
        .arg(TRACKS.to_string());
    Running::spawn(&mut python)
}

fn start_rust(address: SocketAddr) -> Result<Running, String> {
    let target = installed("rust");
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(sources().join("rust/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target))?;
    let host = format!("http://{address}");
    let mut program = Command::new(target.join("debug/sdk-test"));
    program.args([&host, WRITE_KEY, &TRACKS.to_string()]);
    Running::spawn(&mut program)
}

/// `strategy` is how the SDK delivers: "standard" or "batching".
fn start_browser(address: SocketAddr, strategy: &str) -> Result<Running, String> {
    let chromium = chromium()?;
    let packages = npm_packages()?;
    let pages = serve_pages(packages.join("node_modules/@segment/analytics-next/dist/umd"));
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(chromium);
    browser
        .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '))
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!(
            "http://{pages}/page.html?host={address}&key={WRITE_KEY}&strategy={strategy}"
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut running = Running::spawn(&mut browser)?;
    running.profile = Some(profile);
    Ok(running)
}

/// The browser, installed from the distribution's packages where that is possible.
fn chromium() -> Result<PathBuf, String> {
    let find = || {
        [
            "/usr/bin/chromium",
            "/usr/bin/chromium-browser",
            "/usr/bin/google-chrome",
        ]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    println!("installing chromium from the distribution's packages");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get").args(["install", "-y", "-qq", "chromium"]))?;
    find().ok_or_else(|| "the package is installed, but no browser is there".to_owned())
}

/// A web server for one page and the SDK's files, until the tests end.
fn serve_pages(umd: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let umd = umd.clone();
            std::thread::spawn(move || {
                let mut request = [0; 8_192];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split([' ', '?']).nth(1).unwrap_or("/");
                let (file, kind) = match path.strip_prefix("/umd/") {
                    Some(name) if !name.contains('/') => (umd.join(name), "text/javascript"),
                    _ => (sources().join("browser.html"), "text/html"),
                };
                let (status, body) = fs::read(file).map_or((404, Vec::new()), |body| (200, body));
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body))
                    .ok();
            });
        }
    });
    address
}
