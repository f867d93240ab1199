//! The product as a child process on a directory of its own, and what the system says of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cli::AdminArgs;
use crate::client::AdminClient;
use crate::serve::{EVENTS_AT, MANAGEMENT_AT};

pub const WRITE_KEY: &str = "bench";

/// A running `fairlane serve`; ends, and its directory goes, when this is dropped.
pub struct Product {
    process: Child,
    dir: PathBuf,
    pub ingest: SocketAddr,
    pub admin: AdminClient,
}

/// A directory of this process under the system's temporary one.
pub fn scratch_dir(name: &str) -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("fairlane-bench-{}-{name}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

impl Product {
    /// Starts the product, in a new directory, with these sources, destinations and connections.
    pub fn start(name: &str, registry: &str) -> anyhow::Result<Self> {
        let dir = scratch_dir(name)?;
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
             [delivery]\negress_allow = [\"127.0.0.0/8\"]\n{registry}"
        );
        std::fs::write(dir.join("fairlane.toml"), config)?;
        Self::start_in(dir)
    }

    /// kill -9, and a new start on the same data; returns how long that start took.
    pub fn restart(mut self) -> anyhow::Result<(Self, Duration)> {
        self.process.kill()?;
        self.process.wait()?;
        let began = Instant::now();
        let next = Self::start_in(std::mem::take(&mut self.dir))?;
        Ok((next, began.elapsed()))
    }

    fn start_in(dir: PathBuf) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--log", "warn"])
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the product")?;
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let (mut ingest, mut admin) = (None, None);
        for line in output.lines() {
            let line = line?;
            ingest = ingest.or_else(|| address(&line, EVENTS_AT));
            admin = admin.or_else(|| address(&line, MANAGEMENT_AT));
            if let (Some(ingest), Some(admin)) = (ingest, admin) {
                let args = AdminArgs {
                    admin: format!("http://{admin}"),
                    token: None,
                    json: true,
                };
                let product = Self {
                    process,
                    dir,
                    ingest,
                    admin: AdminClient::new(&args),
                };
                return Ok(product);
            }
        }
        bail!("the product ended before it was ready: see what it says above")
    }

    /// CPU time so far, user and system, in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The second field is the name in parentheses and may hold spaces: count from behind it.
        let rest = stat.rsplit(')').next().context("no stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<f64> {
            Ok(fields.get(index).context("a short stat line")?.parse()?)
        };
        let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
        Ok((ticks(11)? + ticks(12)?) / per_second)
    }

    /// Resident memory in MiB, once what a burst took was given back.
    pub fn settled_rss_mib(&self) -> anyhow::Result<f64> {
        std::thread::sleep(Duration::from_secs(2));
        self.rss_mib()
    }

    /// Resident memory in MiB.
    pub fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("no VmRSS")?;
        let kib: f64 = line
            .split_whitespace()
            .nth(1)
            .context("no figure")?
            .parse()?;
        Ok(kib / 1_024.0)
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // It is ours, and nothing in its directory is wanted any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.dir.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn address(line: &str, words: &str) -> Option<SocketAddr> {
    line.split_once(words)?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}
