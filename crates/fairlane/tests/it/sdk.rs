//! The SDKs that people already have, from their registries, pointed at Fairlane by their host
//! option alone. What they send arrives, complete; when Fairlane says 429, they wait and nothing is
//! lost or doubled.
//!
//! The packages are installed below `target/sdk`. What cannot be had is skipped, loudly.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::{Received, Receiver};

pub const TRACKS: usize = 40;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Where packages are installed: kept between runs.
fn installed(name: &str) -> PathBuf {
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

fn skipped(what: &str, why: &str) {
    eprintln!("\n*** SKIPPED: {what}: {why}\n");
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

/// A source that takes three requests a second: every SDK meets 429 and has to come again.
const SLOW: &str = "[ingest]\nsource_rate_limit_per_s = 3\n";

/// Every kind of call arrives exactly once, with what it carried.
pub fn check_arrived(receiver: &Receiver, event: &str, user: &str, tracks: usize, kinds: &[&str]) {
    let expected = tracks + kinds.len();
    let received = receiver.wait_for("everything the SDK sent", |all| {
        all.iter().map(Received::id).collect::<HashSet<_>>().len() >= expected
    });
    assert_eq!(received.len(), expected, "something arrived twice");
    let events: Vec<_> = received.iter().map(|one| one.request.json()).collect();
    for kind in kinds {
        let found = events.iter().filter(|event| event["type"] == *kind).count();
        assert_eq!(found, 1, "{kind} arrived {found} times");
    }
    let mut numbers: Vec<_> = Vec::new();
    for one in events.iter().filter(|one| one["type"] == "track") {
        assert_eq!(one["event"], event);
        assert_eq!(one["properties"]["text"], "ünïcode ✓");
        assert!(
            one["messageId"].as_str().is_some_and(|id| !id.is_empty()),
            "{one}"
        );
        assert!(
            one["receivedAt"].is_string() && one["timestamp"].is_string(),
            "{one}"
        );
        assert!(
            one.get("writeKey").is_none(),
            "the write key must not travel on: {one}"
        );
        if !user.is_empty() {
            assert_eq!(one["userId"], user);
        }
        numbers.push(one["properties"]["n"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..u64::try_from(tracks).unwrap()).collect::<Vec<_>>()
    );
}

pub const ALL_KINDS: [&str; 5] = ["identify", "page", "screen", "group", "alias"];

pub fn npm_packages() -> Result<PathBuf, String> {
    static ONCE: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
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

#[test]
fn the_node_sdk_arrives_complete() {
    let dir = match npm_packages() {
        Ok(dir) => dir,
        Err(why) => return skipped("@segment/analytics-node", &why),
    };
    for rate in ["", SLOW] {
        let (receiver, fairlane) = receiver_and_fairlane(rate);
        let host = format!("http://{}", fairlane.ingest);
        let mut node = Command::new("node");
        node.args(["node.mjs", &host, WRITE_KEY, &TRACKS.to_string()])
            .current_dir(&dir);
        run(&mut node).unwrap();
        check_arrived(&receiver, "Node Tested", "node-user", TRACKS, &ALL_KINDS);
    }
}

#[test]
fn the_python_sdk_arrives_complete() {
    let venv = installed("python");
    let python = venv.join("bin/python");
    if !venv.join("ready").exists() {
        println!(
            "installing segment-analytics-python from PyPI into {}",
            venv.display()
        );
        let made = run(Command::new("python3").arg("-m").arg("venv").arg(&venv)).and_then(|()| {
            run(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "segment-analytics-python==2.4.0",
            ]))
        });
        if let Err(why) = made {
            return skipped("segment-analytics-python", &why);
        }
        fs::write(venv.join("ready"), "").unwrap();
    }
    for rate in ["", SLOW] {
        let (receiver, fairlane) = receiver_and_fairlane(rate);
        let host = format!("http://{}", fairlane.ingest);
        let script = sources().join("python.py");
        run(Command::new(&python)
            .arg(script)
            .args([&host, WRITE_KEY, &TRACKS.to_string()]))
        .unwrap();
        check_arrived(
            &receiver,
            "Python Tested",
            "python-user",
            TRACKS,
            &ALL_KINDS,
        );
    }
}

#[test]
fn the_rust_client_arrives_complete() {
    let project = sources().join("rust/Cargo.toml");
    let target = installed("rust");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--manifest-path"])
        .arg(&project)
        .env("CARGO_TARGET_DIR", &target);
    if let Err(why) = run(&mut build) {
        return skipped("the segment crate", &why);
    }
    let (receiver, fairlane) = receiver_and_fairlane("");
    let host = format!("http://{}", fairlane.ingest);
    // This client sends no messageId and never retries: Fairlane assigns the ids.
    run(Command::new(target.join("debug/sdk-test")).args([&host, WRITE_KEY, &TRACKS.to_string()]))
        .unwrap();
    check_arrived(&receiver, "Rust Tested", "rust-user", TRACKS, &["identify"]);
}

#[test]
fn the_browser_sdk_arrives_complete() {
    let chromium = match chromium() {
        Ok(path) => path,
        Err(why) => return skipped("@segment/analytics-next in Chromium", &why),
    };
    let packages = match npm_packages() {
        Ok(dir) => dir,
        Err(why) => return skipped("@segment/analytics-next", &why),
    };
    let pages = serve_pages(packages.join("node_modules/@segment/analytics-next/dist/umd"));
    for rate in ["", SLOW] {
        let (receiver, fairlane) = receiver_and_fairlane(rate);
        let profile = tempfile::tempdir().unwrap();
        let url = format!(
            "http://{pages}/page.html?host={}&key={WRITE_KEY}",
            fairlane.ingest
        );
        let mut browser = Command::new(&chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            check_arrived(
                &receiver,
                "Browser Tested",
                "",
                5,
                &["identify", "page", "group", "alias"],
            );
        }));
        browser.kill().unwrap();
        browser.wait().unwrap();
        if let Err(panic) = arrived {
            std::panic::resume_unwind(panic);
        }
        let one = receiver.received().swap_remove(0).request.json();
        assert_eq!(
            one["context"]["ip"], "127.0.0.1",
            "the address is filled in for browsers: {one}"
        );
    }
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
