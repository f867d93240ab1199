//! Sources, destinations and connections: as configured, with their lines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use model::{Name, Policy, Settings};
use serde_json::Value as Json;

use super::Config;
use super::nearest::did_you_mean;
use super::problem::{Finder, Place};
use super::reader::{Inputs, Section};
use super::tree::{Node, Table, Value};

/// One of `[[sources]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceEntry {
    pub name: Name,
    pub write_keys: Vec<String>,
    pub enabled: bool,
    pub rate_limit_per_s: Option<u32>,
}

/// One of `[[destinations]]`.
#[derive(Clone, PartialEq)]
pub struct DestinationEntry {
    pub name: Name,
    /// The id of its definition; whether there is such a one only the catalog knows.
    pub definition: String,
    pub enabled: bool,
    /// As configured, not yet checked against the definition. May hold secrets: never shown.
    pub settings: Settings,
    /// Where it begins in the file, from 1, for errors found later.
    pub line: usize,
    /// Where each of its settings is.
    pub setting_lines: BTreeMap<String, usize>,
}

impl fmt::Debug for DestinationEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationEntry")
            .field("name", &self.name)
            .field("definition", &self.definition)
            .field("enabled", &self.enabled)
            .field("settings", &self.settings.names().collect::<Vec<_>>())
            .field("line", &self.line)
            .finish()
    }
}

/// One of `[[connections]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionEntry {
    pub name: Name,
    pub source: Name,
    pub destination: Name,
    pub enabled: bool,
    pub filter: Option<String>,
    pub transform: Option<String>,
    pub policy: Policy,
    /// Where it begins in the file, from 1, for errors found later.
    pub line: usize,
    /// Where its filter is given, or the file that holds it named.
    pub filter_line: usize,
    pub transform_line: usize,
    pub ordering_key_line: usize,
}

/// Reads the three lists into `config`, whose sections have been read already.
pub(super) fn read(config: &mut Config, inputs: &Inputs<'_>, root: &Table, found: &mut Finder<'_>) {
    let mut keys = Seen::default();
    let mut names = Seen::default();
    for (table, place) in tables("sources", root, found) {
        let mut section = inputs.table("sources", table, place, found);
        config
            .sources
            .extend(source(&mut section, &mut names, &mut keys));
    }
    let mut names = Seen::default();
    for (table, place) in tables("destinations", root, found) {
        let mut section = inputs.table("destinations", table, place, found);
        config
            .destinations
            .extend(destination(&mut section, &mut names));
    }
    let known = Known {
        sources: names_in(
            root,
            "sources",
            config.sources.iter().map(|entry| &entry.name),
        ),
        destinations: names_in(
            root,
            "destinations",
            config.destinations.iter().map(|entry| &entry.name),
        ),
        policy: config.delivery.policy.clone(),
    };
    let mut names = Seen::default();
    for (table, place) in tables("connections", root, found) {
        let mut section = inputs.table("connections", table, place, found);
        config
            .connections
            .extend(connection(&mut section, &mut names, &known));
    }
}

/// What has been seen, and where: names and write keys must be unique.
#[derive(Default)]
struct Seen(HashMap<String, Place>);

impl Seen {
    /// Adds `text`; says where it was before, if it was.
    fn add(&mut self, text: &str, place: &Place) -> Option<Place> {
        self.0.insert(text.to_owned(), place.clone())
    }
}

/// What connections refer to. Names of entries that are wrong in other ways count, too: one
/// problem should not cause another.
struct Known {
    sources: HashSet<String>,
    destinations: HashSet<String>,
    /// What a connection has that does not say its own.
    policy: Policy,
}

fn names_in<'n>(root: &Table, list: &str, good: impl Iterator<Item = &'n Name>) -> HashSet<String> {
    let mut names: HashSet<String> = good.map(|name| name.as_str().to_owned()).collect();
    let Some(Value::List(items)) = root.get(list).map(|entry| &entry.node.value) else {
        return names;
    };
    for item in items {
        if let Value::Table(table) = &item.value
            && let Some(Value::Text(name)) = table.get("name").map(|entry| &entry.node.value)
        {
            names.insert(name.clone());
        }
    }
    names
}

fn tables<'a>(list: &str, root: &'a Table, found: &mut Finder<'_>) -> Vec<(&'a Table, Place)> {
    let Some(Value::List(items)) = root.get(list).map(|entry| &entry.node.value) else {
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in items {
        match &item.value {
            Value::Table(table) => tables.push((table, item.place.clone())),
            other => {
                let kind = other.kind();
                found.add(
                    &item.place,
                    format!("{list} holds {kind}: write [[{list}]] for each"),
                );
            }
        }
    }
    tables
}

fn source(
    section: &mut Section<'_, '_, '_>,
    names: &mut Seen,
    keys: &mut Seen,
) -> Option<SourceEntry> {
    let name = unique_name(section, "source", names);
    let mut write_keys = section.texts("write_keys");
    if let Some(node) = section.node("write_key") {
        let key = section.text("write_key");
        write_keys.extend(key.map(|key| (key, node.place.clone())));
    }
    let named = section.node("write_key").is_some() || !write_keys.is_empty();
    let place = section.place.clone();
    if !named {
        section.problem(
            &place,
            "a source needs a write_key: any text that clients will send",
        );
    }
    for (key, place) in &write_keys {
        let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b':' | b'/' | b'"' | b'\\');
        if key.is_empty() || key.len() > WRITE_KEY_BYTES_MAX || !key.bytes().all(allowed) {
            let rule = "no write key: use 1 to 128 letters, digits or signs, without blanks, ':', \
                        '/', '\\' and quotes";
            section.problem(place, rule);
        } else if let Some(before) = keys.add(key, place) {
            let line = section.found.line_of(&before);
            let message = format!("this write key is already that of the source at {line}");
            section.problem(place, message);
        }
    }
    let mut enabled = true;
    section.boolean("enabled", &mut enabled);
    Some(SourceEntry {
        name: name?,
        write_keys: write_keys.into_iter().map(|(key, _)| key).collect(),
        enabled,
        rate_limit_per_s: section.count_u32_if_set("rate_limit_per_s"),
    })
}

/// Longer keys only cost memory for every request that is looked up.
const WRITE_KEY_BYTES_MAX: usize = 128;

fn destination(section: &mut Section<'_, '_, '_>, names: &mut Seen) -> Option<DestinationEntry> {
    let name = unique_name(section, "destination", names);
    let definition = section.text("type");
    if section.node("type").is_none() {
        let place = section.place.clone();
        section.problem(
            &place,
            "a destination needs a type, such as \"webhook\": `fairlane destination list` shows all",
        );
    }
    let mut enabled = true;
    section.boolean("enabled", &mut enabled);
    let mut settings = BTreeMap::new();
    let mut setting_lines = BTreeMap::new();
    match section.node("settings") {
        None => {}
        Some(Node {
            value: Value::Table(table),
            ..
        }) => {
            for entry in &table.entries {
                let line = section.found.line(&entry.key_place).unwrap_or_default();
                setting_lines.insert(entry.key.clone(), line);
                settings.insert(entry.key.clone(), json(section, &entry.node));
            }
        }
        Some(node) => {
            let message = format!(
                "settings is {}: write {{ name = value }}",
                node.value.kind()
            );
            section.problem(&node.place, message);
        }
    }
    let line = section.found.line(&section.place).unwrap_or_default();
    let (name, definition) = (name?, definition?);
    Some(DestinationEntry {
        name,
        definition,
        enabled,
        settings: settings.into(),
        line,
        setting_lines,
    })
}

fn json(section: &mut Section<'_, '_, '_>, node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => section
            .resolve_text(text, &node.place)
            .map_or(Json::Null, Json::String),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(boolean) => Json::from(*boolean),
        Value::Time => {
            section.problem(&node.place, "no setting takes a date: put it in quotes");
            Json::Null
        }
        Value::List(items) => items.iter().map(|item| json(section, item)).collect(),
        Value::Table(table) => {
            let entries = table.entries.iter();
            Json::Object(
                entries
                    .map(|entry| (entry.key.clone(), json(section, &entry.node)))
                    .collect(),
            )
        }
    }
}

fn connection(
    section: &mut Section<'_, '_, '_>,
    names: &mut Seen,
    known: &Known,
) -> Option<ConnectionEntry> {
    let source = reference(section, "source", &known.sources);
    let destination = reference(section, "destination", &known.destinations);
    let name = connection_name(section, names, source.as_ref(), destination.as_ref());
    let (filter, filter_line) = program(section, "filter", "filter_file");
    let (transform, transform_line) = program(section, "transform", "transform_file");
    let mut enabled = true;
    section.boolean("enabled", &mut enabled);
    let policy = section.policy();
    section.check_policy(&policy, &known.policy);
    let ordering_key = section.node("ordering_key");
    let ordering_key_line = ordering_key.and_then(|node| section.found.line(&node.place));
    let line = section.found.line(&section.place).unwrap_or_default();
    Some(ConnectionEntry {
        name: name?,
        source: source?,
        destination: destination?,
        enabled,
        filter,
        transform,
        policy,
        ordering_key_line: ordering_key_line.unwrap_or(line),
        line,
        filter_line: filter_line.unwrap_or(line),
        transform_line: transform_line.unwrap_or(line),
    })
}

/// A connection's own name, or the one made of the two that it connects.
fn connection_name(
    section: &mut Section<'_, '_, '_>,
    names: &mut Seen,
    source: Option<&Name>,
    destination: Option<&Name>,
) -> Option<Name> {
    if section.node("name").is_some() {
        return unique_name(section, "connection", names);
    }
    let text = format!("{}:{}", source?, destination?);
    let place = section.place.clone();
    let Ok(name) = Name::new(&text) else {
        section.problem(
            &place,
            format!("{text:?} is too long for a name: give it a name"),
        );
        return None;
    };
    if let Some(before) = names.add(&text, &place) {
        let line = section.found.line_of(&before);
        section.problem(
            &place,
            format!("{text:?} is already the connection at {line}: give this one a name"),
        );
    }
    Some(name)
}

fn unique_name(section: &mut Section<'_, '_, '_>, what: &str, names: &mut Seen) -> Option<Name> {
    let Some(node) = section.node("name") else {
        let place = section.place.clone();
        section.problem(&place, format!("a {what} needs a name"));
        return None;
    };
    let text = section.text("name")?;
    match Name::new(&text) {
        Ok(name) => {
            if let Some(before) = names.add(&text, &node.place) {
                let line = section.found.line_of(&before);
                let message = format!("{text:?} is already the {what} at {line}: names are unique");
                section.problem(&node.place, message);
            }
            Some(name)
        }
        Err(error) => {
            section.problem(&node.place, error);
            None
        }
    }
}

fn reference(
    section: &mut Section<'_, '_, '_>,
    key: &'static str,
    known: &HashSet<String>,
) -> Option<Name> {
    let Some(node) = section.node(key) else {
        let place = section.place.clone();
        section.problem(&place, format!("a connection needs a {key}"));
        return None;
    };
    let text = section.text(key)?;
    if !known.contains(&text) {
        let near = did_you_mean(&text, known.iter().map(String::as_str));
        let message = format!("there is no {key} {text:?}: add it under [[{key}s]]{near}");
        section.problem(&node.place, message);
        return None;
    }
    // A name that is wrong was said to be so where it is defined.
    Name::new(&text).ok()
}

/// VRL that is given here or in a file, and the line that says so.
fn program(
    section: &mut Section<'_, '_, '_>,
    inline: &'static str,
    in_file: &'static str,
) -> (Option<String>, Option<usize>) {
    let here = section.code(inline);
    let Some(node) = section.node(in_file) else {
        let line = section
            .node(inline)
            .and_then(|node| section.found.line(&node.place));
        return (here, line);
    };
    let line = section.found.line(&node.place);
    if section.node(inline).is_some() {
        let message = format!("{inline} is given as well: keep one of {inline} and {in_file}");
        section.problem(&node.place, message);
    }
    let Some(file) = section.path_if_set(in_file) else {
        return (None, line);
    };
    match (section.inputs.read_program)(Path::new(&file)) {
        Ok(text) => (Some(text), line),
        Err(why) => {
            section.problem(&node.place, format!("{} {why}", file.display()));
            (None, line)
        }
    }
}
