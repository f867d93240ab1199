//! A PostgreSQL of the test's own: Debian's programs, in a temporary directory, on a loopback port.
//!
//! It refuses to run as root, so then it runs as `nobody`. Where its programs are missing, root gets
//! them by apt-get; else the test is skipped, loudly.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::harness::signal;

/// The role that Fairlane writes as; it owns the database `shop`.
pub const USER: &str = "fairlane";
pub const PASSWORD: &str = "p4ss' \\word";

/// A server with its data, running or not.
pub struct Server {
    programs: PathBuf,
    dir: tempfile::TempDir,
    process: Option<Child>,
    pub port: u16,
}

impl Server {
    /// `None`, and why on standard error, where there can be none.
    pub fn start() -> Option<Self> {
        let programs = match programs() {
            Ok(programs) => programs.clone(),
            Err(why) => {
                eprintln!("SKIPPED: no PostgreSQL to test with: {why}");
                return None;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            // Its own user must reach it.
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut server = Self {
            programs,
            dir,
            process: None,
            port: free_port(),
        };
        server.initialise();
        server.run();
        server.query(
            "postgres",
            &format!(
                "CREATE ROLE {USER} LOGIN PASSWORD '{}'",
                PASSWORD.replace('\'', "''")
            ),
        );
        server.query("postgres", &format!("CREATE DATABASE shop OWNER {USER}"));
        Some(server)
    }

    fn initialise(&self) {
        let data = self.data();
        let data = data.to_str().unwrap();
        let mut initdb = self.program("initdb");
        // The superuser comes by the socket without a password; who comes by TCP must have one.
        initdb.args([
            "-D",
            data,
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        let output = initdb.output().unwrap();
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts it (again) and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data());
        postgres.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        postgres.args(["-c", "fsync=off", "-c", "max_connections=40"]);
        postgres.arg("-k").arg(self.dir.path());
        postgres.stdout(Stdio::null()).stderr(log);
        self.process = Some(postgres.spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while self.psql("postgres", "SELECT 1").is_err() {
            assert!(
                Instant::now() < end,
                "PostgreSQL is not ready after 60 s: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives it a certificate: from its next start it takes only encrypted connections by TCP.
    pub fn encrypt(&self, certificate: &str, key: &str) {
        let data = self.data();
        fs::write(data.join("server.crt"), certificate).unwrap();
        fs::write(data.join("server.key"), key).unwrap();
        fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            let key = data.join("server.key");
            let done = Command::new("chown")
                .arg("nobody")
                .arg(key)
                .status()
                .unwrap();
            assert!(done.success());
        }
        let access = data.join("pg_hba.conf");
        fs::write(
            &access,
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
        )
        .unwrap();
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings += "\nssl = on\n";
        fs::write(data.join("postgresql.conf"), settings).unwrap();
    }

    /// Stops it as in a crash: everybody is disconnected in the middle of what they do.
    pub fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        // The wrapper that gives up root's rights becomes the server itself.
        signal(process.id(), "QUIT");
        process.wait().unwrap();
    }

    /// What a query says: a line for each row, columns divided by `|`.
    pub fn query(&self, database: &str, sql: &str) -> Vec<String> {
        self.psql(database, sql)
            .unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    fn psql(&self, database: &str, sql: &str) -> Result<Vec<String>, String> {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
            ])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .arg("-h")
            .arg(self.dir.path())
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        if std::thread::panicking() {
            eprintln!("--- what PostgreSQL said ---\n{}", self.log());
        }
    }
}

/// Where its programs are.
fn programs() -> &'static Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(programs) = installed() {
            return Ok(programs);
        }
        if !is_root() {
            return Err("install Debian's package postgresql".to_owned());
        }
        // Without its cluster, which would take the usual port.
        let line = "mkdir -p /etc/postgresql-common && \
                    grep -qs create_main_cluster /etc/postgresql-common/createcluster.conf || \
                    echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf; \
                    apt-get install -y -q postgresql || \
                    { apt-get update -q && apt-get install -y -q postgresql; }";
        let done = Command::new("sh")
            .args(["-c", line])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .map_err(|error| error.to_string())?;
        installed().ok_or_else(|| String::from_utf8_lossy(&done.stderr).into_owned())
    })
}

fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| has(bin, "postgres") && has(bin, "initdb") && has(bin, "psql"))
        .collect();
    found.sort();
    found.pop()
}

fn has(bin: &Path, program: &str) -> bool {
    bin.join(program).is_file()
}

fn is_root() -> bool {
    // The owner of our own process.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
