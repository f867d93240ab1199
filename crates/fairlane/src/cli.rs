//! The command line, as `fairlane --help` shows it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod destination;

pub use destination::{
    BenchDestinationsArgs, DestinationCommand, DiffArgs, DocsArgs, OverlayArgs, RecordArgs,
    SendOnceArgs, TestArgs, TransformArgs, TrialArgs, VerifyArgs,
};

/// Customer-data events in over Segment's HTTP API, a copy of each to every destination: none
/// lost, none blocked.
#[derive(Parser, Debug)]
#[command(name = "fairlane", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What to log: error, warn, info, debug, or a filter such as `delivery=debug`.
    #[arg(
        long,
        global = true,
        env = "FAIRLANE_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
    /// How to log.
    #[arg(long, global = true, env = "FAIRLANE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Take events in and deliver them, until told to stop.
    Serve(ConfigArgs),
    /// Watch it work: receivers of four tempers, a stream of events, a live table.
    Demo(DemoArgs),
    /// Read the configuration, compile every program, and say what is wrong.
    Check(CheckArgs),
    /// Send an event to a running Fairlane, or NDJSON events from standard input.
    Send(SendArgs),
    /// Show the lanes of a running Fairlane.
    Lanes(LanesArgs),
    /// Stop the lane of a connection; its events wait.
    Hold(LaneArgs),
    /// Let a held lane go on.
    Resume(LaneArgs),
    /// Events that could not be delivered.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Deliver a range of the log again, to one connection, old or new.
    Replay(ReplayArgs),
    /// Replays: list, follow or cancel them.
    #[command(subcommand)]
    Replays(ReplaysCommand),
    /// The catalog: what kinds of destinations there are.
    #[command(subcommand)]
    Destination(DestinationCommand),
    /// Compile programs in a process of little memory and time, and say whether it lives: VRL files
    /// (as a connection's transform), or folders of definitions.
    Vet(VetArgs),
    /// Secrets that the configuration names as `${secret:NAME}`, sealed at rest.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Measure this machine: ingest, delivery and end to end, each beside its floor.
    Bench(BenchArgs),
    /// Run a scenario on the very scheduler in virtual time: a day of outage in seconds.
    Simulate(SimulateArgs),
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Args, Debug, Clone)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(
        short,
        long,
        env = "FAIRLANE_CONFIG",
        default_value = "fairlane.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// End by itself after this long, for example 20s or 2m. Without it: until Ctrl-C.
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub run_for: Option<Duration>,
    /// Keep the data in this directory. Without it: a temporary one, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Events a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,
    /// Print the balance sheet at the end as JSON, and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
}

/// How to reach a running Fairlane.
#[derive(Args, Debug, Clone)]
pub struct AdminArgs {
    /// The management API of the running Fairlane.
    #[arg(
        long,
        env = "FAIRLANE_ADMIN",
        default_value = "http://127.0.0.1:9080",
        value_name = "URL"
    )]
    pub admin: String,
    /// Its token, where it asks for one.
    #[arg(
        long,
        env = "FAIRLANE_ADMIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub token: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SendArgs {
    /// Where events go in.
    #[arg(
        long,
        env = "FAIRLANE_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub url: String,
    /// The write key of the source.
    #[arg(short = 'k', long, env = "FAIRLANE_WRITE_KEY", value_name = "KEY")]
    pub write_key: String,
    /// track, identify, page, screen, group or alias.
    #[arg(long = "type", default_value = "track", value_name = "TYPE")]
    pub kind: String,
    /// The event's name, for track.
    #[arg(long, default_value = "Test Event")]
    pub event: String,
    #[arg(long, default_value = "test-user", value_name = "ID")]
    pub user_id: String,
    /// Properties (for identify and group: traits), as a JSON object.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    pub properties: String,
    /// Read events from standard input instead: one JSON object a line, each with a `type`.
    #[arg(long, conflicts_with_all = ["event", "properties"])]
    pub stdin: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct LanesArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Draw the table again every second.
    #[arg(short, long)]
    pub watch: bool,
    /// Only this lane, with all that is known of it.
    pub connection: Option<String>,
}

#[derive(Args, Debug)]
pub struct LaneArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The connection's name, for all its lanes; or one lane's, as `fairlane lanes` shows it.
    pub connection: String,
}

#[derive(Subcommand, Debug)]
pub enum DeadLettersCommand {
    /// List them, newest last.
    List {
        #[command(flatten)]
        admin: AdminArgs,
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// At most this many, up to 1,000.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Those behind this one: the next page.
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
    },
    /// Show one, with its event and the destination's answer.
    Show {
        #[command(flatten)]
        admin: AdminArgs,
        id: u64,
    },
    /// Try again: some by id, those that a filter lets through, or all.
    #[command(group(
        clap::ArgGroup::new("which")
            .required(true)
            .multiple(true)
            .args(["ids", "connection", "reason", "since", "until", "event", "all"])
    ))]
    Redeliver {
        #[command(flatten)]
        admin: AdminArgs,
        #[arg(conflicts_with_all = ["connection", "reason", "since", "until", "event", "all"])]
        ids: Vec<u64>,
        #[command(flatten)]
        filter: DeadLetterFilter,
        /// All there are.
        #[arg(long, conflicts_with_all = ["connection", "reason", "since", "until", "event"])]
        all: bool,
    },
}

/// Which dead letters; what is not given does not restrict.
#[derive(Args, Debug)]
pub struct DeadLetterFilter {
    /// Only of this connection.
    #[arg(long, value_name = "NAME")]
    pub connection: Option<String>,
    /// Only with this reason, for example `refused`.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only those that died at or after this time (2026-01-31T12:00:00Z).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those that died before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only events of this name, for example `Order Completed`; of those without one, this type.
    #[arg(long, value_name = "NAME")]
    pub event: Option<String>,
}

impl DeadLetterFilter {
    /// What is given, as the management API names it.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("connection", &self.connection),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
            ("event", &self.event),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

#[derive(Subcommand, Debug)]
pub enum ReplaysCommand {
    /// List them, newest last.
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Show how one gets on, until it has ended.
    Follow {
        #[command(flatten)]
        admin: AdminArgs,
        id: u64,
    },
    /// End one before it is done. What it has delivered stays delivered.
    Cancel {
        #[command(flatten)]
        admin: AdminArgs,
        id: u64,
    },
}

#[derive(Args, Debug)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The connection's name.
    pub connection: String,
    /// From this offset (0: the oldest event that is kept), or this time (2026-01-31T12:00:00Z).
    #[arg(long, value_name = "OFFSET|TIME")]
    pub from: String,
    /// Up to, but not with, this offset or time. `start`: up to where the connection began, which
    /// gives a new one what it has missed, each event once. Without it: what is in the log now.
    #[arg(long, value_name = "OFFSET|TIME|start")]
    pub to: Option<String>,
    /// VRL: only events of which this is true, for example `.event == "Order Completed"`. The
    /// connection's own filter holds beside it.
    #[arg(long, value_name = "VRL")]
    pub filter: Option<String>,
    /// At most so many requests a second. The connection's own limit holds beside it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Return at once instead of showing the progress.
    #[arg(long)]
    pub detach: bool,
}

#[derive(Subcommand, Debug)]
pub enum SecretCommand {
    /// Store a secret; its value is read from standard input.
    Set {
        #[command(flatten)]
        config: ConfigArgs,
        name: String,
    },
    /// Names and times, never values.
    List {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Forget a secret.
    Remove {
        #[command(flatten)]
        config: ConfigArgs,
        name: String,
    },
}

#[derive(Args, Debug)]
pub struct VetArgs {
    #[arg(required_unless_present = "stdin", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read definitions from standard input instead, a JSON object a line: how a running Fairlane
    /// asks.
    #[arg(long, hide = true)]
    pub stdin: bool,
}

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// How long each measurement lasts.
    #[arg(long = "for", value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub run_for: Duration,
    /// Only measurements whose name holds this text: "ingest, single", "ingest, batches of 100",
    /// "end to end, single", "end to end, batches of 100 in", "delivery only",
    /// "nine of ten, all healthy", "nine of ten, the tenth hangs",
    /// "architectures: one shared queue", "architectures: a queue for each destination",
    /// "architectures: lanes", "over 10 lanes", "over 100 lanes", "over 1,000 lanes",
    /// "over 10,000 lanes", "idle lanes", "backlog".
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Bytes of one event.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(200..=30_000))]
    pub event_bytes: u32,
    /// Lanes of the measurement "idle lanes".
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lanes: u32,
    /// Events of the measurement "backlog".
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub backlog: u64,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub connections: u32,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// The scenario: see examples/scenarios and docs/reference/scenario.md.
    #[arg(required_unless_present = "invariants")]
    pub file: Option<PathBuf>,
    /// Another seed than the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run so many seeds, on all cores, and say which expectations are broken.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub seeds: u64,
    /// Run random small worlds of all faults and crashes instead of a file, and hold the
    /// scheduler to its promises at every step.
    #[arg(long, conflicts_with_all = ["file", "json", "svg", "scale"])]
    pub invariants: bool,
    /// So many times fewer sources, lanes and events: every event stands for that many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub scale: u64,
    /// Run the same traffic through one shared queue, one queue for each destination, and lanes.
    #[arg(long, conflicts_with_all = ["seeds", "invariants"])]
    pub compare: bool,
    /// Answer in JSON.
    #[arg(long, conflicts_with = "seeds")]
    pub json: bool,
    /// Draw a chart: backlog, attempts and delays over time.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pub svg: Option<PathBuf>,
}

/// `20s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no time: write 20s or 2m"))?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("{text:?} has no unit: write 500ms, 20s, 2m or 1h")),
    };
    match millis {
        Some(0) | None => Err(format!("{text:?} is out of range")),
        Some(millis) => Ok(Duration::from_millis(millis)),
    }
}

#[cfg(test)]
mod tests;
