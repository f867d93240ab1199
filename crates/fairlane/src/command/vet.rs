//! `fairlane vet`: compiles programs that nobody has looked at in a process that may be lost.
//!
//! Vetting refuses every source that is known to overflow the compiler's stack or to take its memory.
//! What is not known yet takes this process with it, and not the one that serves.

use std::io::{BufRead as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use catalog::definition::Folder;
use catalog::{Definition, check_filter, check_ordering_key, check_transform};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::cli::VetArgs;

/// Of this process, of which the allocator claims half before it is used.
pub const ADDRESS_SPACE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Of this process, for all that it is given. 150 definitions take about three.
pub const CPU_S_MAX: u64 = 30;
/// What it says of each unit that it has compiled and lived through.
pub const LIVED: u8 = b'.';

/// What is compiled as one: a definition with all its programs, or a program of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Definition(Folder),
    Filter(String),
    Transform(String),
    OrderingKey(String),
}

impl Unit {
    /// # Errors
    /// It does not compile.
    pub fn check(&self) -> Result<(), catalog::Error> {
        match self {
            Self::Definition(folder) => Definition::load(folder.clone())?.compile(),
            Self::Filter(text) => check_filter(text),
            Self::Transform(text) => check_transform(text),
            Self::OrderingKey(text) => check_ordering_key(text),
        }
    }
}

pub fn run(args: &VetArgs) -> anyhow::Result<()> {
    limit(Resource::As, ADDRESS_SPACE_BYTES_MAX)?;
    limit(Resource::Cpu, CPU_S_MAX)?;
    if args.stdin {
        return compile_lines();
    }
    for path in &args.paths {
        vet(path)?;
        println!("{} compiles", path.display());
    }
    Ok(())
}

/// What is wrong with a unit is told where it is used; only that one is lived through counts here.
fn compile_lines() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let unit: Unit = serde_json::from_str(&line?)?;
        let _wrong = unit.check();
        out.write_all(&[LIVED])?;
        out.flush()?;
    }
    Ok(())
}

fn limit(resource: Resource, max: u64) -> anyhow::Result<()> {
    let both = Rlimit {
        current: Some(max),
        maximum: Some(max),
    };
    setrlimit(resource, both).context("cannot limit this process")
}

fn vet(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(Definition::load(Folder::read(path)?)?.compile()?);
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    check_transform(&text).map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))
}
