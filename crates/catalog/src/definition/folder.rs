//! A definition's folder: its files, read from a directory within their limits.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::Path;

use crate::error::Error;
use crate::limits::{FOLDER_BYTES_MAX, FOLDER_FILES_MAX};

/// A definition's files, from the binary or from a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Folder {
    pub id: String,
    /// Where it stands, for errors: `destinations/webhook`.
    pub place: String,
    /// Text by path within the folder: `cases/track.json`.
    pub files: BTreeMap<String, String>,
}

/// A folder of a directory of definitions, or why it cannot be read.
#[derive(Debug, Clone)]
pub struct FoundFolder {
    pub id: String,
    pub folder: Result<Folder, Error>,
}

impl Folder {
    /// Of what its programs and its definition say: cases and texts aside.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let works = |path: &str| path == "destination.toml" || path.ends_with(".vrl");
        for file in self.files.iter().filter(|(path, _)| works(path)) {
            file.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Reads a definition's folder: its own files and those of `cases/`.
    ///
    /// # Errors
    /// It cannot be read, or holds a file that is no text.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let name = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let mut folder = Self {
            id: name.unwrap_or_default(),
            place: dir.display().to_string(),
            files: BTreeMap::new(),
        };
        folder.read_files(dir, "")?;
        let cases = dir.join("cases");
        if cases.is_dir() {
            folder.read_files(&cases, "cases/")?;
        }
        Ok(folder)
    }

    /// Reads every definition's folder of a directory. One that cannot be read says so in its place:
    /// the others are none the worse for it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn find_all(dir: &Path) -> Result<Vec<FoundFolder>, Error> {
        let unreadable = |problem: std::io::Error| Error::Unreadable {
            path: dir.to_owned(),
            problem: problem.to_string(),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let id = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !id.starts_with('.') {
                found.push(FoundFolder {
                    id: id.into_owned(),
                    folder: Self::read(&path),
                });
            }
        }
        Ok(found)
    }

    /// Whether a file is part of a definition. Pictures and editors' droppings are not.
    pub(crate) fn holds(file: &str) -> bool {
        !file.starts_with('.')
            && [".toml", ".vrl", ".json", ".md"]
                .iter()
                .any(|ending| file.ends_with(ending))
    }

    fn read_files(&mut self, dir: &Path, prefix: &str) -> Result<(), Error> {
        let unreadable = |path: &Path, problem: std::io::Error| Error::Unreadable {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let entries = fs::read_dir(dir).map_err(|problem| unreadable(dir, problem))?;
        for entry in entries {
            let path = entry.map_err(|problem| unreadable(dir, problem))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !Self::holds(&name) {
                continue;
            }
            let wrong = |problem: String| Error::Definition {
                place: path.display().to_string(),
                problem,
            };
            // Not a pipe, which would never end; of a link what it leads to.
            if !path.is_file() {
                return Err(wrong("is no file".to_owned()));
            }
            if self.files.len() >= FOLDER_FILES_MAX {
                let problem =
                    format!("is one file more than the {FOLDER_FILES_MAX} of a definition");
                return Err(wrong(problem));
            }
            let room = FOLDER_BYTES_MAX.saturating_sub(self.bytes());
            let text = read_text(&path, room).map_err(|problem| unreadable(&path, problem))?;
            let text = text.ok_or_else(|| {
                let of = FOLDER_BYTES_MAX / (1024 * 1024);
                wrong(format!(
                    "is too large: the files of a definition may have {of} MiB in all"
                ))
            })?;
            self.files.insert(format!("{prefix}{name}"), text);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.files.values().map(String::len).sum()
    }
}

/// A file's text; `None` where it is longer than that.
fn read_text(path: &Path, bytes_max: usize) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(std::io::Error::other)?;
    Ok(Some(without_mark(text)))
}

/// A text without the byte order mark that some editors put before it.
#[must_use]
pub fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}
