//! The catalog: all definitions, from the binary and from an operator's own directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::definition::settings::nearest;
use crate::definition::{Definition, Folder};
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
    /// or replaces the one of its id as a whole.
    ///
    /// # Errors
    /// The directory cannot be read, or one of its definitions does not load.
    pub fn with_overlay(self, dir: &Path) -> Result<Self, Error> {
        self.with_folders(Folder::read_all(dir)?)
    }

    /// As [`Catalog::with_overlay`], of folders that were read before.
    ///
    /// # Errors
    /// One of the definitions does not load.
    pub fn with_folders(mut self, folders: Vec<Folder>) -> Result<Self, Error> {
        self.overlaid
            .extend(folders.iter().map(|folder| folder.id.clone()));
        self.add(folders.into_iter())?;
        Ok(self)
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
