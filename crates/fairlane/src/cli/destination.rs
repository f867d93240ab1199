//! `fairlane destination`, as `--help` shows it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum DestinationCommand {
    /// All definitions.
    List {
        #[command(flatten)]
        overlay: OverlayArgs,
        #[arg(long)]
        json: bool,
    },
    /// One definition: its settings and what it sends.
    Show {
        #[command(flatten)]
        overlay: OverlayArgs,
        /// An id, or the path of a definition's folder.
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Begin a new definition: writes a folder with a working example.
    New {
        id: String,
        /// Where to put the folder.
        #[arg(long, default_value = "destinations", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Run the recorded cases of all definitions, or of some.
    Test(TestArgs),
    /// Show what a definition makes of events: NDJSON from standard input, a JSON line for each.
    Transform(TransformArgs),
    /// Really send events, once, by the sender that carries all others; shows each request (its
    /// secrets struck out), the answer, and what it means.
    Send(SendOnceArgs),
    /// Run a definition's cases on the real service, once, and keep what it answered as cases, with
    /// secrets struck out.
    Record(RecordArgs),
    /// Show what a changed catalog would send differently, destination by destination. Exit code 1
    /// where anything differs.
    Diff(DiffArgs),
    /// Measure what one event costs, for the events of recorded cases.
    Bench(BenchDestinationsArgs),
    /// Print the JSON schema of destination.toml, for editors.
    Schema,
    /// Write the catalog's pages of documentation: one for each definition, and an index.
    Docs(DocsArgs),
    /// Hold definitions against facts: files of events with the requests that are right for them.
    Verify(VerifyArgs),
}

#[derive(Args, Debug, Clone)]
pub struct OverlayArgs {
    /// A directory with definitions that come before the built-in ones.
    #[arg(
        long = "overlay",
        id = "dir",
        env = "FAIRLANE_OVERLAY",
        value_name = "DIR"
    )]
    pub overlay: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct TestArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// Ids, or paths of definitions' folders. Without any: all definitions.
    pub ids: Vec<String>,
    /// Write what came out into the cases as what is expected, and show what changed. Only of
    /// definitions in a directory: give --overlay, or paths.
    #[arg(long)]
    pub bless: bool,
    /// Only cases whose name holds this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "bless")]
    pub filter: Option<String>,
    #[arg(long, conflicts_with = "bless")]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct TransformArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// An id, or the path of a definition's folder.
    pub id: String,
    /// The destination's settings: a JSON object.
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// Answers to the requests of earlier steps, the same for each event: a JSON list of
    /// {"status", "headers", "body"}. Without it each is 200 with the body {}.
    #[arg(long, value_name = "FILE")]
    pub responses: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct DiffArgs {
    /// A directory of definitions, or `embedded` for those in this binary.
    pub old: String,
    /// The same.
    pub new: String,
    /// NDJSON events.
    #[arg(long, value_name = "FILE")]
    pub events: PathBuf,
    /// Settings by definition's id: a JSON object of objects. A definition that is not in it takes
    /// those of its first case.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Only these definitions.
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// The directory of facts: <id>.json with `example_settings` and `cases`. Where it has a
    /// directory `facts`: that one.
    pub facts: PathBuf,
    /// Only these definitions.
    pub ids: Vec<String>,
    /// Show every difference.
    #[arg(long)]
    pub verbose: bool,
    /// Fail where anything differs.
    #[arg(long)]
    pub strict: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct DocsArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// Where the pages go: destinations.md and destinations/<id>.md.
    #[arg(long, default_value = "docs", value_name = "DIR")]
    pub out: PathBuf,
}

/// What a trial needs to reach the service.
#[derive(Args, Debug)]
pub struct TrialArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// An id, or the path of a definition's folder.
    pub id: String,
    /// The destination's settings, real secrets included: a JSON object.
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// A range of addresses that may be dialled although it is not public, also over plain http:
    /// 127.0.0.0/8, say.
    #[arg(long, value_name = "CIDR")]
    pub allow: Vec<ipnet::IpNet>,
}

#[derive(Args, Debug)]
pub struct SendOnceArgs {
    #[command(flatten)]
    pub trial: TrialArgs,
    /// NDJSON events. Without it: from standard input.
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Answer in JSON, a line for each event.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct RecordArgs {
    #[command(flatten)]
    pub trial: TrialArgs,
    /// Only the case of this name. Without it: all by which something is sent.
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<String>,
}

#[derive(Args, Debug)]
pub struct BenchDestinationsArgs {
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// Ids, or paths of folders. Without any: all definitions.
    pub ids: Vec<String>,
    /// How often each event is transformed.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: u32,
    /// Name the definitions with an event that takes more microseconds than this.
    #[arg(long, default_value_t = 60.0, value_name = "US")]
    pub slow_us: f64,
    #[arg(long)]
    pub json: bool,
}
