//! What a program sees: a few named values side by side, none of which is copied for a run.

use std::collections::BTreeMap;

use vrl::compiler::{SecretTarget, Target};
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix};
use vrl::value::Value;

pub(crate) const EVENT: &str = "event";
/// The event as it came, as a JSON text.
pub(crate) const EVENT_JSON: &str = "event_json";
pub(crate) const SETTINGS: &str = "settings";
pub(crate) const RECORD: &str = "record";
pub(crate) const STATE: &str = "state";
pub(crate) const RESPONSES: &str = "responses";
pub(crate) const ENTRIES: &str = "entries";
pub(crate) const FIRST: &str = "first";
pub(crate) const GROUP: &str = "group";
pub(crate) const STATUS: &str = "status";
pub(crate) const HEADERS: &str = "headers";
pub(crate) const BODY: &str = "body";
pub(crate) const JOBS: &str = "jobs";

/// The root of a program that names its inputs: it has no value of its own.
static NOTHING: Value = Value::Object(BTreeMap::new());

#[derive(Debug)]
pub(crate) enum Scope<'a> {
    /// `.` is this value: filters and transforms.
    Root(&'a mut Value),
    /// `.event`, `.settings` and so on, by name.
    Named(Vec<(&'static str, Slot<'a>)>),
}

#[derive(Debug)]
pub(crate) enum Slot<'a> {
    Read(&'a Value),
    /// The program may change it.
    Change(&'a mut Value),
}

impl Slot<'_> {
    fn value(&self) -> &Value {
        match self {
            Self::Read(value) => value,
            Self::Change(value) => value,
        }
    }
}

impl Scope<'_> {
    /// The value that may be changed under a path's first name, and the rest of the path.
    fn changeable<'s, 'p>(
        &'s mut self,
        path: &'p OwnedTargetPath,
    ) -> Result<Option<(&'s mut Value, &'p [OwnedSegment])>, String> {
        if path.prefix == PathPrefix::Metadata {
            return Ok(None);
        }
        match self {
            Self::Root(value) => Ok(Some((value, &path.path.segments))),
            Self::Named(slots) => {
                let Some((name, rest)) = first_name(path) else {
                    return Err("'.' cannot be changed here".to_owned());
                };
                let slot = slots.iter_mut().find(|(known, _)| *known == name);
                match slot {
                    Some((_, Slot::Change(value))) => Ok(Some((value, rest))),
                    Some((_, Slot::Read(_))) => Err(format!(".{name} is read-only")),
                    None => Ok(None),
                }
            }
        }
    }
}

fn first_name(path: &OwnedTargetPath) -> Option<(&str, &[OwnedSegment])> {
    match path.path.segments.split_first() {
        Some((OwnedSegment::Field(name), rest)) => Some((name.as_str(), rest)),
        _ => None,
    }
}

impl Target for Scope<'_> {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        match self.changeable(path)? {
            Some((inside, rest)) => {
                inside.insert(rest, value);
                Ok(())
            }
            None => Err(format!("{path} cannot be set here")),
        }
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        if path.prefix == PathPrefix::Metadata {
            return Ok(None);
        }
        match self {
            Self::Root(value) => Ok(value.get(&path.path)),
            Self::Named(slots) => {
                let Some((name, rest)) = first_name(path) else {
                    return Ok(Some(&NOTHING));
                };
                let slot = slots.iter().find(|(known, _)| *known == name);
                Ok(slot.and_then(|(_, slot)| slot.value().get(rest)))
            }
        }
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Ok(self
            .changeable(path)?
            .and_then(|(inside, rest)| inside.get_mut(rest)))
    }

    fn target_remove(
        &mut self,
        path: &OwnedTargetPath,
        compact: bool,
    ) -> Result<Option<Value>, String> {
        Ok(self
            .changeable(path)?
            .and_then(|(inside, rest)| inside.remove(rest, compact)))
    }
}

/// Programs see no secrets: see `marks`.
impl SecretTarget for Scope<'_> {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _key: &str, _value: &str) {}

    fn remove_secret(&mut self, _key: &str) {}
}
