//! What a program sees: a path to anything else is a slip of the pen, which would be null for ever.

use vrl::path::{OwnedSegment, OwnedValuePath};

use crate::definition::settings::{SettingSpec, nearest};
use crate::origin::RECORD_MEMBERS;
use crate::program::scope::{JOBS, RECORD, RESPONSES, SETTINGS, STATUS};

/// Of an answer to a step, see `response_value` of the transformer.
const RESPONSE_MEMBERS: [&str; 3] = ["status", "headers", "body"];

#[derive(Debug, Clone, Copy)]
pub(in crate::program) enum Sees<'a> {
    /// `.` is the event: any path may be there.
    Root,
    Named {
        roots: &'static [&'static str],
        settings: &'a [SettingSpec],
    },
}

impl Sees<'_> {
    /// # Errors
    /// There is nothing at this path, whatever the event.
    pub(super) fn check(self, path: &OwnedValuePath) -> Result<(), String> {
        let Self::Named { roots, settings } = self else {
            return Ok(());
        };
        let Some((OwnedSegment::Field(root), rest)) = path.segments.split_first() else {
            let known: Vec<String> = roots.iter().map(|root| format!(".{root}")).collect();
            return Err(format!(
                "'.' alone means nothing here: write {}",
                known.join(", ")
            ));
        };
        let root = root.as_str();
        if !roots.contains(&root) {
            let known: Vec<String> = roots.iter().map(|root| format!(".{root}")).collect();
            let near = nearest(root, roots.iter().copied());
            return Err(format!(
                ".{root} is nothing that this program sees: there are {}{}",
                known.join(", "),
                meant(near.map(|near| format!(".{near}")))
            ));
        }
        match (root, rest) {
            (SETTINGS, [OwnedSegment::Field(name), ..]) => setting(name.as_str(), settings),
            (RECORD, [OwnedSegment::Field(name), ..]) => member(".record", name, &RECORD_MEMBERS),
            (RESPONSES, [OwnedSegment::Index(at), OwnedSegment::Field(name), ..]) => {
                member(&format!(".responses[{at}]"), name, &RESPONSE_MEMBERS)
            }
            (RESPONSES, [OwnedSegment::Field(name), ..]) => Err(format!(
                ".responses is a list: write .responses[0].{name} of the first answer"
            )),
            (SETTINGS | RECORD, [OwnedSegment::Index(_), ..]) => {
                Err(format!(".{root} is no list: write .{root}.NAME"))
            }
            (STATUS | JOBS, [_, ..]) => Err(format!(".{root} is a number: nothing is in it")),
            _ => Ok(()),
        }
    }
}

fn member(of: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    let near = nearest(name, known.iter().copied());
    Err(format!(
        "{of} has no {name}: it has {}{}",
        known.join(", "),
        meant(near.map(|near| format!("{of}.{near}")))
    ))
}

/// Secrets are seen as `has_<name>`, see `program_settings` of the binding.
fn setting(name: &str, settings: &[SettingSpec]) -> Result<(), String> {
    let seen = |spec: &SettingSpec| match spec.secret {
        true => format!("has_{}", spec.name),
        false => spec.name.clone(),
    };
    let names: Vec<String> = settings.iter().map(seen).collect();
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    if settings.iter().any(|spec| spec.secret && spec.name == name) {
        return Err(format!(
            ".settings.{name} is a secret, which no program sees: write \"{{{{secret.{name}}}}}\" where \
             the request needs it, and .settings.has_{name} to ask whether it is set"
        ));
    }
    let near = nearest(name, names.iter().map(String::as_str));
    Err(format!(
        ".settings.{name} is no setting: add [settings.{name}] to destination.toml{}",
        meant(near.map(|near| format!(".settings.{near}")))
    ))
}

fn meant(near: Option<String>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}
