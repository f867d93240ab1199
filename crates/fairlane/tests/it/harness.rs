//! Runs the real binary in a directory of its own and talks to it over its sockets.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::peer::{Client, Message, call};

pub const BINARY: &str = env!("CARGO_BIN_EXE_fairlane");
pub const WRITE_KEY: &str = "test-write-key";

/// A configuration and a data directory, and the process that runs on them, if any.
pub struct Fairlane {
    pub dir: tempfile::TempDir,
    process: Option<Child>,
    log: Arc<Mutex<String>>,
    pub ingest: SocketAddr,
    pub admin: SocketAddr,
}

/// What goes into `fairlane.toml` beside the server's section and the one source `web`.
#[derive(Default)]
pub struct Setup {
    text: String,
    data_dir: Option<PathBuf>,
}

impl Setup {
    /// A webhook named `name` behind the source `web`.
    pub fn webhook(self, name: &str, url: &str) -> Self {
        self.webhook_with(name, "web", &format!("url = \"{url}\""), "")
    }

    /// One behind another source; `settings` of the destination and `keys` of the connection in
    /// TOML.
    pub fn webhook_with(mut self, name: &str, source: &str, settings: &str, keys: &str) -> Self {
        write!(
            self.text,
            "[[destinations]]\nname = \"{name}\"\ntype = \"webhook\"\nsettings = {{ {settings} }}\n\
             [[connections]]\nname = \"{name}\"\nsource = \"{source}\"\ndestination = \"{name}\"\n\
             {keys}\n"
        )
        .unwrap();
        self
    }

    /// One more source.
    pub fn source(self, name: &str, write_key: &str) -> Self {
        self.and(&format!(
            "[[sources]]\nname = \"{name}\"\nwrite_key = \"{write_key}\"\n"
        ))
    }

    /// Keeps the data there instead of beside the configuration.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// Any further text, behind all others.
    pub fn and(mut self, toml: &str) -> Self {
        self.text += toml;
        self.text += "\n";
        self
    }

    fn render(&self) -> String {
        let data_dir = self.data_dir.as_deref().unwrap_or(Path::new("data"));
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ndata_dir = {data_dir:?}\n\
             [[sources]]\nname = \"web\"\nwrite_key = \"{WRITE_KEY}\"\n\n{}",
            self.text
        )
    }

    pub fn write(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fairlane.toml"), self.render()).unwrap();
        dir
    }

    pub fn start(&self) -> Fairlane {
        let mut fairlane = self.prepare();
        fairlane.start();
        fairlane
    }

    /// All that it needs to start.
    pub fn prepare(&self) -> Fairlane {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Fairlane {
            dir: self.write(),
            process: None,
            log: Arc::default(),
            ingest: nowhere,
            admin: nowhere,
        }
    }

    /// Writes this configuration over the one of a running Fairlane.
    pub fn replace(&self, fairlane: &Fairlane) {
        std::fs::write(fairlane.config(), self.render()).unwrap();
    }
}

/// The allowance without which nothing on loopback can be delivered to.
pub const LOOPBACK: &str = "[delivery]\negress_allow = [\"127.0.0.0/8\"]\n";

impl Fairlane {
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("fairlane.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the process (again) and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn(&[]);
        self.wait_ready();
    }

    pub fn spawn(&mut self, environment: &[(&str, &str)]) {
        self.spawn_under(&[], environment);
    }

    /// `wrapper` is a command that runs the command behind it.
    pub fn spawn_under(&mut self, wrapper: &[&str], environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "it runs already");
        let line = [wrapper, &[BINARY, "serve", "--config", "fairlane.toml"]].concat();
        let mut process = Command::new(line[0])
            .args(&line[1..])
            .current_dir(self.dir.path())
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.log.lock().unwrap().clear();
        follow(process.stdout.take().unwrap(), Arc::clone(&self.log));
        follow(process.stderr.take().unwrap(), Arc::clone(&self.log));
        self.process = Some(process);
    }

    /// Finds the ports in what the process says, and waits until both answer.
    pub fn wait_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let log = self.log();
            if let (Some(ingest), Some(admin)) = (
                address_after(&log, "events at http://"),
                address_after(&log, "management at http://"),
            ) {
                (self.ingest, self.admin) = (ingest, admin);
                if call(ingest, "GET", "/ready", "").is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the process ended ({ended:?}) before it was ready:\n{log}"
            );
            assert!(Instant::now() < end, "not ready after 60 s:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything that the process has said since its start.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// kill -9: nothing is finished, nothing is flushed.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> i32 {
        self.signal("TERM");
        self.wait_end().code().unwrap_or(-1)
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap().id(), name);
    }

    /// Waits until the process has ended; panics after a minute.
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() >= end {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("it should have ended within 60 s:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut().unwrap();
        process.try_wait().unwrap().is_some()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.ingest).unwrap()
    }

    /// Posts one track event with this messageId; panics unless it is accepted.
    pub fn track(&self, id: &str) {
        let answer = call(self.ingest, "POST", "/v1/track", &track(id)).unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
    }

    /// The status of one event sent on a connection of its own; `None` where there is no answer.
    pub fn try_track(&self, id: &str) -> Option<u16> {
        let answer = call(self.ingest, "POST", "/v1/track", &track(id)).ok()?;
        Some(answer.status())
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn management(&self, method: &str, path: &str, body: &str) -> Message {
        let mut client = Client::connect(self.admin).unwrap();
        client
            .send(
                method,
                path,
                &[("content-type", "application/json")],
                body.as_bytes(),
            )
            .unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        self.management("GET", "/v1/status", "").json()
    }

    /// Runs a command against its management API, which must succeed; what it printed.
    pub fn command(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    /// Runs a command that must fail, and returns what it says.
    pub fn refused(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_ne!(code, 0, "{args:?}: {out}{err}");
        err
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let admin = format!("http://{}", self.admin);
        run(self.dir.path(), &[args, &["--admin", &admin]].concat(), "")
    }

    /// A sample of the metrics: the value of the first line that has all of `parts`.
    pub fn metric(&self, parts: &[&str]) -> Option<f64> {
        let text = self.management("GET", "/metrics", "").body;
        let text = String::from_utf8(text).unwrap();
        let line = text
            .lines()
            .find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// How many lines of its log have all of `parts`.
    pub fn log_lines(&self, parts: &[&str]) -> usize {
        let log = self.log();
        log.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    }

    /// Waits for that many of them.
    pub fn wait_log_lines(&self, parts: &[&str], count: usize) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.log_lines(parts) < count {
            assert!(
                Instant::now() < end,
                "{parts:?}: not {count} lines after 60 s"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The status of one lane.
    pub fn lane(&self, connection: &str) -> serde_json::Value {
        let answer = self.management("GET", &format!("/v1/lanes/{connection}"), "");
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()
    }

    /// Waits until the lane's status is as wanted; panics with the last one after a minute.
    pub fn wait_lane(
        &self,
        connection: &str,
        what: &str,
        done: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        self.wait_lane_for(Duration::from_secs(60), connection, what, done)
    }

    /// As [`Fairlane::wait_lane`], for what may take longer.
    pub fn wait_lane_for(
        &self,
        patience: Duration,
        connection: &str,
        what: &str,
        done: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let end = Instant::now() + patience;
        loop {
            let lane = self.lane(connection);
            if done(&lane) {
                return lane;
            }
            assert!(
                Instant::now() < end,
                "{connection}: {what}: still not so after {patience:?}: {lane:#}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Fairlane {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Under a tracer the program would outlive it.
            for child in children(process.id()) {
                Command::new("kill").args(["-KILL", &child]).status().ok();
            }
            process.kill().ok();
            process.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- what fairlane said ---\n{}", self.log());
        }
    }
}

/// A track event with this messageId, as a client would post it.
pub fn track(id: &str) -> String {
    format!(
        r#"{{"writeKey":"{WRITE_KEY}","type":"track","event":"Tested","userId":"u-1","messageId":"{id}","properties":{{"n":1}}}}"#
    )
}

/// Runs the binary to its end.
pub fn run(dir: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    use std::io::Write as _;
    let mut process = Command::new(BINARY)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .ok();
    let output = process.wait_with_output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

fn children(pid: u32) -> Vec<String> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

fn follow(stream: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = into.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

fn address_after(log: &str, words: &str) -> Option<SocketAddr> {
    let rest = &log[log.find(words)? + words.len()..];
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}
