//! What only the catalog can say of a configuration: whether each destination's settings fit its
//! definition, whether its batches fit the lanes' windows, and whether every program compiles.

mod windows;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use catalog::{Catalog, Definition, Error, SettingProblem, Transformer, run_cases};

use crate::command::vet::Unit;
use crate::config::{Config, ConnectionEntry, DestinationEntry};

/// What a process apart says of programs, as [`super::apart::vet`] does.
pub type Apart<'a> = dyn Fn(&[Unit]) -> anyhow::Result<Vec<Option<String>>> + 'a;

/// What a configuration is held against the catalog for.
#[derive(Clone, Copy)]
pub enum Moment<'a> {
    /// A person asks: everything is told.
    Check,
    /// A definition of an operator's own that is no good holds the lanes of its destinations, and
    /// stops nobody else; so does one that is gone, or does not fit, where it was in use when the
    /// process ran last.
    Start(&'a dyn Fn(&str) -> bool),
    /// As at a start; but of a definition that is no good any more, is gone, or does not fit its
    /// destinations' settings any more, the version in force stays.
    Reload(&'a Catalog),
}

/// Definitions of an operator's own that fail their cases are taken out of the catalog.
///
/// # Errors
/// Everything that is wrong, each with its line.
pub fn vet(
    config_path: &Path,
    config: &Config,
    catalog: &mut Catalog,
    moment: Moment<'_>,
    apart: &Apart<'_>,
) -> anyhow::Result<()> {
    let file = config_path.display().to_string();
    let overlaid: Vec<Arc<Definition>> = catalog.overlaid().cloned().collect();
    for definition in overlaid {
        if let Some(error) = failed_case(&definition) {
            catalog.refuse(definition.id(), error);
        }
    }
    if let Moment::Reload(before) = moment {
        for destination in &config.destinations {
            if let Some(error) = lost(&file, destination, catalog, before) {
                catalog.refuse(&destination.definition, error);
            }
        }
        catalog.keep_from(before);
    }
    if let Moment::Start(was_used) = moment {
        for destination in &config.destinations {
            let id = &destination.definition;
            if catalog.get(id).is_none() && catalog.refusal(id).is_none() && was_used(id) {
                catalog.refuse(id, gone(id));
            }
        }
    }
    let mut problems = Vec::new();
    for destination in &config.destinations {
        if catalog.refusal(&destination.definition).is_none() || matches!(moment, Moment::Check) {
            let mut wrong = Vec::new();
            vet_destination(&file, destination, catalog, &mut wrong);
            if !wrong.is_empty() && is_forgiven(destination, catalog, moment) {
                tracing::error!("its lanes are held: {}", wrong.join("; "));
            } else {
                problems.append(&mut wrong);
            }
        } else if let Some(kept) = catalog.get(&destination.definition) {
            let told = problems.len();
            fit(&file, destination, &kept, &mut problems);
            if problems.len() > told
                && let Some(error) = catalog.refusal(&destination.definition)
            {
                // What the settings do not fit is the version in force: say why that one stays.
                problems.insert(told, format!("{file}:{}: {error}", destination.line));
            }
        }
    }
    windows::vet(&file, config, catalog, &mut problems);
    let programs = Programs::compile(&config.connections, apart)?;
    for connection in &config.connections {
        programs.report(&file, connection, &mut problems);
    }
    if problems.is_empty() {
        return Ok(());
    }
    anyhow::bail!("{}", problems.join("\n"))
}

/// Definitions of the operator's own must pass their cases; those in the binary have.
fn failed_case(definition: &Arc<Definition>) -> Option<Error> {
    let id = definition.id();
    let mut reports = run_cases(definition).into_iter();
    reports.find_map(|report| {
        let failure = report.failure?;
        Some(Error::Definition {
            place: format!("definition {id}: {}", report.file),
            problem: format!(
                "case {:?} fails: {failure}\n(`fairlane destination test {id} --overlay DIR` shows \
                 all)",
                report.name
            ),
        })
    })
}

fn gone(id: &str) -> Error {
    Error::Definition {
        place: format!("definition {id}"),
        problem: "its folder is gone".to_owned(),
    }
}

/// Whether what is wrong of a destination may be its definition's fault, which was another when the
/// process ran last: its lanes alone are held.
fn is_forgiven(destination: &DestinationEntry, catalog: &Catalog, moment: Moment<'_>) -> bool {
    let id = &destination.definition;
    let Moment::Start(was_used) = moment else {
        return false;
    };
    catalog.overlaid().any(|own| own.id() == id) && was_used(id)
}

/// Why the definition in force must stay for this destination, which does nothing wrong itself.
fn lost(
    file: &str,
    destination: &DestinationEntry,
    catalog: &Catalog,
    before: &Catalog,
) -> Option<Error> {
    let id = &destination.definition;
    let old = before.get(id)?;
    let problem = match catalog.get(id) {
        None if catalog.refusal(id).is_some() => return None,
        None => return Some(gone(id)),
        Some(new) if new.does_the_same(&old) => return None,
        Some(new) => {
            let (mut now, mut then) = (Vec::new(), Vec::new());
            fit(file, destination, &new, &mut now);
            fit(file, destination, &old, &mut then);
            if !then.is_empty() {
                return None;
            }
            now.into_iter().next()?
        }
    };
    let place = format!("definition {id}");
    Some(Error::Definition { place, problem })
}

fn vet_destination(
    file: &str,
    destination: &DestinationEntry,
    catalog: &Catalog,
    problems: &mut Vec<String>,
) {
    let at = |line: usize| format!("{file}:{line}: destination {}", destination.name);
    let kind = &destination.definition;
    let Some(definition) = catalog.get(kind) else {
        if let Some(error) = catalog.refusal(kind) {
            problems.push(format!("{}: {error}", at(destination.line)));
            return;
        }
        let near = catalog.suggest(kind);
        let near = near
            .map(|near| format!(", did you mean {near:?}?"))
            .unwrap_or_default();
        problems.push(format!(
            "{}: there is no destination type {kind:?}{near} (`fairlane destination list` shows all)",
            at(destination.line)
        ));
        return;
    };
    fit(file, destination, &definition, problems);
}

/// Whether a destination's settings fit its definition.
fn fit(
    file: &str,
    destination: &DestinationEntry,
    definition: &Arc<Definition>,
    problems: &mut Vec<String>,
) {
    let at = |line: usize| format!("{file}:{line}: destination {}", destination.name);
    let kind = &destination.definition;
    if let Err(problem) = delivery::senders::has(definition.sender()) {
        problems.push(format!(
            "{}: type {kind:?}: {problem}",
            at(destination.line)
        ));
    }
    let wrong_setting = |problem: SettingProblem| {
        let line = destination.setting_lines.get(&problem.setting);
        format!(
            "{}: setting {problem}",
            at(*line.unwrap_or(&destination.line))
        )
    };
    match definition.check_settings(&destination.settings) {
        Ok(settings) => {
            let token = definition.check_token(&settings);
            problems.extend(token.err().map(wrong_setting));
            // A Transformer is what delivery will make of it: whatever fails there fails here.
            if let Err(error) = Transformer::new(Arc::clone(definition), settings, &[], None, None)
            {
                problems.push(format!("{}: {error}", at(destination.line)));
            }
        }
        Err(wrong) => problems.extend(wrong.into_iter().map(wrong_setting)),
    }
}

/// The programs of connections, and what is wrong with each: many connections share few programs, and
/// each is compiled once. First in a process apart, then here.
struct Programs(HashMap<Unit, Option<String>>);

impl Programs {
    fn compile(connections: &[ConnectionEntry], apart: &Apart<'_>) -> anyhow::Result<Self> {
        let mut verdicts = HashMap::new();
        for connection in connections {
            for (unit, ..) in units_of(connection) {
                verdicts.entry(unit).or_insert(None);
            }
        }
        let units: Vec<Unit> = verdicts.keys().cloned().collect();
        let ended = apart(&units)?;
        for (unit, ended) in units.into_iter().zip(ended) {
            let verdict = ended.or_else(|| check(&unit));
            verdicts.insert(unit, verdict);
        }
        Ok(Self(verdicts))
    }

    fn report(&self, file: &str, connection: &ConnectionEntry, problems: &mut Vec<String>) {
        let name = &connection.name;
        for (unit, what, line) in units_of(connection) {
            if let Some(Some(why)) = self.0.get(&unit) {
                problems.push(format!("{file}:{line}: {what} of {name}: {why}"));
            }
        }
    }
}

/// Programs that were found good: a reload compiles only what has changed.
static GOOD: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
/// So many are remembered.
const GOOD_MAX: usize = 100_000;

/// What is wrong with a program, if something is.
fn check(unit: &Unit) -> Option<String> {
    let mut hasher = DefaultHasher::new();
    unit.hash(&mut hasher);
    let hash = hasher.finish();
    // A set of hashes is whole after any panic.
    let good = || GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    if good().contains(&hash) {
        return None;
    }
    if let Err(problem) = unit.check() {
        return Some(problem.to_string());
    }
    let mut good = good();
    if good.len() >= GOOD_MAX {
        good.clear();
    }
    good.insert(hash);
    None
}

/// A connection's programs, with what it calls them and their lines.
fn units_of(connection: &ConnectionEntry) -> impl Iterator<Item = (Unit, &'static str, usize)> {
    let filter = connection.filter.clone().map(Unit::Filter);
    let key = connection.policy.ordering_key.clone();
    let transform = connection.transform.clone().map(Unit::Transform);
    [
        filter.map(|unit| (unit, "filter", connection.filter_line)),
        key.map(|key| {
            let line = connection.ordering_key_line;
            (Unit::OrderingKey(key), "ordering_key", line)
        }),
        transform.map(|unit| (unit, "transform", connection.transform_line)),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
