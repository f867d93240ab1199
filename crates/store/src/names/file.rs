//! `names.txt`: a line for each name, `source 3 web`. Appended to, and readable by people.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{NameKind, Numbered};
use crate::error::Error;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) names: Vec<Numbered>,
    /// The first line (from 1) that is none of ours.
    pub(crate) bad_line: Option<usize>,
    /// The last line has no end: the process was killed while it wrote it.
    pub(crate) torn: bool,
}

/// Reads the file; one that does not exist holds no names.
pub(crate) fn read(path: &Path) -> Result<Read, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Read::default()),
        Err(source) => return Err(Error::io(path, source)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let (whole, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
    let mut read = Read {
        torn: !rest.is_empty(),
        ..Read::default()
    };
    for (number, line) in (1..).zip(whole.lines()) {
        match parse(line) {
            Some(numbered) => read.names.push(numbered),
            None => read.bad_line = read.bad_line.or(Some(number)),
        }
    }
    Ok(read)
}

fn parse(line: &str) -> Option<Numbered> {
    let mut words = line.split(' ');
    let kind = NameKind::parse(words.next()?)?;
    let id = words.next()?.parse().ok()?;
    let name = model::Name::new(words.next()?).ok()?;
    words.next().is_none().then(|| Numbered {
        kind,
        id,
        name: name.as_str().to_owned(),
    })
}

/// The file, to be written to.
pub(crate) struct NamesFile {
    path: PathBuf,
    /// Two appends must not mix their lines.
    writing: Mutex<()>,
}

impl NamesFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            writing: Mutex::new(()),
        }
    }

    /// Replaces the file; after a crash it is either the old or the new one. Durable on return.
    pub(crate) fn write(&self, names: &[Numbered]) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.path.with_extension("txt.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&fresh).and_then(|mut file| {
            file.write_all(lines(names).as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            let dir = self.path.parent().unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()
        });
        written.map_err(|source| Error::io(&self.path, source))
    }

    /// Appends names. Durable on return.
    pub(crate) fn append(&self, names: &[Numbered]) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .and_then(|mut file| {
                file.write_all(lines(names).as_bytes())?;
                file.sync_all()
            });
        written.map_err(|source| Error::io(&self.path, source))
    }
}

fn lines(names: &[Numbered]) -> String {
    names
        .iter()
        .map(|n| format!("{} {} {}\n", n.kind.as_str(), n.id, n.name))
        .collect()
}
