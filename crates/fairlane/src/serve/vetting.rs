//! What only the catalog can say of a configuration: whether each destination's settings fit its
//! definition, and whether every program compiles.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use catalog::{
    Catalog, Definition, SettingProblem, Transformer, check_filter, check_ordering_key,
    check_transform, run_cases,
};

use crate::config::{Config, ConnectionEntry, DestinationEntry};

/// # Errors
/// Everything that is wrong, each with its line.
pub fn vet(config_path: &Path, config: &Config, catalog: &Catalog) -> anyhow::Result<()> {
    let file = config_path.display().to_string();
    let mut problems = Vec::new();
    for destination in &config.destinations {
        vet_destination(&file, destination, catalog, &mut problems);
    }
    let mut programs = Programs::default();
    for connection in &config.connections {
        programs.vet(&file, connection, &mut problems);
    }
    for definition in catalog.overlaid() {
        vet_overlaid(definition, &mut problems);
    }
    if problems.is_empty() {
        return Ok(());
    }
    anyhow::bail!("{}", problems.join("\n"))
}

/// Definitions of the operator's own must pass their cases; those in the binary have.
fn vet_overlaid(definition: &Arc<Definition>, problems: &mut Vec<String>) {
    let id = definition.id();
    for report in run_cases(definition) {
        let Some(failure) = report.failure else {
            continue;
        };
        problems.push(format!(
            "definition {id}: {}: case {:?} fails: {failure}\n(`fairlane destination test {id} \
             --overlay DIR` shows all, and --bless takes what the definition does now for right)",
            report.file, report.name
        ));
    }
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
            if let Err(error) = Transformer::new(definition, settings, &[], None, None) {
                problems.push(format!("{}: {error}", at(destination.line)));
            }
        }
        Err(wrong) => problems.extend(wrong.into_iter().map(wrong_setting)),
    }
}

/// Verdicts by program: many connections share few programs, and each is compiled once.
#[derive(Default)]
struct Programs<'a> {
    filters: HashMap<&'a str, Result<(), String>>,
    transforms: HashMap<&'a str, Result<(), String>>,
    keys: HashMap<&'a str, Result<(), String>>,
}

impl<'a> Programs<'a> {
    fn vet(&mut self, file: &str, connection: &'a ConnectionEntry, problems: &mut Vec<String>) {
        let name = &connection.name;
        if let Some(text) = &connection.filter {
            let said = |text: &str| check_filter(text).map_err(|error| error.to_string());
            if let Err(why) = self.filters.entry(text).or_insert_with(|| said(text)) {
                problems.push(format!(
                    "{file}:{}: filter of {name}: {why}",
                    connection.filter_line
                ));
            }
        }
        if let Some(text) = &connection.policy.ordering_key {
            let said = |text: &str| check_ordering_key(text).map_err(|error| error.to_string());
            if let Err(why) = self.keys.entry(text).or_insert_with(|| said(text)) {
                let line = connection.ordering_key_line;
                problems.push(format!("{file}:{line}: ordering_key of {name}: {why}"));
            }
        }
        if let Some(text) = &connection.transform {
            let said = |text: &str| check_transform(text).map_err(|error| error.to_string());
            if let Err(why) = self.transforms.entry(text).or_insert_with(|| said(text)) {
                let line = connection.transform_line;
                problems.push(format!("{file}:{line}: transform of {name}: {why}"));
            }
        }
    }
}
