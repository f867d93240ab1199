//! Variables that go before the file: `FAIRLANE__SECTION__KEY=value`.

use std::collections::BTreeMap;

use super::Environment;
use super::keys::{self, Key, Kind, SECTIONS};
use super::nearest::did_you_mean;
use super::problem::{Finder, Place};
use super::tree::{self, Node, Value};

/// What `FAIRLANE__SECTION__KEY` variables say, by section and key.
pub(super) struct Overrides(BTreeMap<(&'static str, &'static str), Node>);

impl Overrides {
    const PREFIX: &'static str = "FAIRLANE__";

    /// A variable with this prefix that names no key is a problem: it was meant to do something.
    pub(super) fn of(environment: &Environment, found: &mut Finder<'_>) -> Self {
        let mut overrides = BTreeMap::new();
        for (variable, text) in environment {
            let Some(path) = variable.strip_prefix(Self::PREFIX) else {
                continue;
            };
            let place = Place::Variable(variable.clone());
            let known = keys::all().filter(|key| is_section(key.section));
            let Some(key) = known.clone().find(|key| variable_path(*key) == path) else {
                let names: Vec<String> = known.map(variable_path).collect();
                let near = did_you_mean(path, names.iter().map(String::as_str));
                found.add(
                    &place,
                    format!(
                        "names no key: {}SECTION__KEY sets a key of [server], [log], \
                         [ingest], [delivery] or [catalog]{near}",
                        Self::PREFIX
                    ),
                );
                continue;
            };
            let literal = Node {
                value: Value::Text(text.clone()),
                place: place.clone(),
            };
            let node = match key.kind {
                Kind::Boolean | Kind::Count { .. } | Kind::Rate | Kind::Networks | Kind::Texts => {
                    tree::parse_value(text, &place, found).unwrap_or(literal)
                }
                _ => literal,
            };
            overrides.insert((key.section, key.name), node);
        }
        Self(overrides)
    }

    pub(super) fn get(&self, section: &'static str, key: &'static str) -> Option<&Node> {
        self.0.get(&(section, key))
    }
}

fn variable_path(key: Key) -> String {
    format!(
        "{}__{}",
        key.section.to_ascii_uppercase(),
        key.name.to_ascii_uppercase()
    )
}

fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == name)
}
