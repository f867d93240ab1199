//! The configuration: what `fairlane.toml` and the environment say, checked as a whole.
//!
//! ```text
//!   fairlane.toml --> tree (every value knows its place) --> reader --> Config --> Registry
//!                                    ^                        ^
//!   FAIRLANE__SECTION__KEY ----------+         ${ENV}, ${secret:NAME}
//! ```
//!
//! [`keys::all`] is the one list of what may be set. What is unknown, of a wrong type or out of
//! range is found against it, and the reference and the example are held to it by tests. All
//! problems are found at once, each with its line and with what to do.
//!
//! Nothing here reads a clock, a socket or a process-wide variable: the environment and the secrets
//! are arguments, and the only files read are the configuration and the programs that it names.

pub mod entries;
pub mod keys;
pub(crate) mod nearest;
mod overrides;
mod policy;
pub mod problem;
mod reader;
#[cfg(test)]
mod reference;
mod registry;
mod sections;
mod substitute;
pub(crate) mod tree;
pub mod units;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::Secret;

pub use entries::{ConnectionEntry, DestinationEntry, SourceEntry};
pub use problem::Problems;
pub use sections::{CatalogSection, DeliverySection, IngestSection, LogSection, ServerSection};

use overrides::Overrides;
use problem::Finder;
use reader::Inputs;
use tree::Table;

/// Largest configuration file: 100,000 connections need some 20 MB.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    pub server: ServerSection,
    pub log: LogSection,
    pub ingest: IngestSection,
    pub delivery: DeliverySection,
    pub catalog: CatalogSection,
    pub sources: Vec<SourceEntry>,
    pub destinations: Vec<DestinationEntry>,
    pub connections: Vec<ConnectionEntry>,
    /// Filters and transforms of their own files, as their paths are written.
    pub program_files: BTreeSet<PathBuf>,
    /// Where the limits of `[delivery]` stand that only definitions can say to be wrong.
    pub delivery_lines: BTreeMap<&'static str, usize>,
}

/// The process's variables, or what a test says they are.
pub type Environment = BTreeMap<String, String>;

/// What `${secret:NAME}` means: the store knows.
pub type Secrets<'a> = dyn Fn(&str) -> Option<Secret> + 'a;

/// The variables of this process. Those that are not UTF-8 are left out: no key can name them.
#[must_use]
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A configuration file as it stands: read once, asked first where the store is, and then for all.
pub struct File {
    path: PathBuf,
    /// How errors call it.
    name: String,
    text: String,
    root: Table,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        match read_file(path) {
            Ok(text) => Self::parse(path, text),
            Err(why) => Err(Problems::one(format!(
                "{}: {why}: name another file with --config, or begin with the example \
                 (examples/fairlane.toml)",
                path.display()
            ))),
        }
    }

    fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let mut found = Finder::new(&name, &text);
        let root = tree::parse(&text, &mut found);
        let root = found.finish(root)?;
        Ok(Self {
            path: path.to_owned(),
            name,
            text,
            root,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Only where the data is: the store must be open before `${secret:NAME}` can be looked up.
    /// Whatever else is wrong is left for [`File::config`] to say.
    ///
    /// # Errors
    /// The file says this one thing wrongly.
    pub fn data_dir(&self, environment: &Environment) -> Result<PathBuf, Problems> {
        let mut found = Finder::new(&self.name, &self.text);
        let overrides = &Overrides::of(environment, &mut Finder::new(&self.name, &self.text));
        // The store holds the secrets, so its own place cannot be one.
        let secrets: &Secrets<'_> = &|_| None;
        let inputs = Inputs {
            environment,
            secrets,
            overrides,
            read_program: &|_: &Path| Ok(String::new()),
            path: &self.path,
        };
        let mut data_dir = ServerSection::default().data_dir;
        let mut section = inputs.unchecked_section("server", &self.root, &mut found);
        section.path("data_dir", &mut data_dir);
        found.finish(data_dir)
    }

    /// All that it says, checked, with the programs that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it. Nothing is kept of a wrong configuration.
    pub fn config(
        &self,
        environment: &Environment,
        secrets: &Secrets<'_>,
    ) -> Result<Config, Problems> {
        // Programs stand beside the configuration, wherever the process was started.
        let dir = self.path.parent().unwrap_or(Path::new(""));
        let read = RefCell::default();
        let read_program = &|file: &Path| {
            let known: &RefCell<BTreeSet<PathBuf>> = &read;
            known.borrow_mut().insert(file.to_owned());
            read_file(&dir.join(file))
        };
        let config = self.config_with(environment, secrets, read_program)?;
        Ok(Config {
            program_files: read.into_inner(),
            ..config
        })
    }

    /// As [`File::config`]; `read_program` reads the file of a filter or transform (by its path as
    /// written) or says why it cannot.
    fn config_with(
        &self,
        environment: &Environment,
        secrets: &Secrets<'_>,
        read_program: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<Config, Problems> {
        let mut found = Finder::new(&self.name, &self.text);
        let overrides = &Overrides::of(environment, &mut found);
        let inputs = Inputs {
            environment,
            secrets,
            overrides,
            read_program,
            path: &self.path,
        };
        reader::check_tables(&self.root, &mut found);
        let mut config = Config::default();
        let root = &self.root;
        config
            .server
            .read(&mut inputs.section("server", root, &mut found));
        config
            .log
            .read(&mut inputs.section("log", root, &mut found));
        config
            .ingest
            .read(&mut inputs.section("ingest", root, &mut found));
        let mut delivery = inputs.section("delivery", root, &mut found);
        config.delivery.read(&mut delivery);
        config.delivery_lines = delivery.lines(&["window_jobs_max", "window_bytes_max"]);
        config
            .catalog
            .read(&mut inputs.section("catalog", root, &mut found));
        entries::read(&mut config, &inputs, root, &mut found);
        found.finish(config)
    }
}

impl Config {
    /// What `text` says, without a file.
    #[cfg(test)]
    pub(crate) fn parse(
        name: &str,
        text: &str,
        environment: &Environment,
        secrets: &Secrets<'_>,
        read_program: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, Problems> {
        File::parse(Path::new(name), text.to_owned())?.config_with(
            environment,
            secrets,
            read_program,
        )
    }

    /// All that it was made of, the overlay's directory besides. `path`: its own file.
    #[must_use]
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let dir = path.parent().unwrap_or(Path::new(""));
        let overlay = self.catalog.overlay_dir.iter();
        let others = self.program_files.iter().chain(overlay);
        let mut files = vec![path.to_owned()];
        files.extend(others.map(|other| dir.join(other)));
        files
    }

    /// Without the lists. What is left is small, however many connections there are.
    #[must_use]
    pub fn into_sections(self) -> Self {
        Self {
            sources: Vec::new(),
            destinations: Vec::new(),
            connections: Vec::new(),
            ..self
        }
    }

    /// The sections in which `next` says something that takes effect only after a restart.
    #[must_use]
    pub fn restart_needed(&self, next: &Self) -> Vec<&'static str> {
        let changed = [
            ("server", self.server != next.server),
            ("log", self.log != next.log),
            ("ingest", self.ingest != next.ingest),
            ("delivery", self.delivery != next.delivery),
        ];
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(name, _)| name)
            .collect()
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let size = fs::metadata(path).map_err(cannot)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes, more than {FILE_BYTES_MAX}"));
    }
    fs::read_to_string(path).map_err(cannot)
}

#[cfg(test)]
mod tests;
