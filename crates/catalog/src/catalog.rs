//! The catalog: all definitions, from the binary and from an operator's own directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::definition::settings::nearest;
use crate::definition::{Definition, Folder, FoundFolder};
use crate::error::Error;
use crate::program::ProgramCache;

#[derive(RustEmbed)]
#[folder = "../../destinations"]
struct Embedded;

/// All definitions by id. Immutable: a reload makes a new one, and lanes keep what they have until
/// they are told.
#[derive(Debug, Default)]
pub struct Catalog {
    definitions: BTreeMap<String, Arc<Definition>>,
    /// The ids of those that an operator's own directory brought.
    overlaid: BTreeSet<String>,
    /// Folders of an operator's own that are no good, and why. A built-in definition of that id is
    /// gone with it: its operator wanted another, and must not get it unknowingly.
    refused: BTreeMap<String, Error>,
    cache: Arc<ProgramCache>,
}

impl Catalog {
    /// The definitions that were embedded when the binary was built.
    ///
    /// # Errors
    /// One of them does not load.
    pub fn embedded() -> Result<Self, Error> {
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        for path in Embedded::iter() {
            let Some((id, file)) = path.split_once('/') else {
                continue;
            };
            if !Folder::holds(file) {
                continue;
            }
            let Some(content) = Embedded::get(&path) else {
                continue;
            };
            let folder = folders.entry(id.to_owned()).or_insert_with(|| Folder {
                id: id.to_owned(),
                place: format!("destinations/{id}"),
                files: BTreeMap::new(),
            });
            let text =
                String::from_utf8(content.data.into_owned()).map_err(|_| Error::Definition {
                    place: format!("destinations/{path}"),
                    problem: "is no UTF-8 text".to_owned(),
                })?;
            folder.files.insert(file.to_owned(), text);
        }
        let mut catalog = Self::default();
        catalog.add(folders.into_values())?;
        Ok(catalog)
    }

    /// This catalog with the definitions of `dir` laid over it: each folder there adds a definition,
    /// or replaces the one of its id as a whole. One that does not load is [refused](Self::refused),
    /// alone.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn with_overlay(self, dir: &Path) -> Result<Self, Error> {
        Ok(self.with_folders(Folder::find_all(dir)?))
    }

    /// As [`Catalog::with_overlay`], of folders that were read before.
    #[must_use]
    pub fn with_folders(mut self, found: Vec<FoundFolder>) -> Self {
        for FoundFolder { id, folder } in found {
            let cache = Arc::clone(&self.cache);
            match folder.and_then(|folder| Definition::load_with(folder, cache)) {
                Ok(definition) => {
                    self.definitions.insert(id.clone(), Arc::new(definition));
                    self.refused.remove(&id);
                    self.overlaid.insert(id);
                }
                Err(error) => self.refuse(&id, error),
            }
        }
        self
    }

    /// Takes a definition out that turned out to be no good.
    pub fn refuse(&mut self, id: &str, error: Error) {
        self.definitions.remove(id);
        self.overlaid.remove(id);
        self.refused.insert(id.to_owned(), error);
    }

    /// Takes what was refused from the catalog that was in force before: the last good version stays.
    pub fn keep_from(&mut self, before: &Self) {
        for id in self.refused.keys() {
            if let Some(definition) = before.definitions.get(id) {
                self.definitions.insert(id.clone(), Arc::clone(definition));
            }
        }
    }

    /// The ids of folders that are no good, ascending, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &Error)> {
        self.refused.iter().map(|(id, error)| (id.as_str(), error))
    }

    /// Why there is no definition of this id, where its folder was refused.
    #[must_use]
    pub fn refusal(&self, id: &str) -> Option<&Error> {
        self.refused.get(id)
    }

    fn add(&mut self, folders: impl Iterator<Item = Folder>) -> Result<(), Error> {
        for folder in folders {
            let id = folder.id.clone();
            let definition = Definition::load_with(folder, Arc::clone(&self.cache))?;
            self.definitions.insert(id, Arc::new(definition));
        }
        Ok(())
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Definition>> {
        self.definitions.get(id).cloned()
    }

    /// All ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
    }

    /// All definitions, ascending by id.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.values()
    }

    /// The definitions that came from an operator's own directory, ascending by id.
    pub fn overlaid(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.overlaid
            .iter()
            .filter_map(|id| self.definitions.get(id))
    }

    /// The id that a mistyped one most likely meant, for errors.
    #[must_use]
    pub fn suggest(&self, id: &str) -> Option<&str> {
        nearest(id, self.ids())
    }
}

#[cfg(test)]
mod tests;
