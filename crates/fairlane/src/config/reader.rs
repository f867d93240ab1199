//! Reads one section's keys into fields, each by its [`Kind`], and adds what is wrong to the
//! problems. A key that is wrong or missing leaves the field at its default.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use model::Secret;

use super::keys::{self, ALSO_KNOWN_AS, Kind, LISTS, RATE_PER_S_MIN, SECTIONS};
use super::nearest::did_you_mean;
use super::overrides::Overrides;
use super::problem::{Finder, Place};
use super::substitute::substitute;
use super::tree::{Entry, Node, Table, Value};
use super::units::{parse_bytes, parse_duration_ms, show_bytes, show_duration};
use super::{Environment, Secrets};

/// What reading needs beside the file itself.
pub(super) struct Inputs<'a> {
    pub(super) environment: &'a Environment,
    pub(super) secrets: &'a Secrets<'a>,
    pub(super) overrides: &'a Overrides,
    pub(super) read_program: &'a dyn Fn(&Path) -> Result<String, String>,
    /// The configuration's own file.
    pub(super) path: &'a Path,
}

/// Finds top-level names that are none, and those of the wrong shape.
pub(super) fn check_tables(root: &Table, found: &mut Finder<'_>) {
    let names = || SECTIONS.iter().chain(LISTS).map(|(name, _)| *name);
    for entry in &root.entries {
        let name = entry.key.as_str();
        let is_list = LISTS.iter().any(|(list, _)| *list == name);
        match &entry.node.value {
            _ if !names().any(|known| known == name) => {
                let near = match other_name(name, names()) {
                    near if near.is_empty() => {
                        format!("; there are: {}", names().collect::<Vec<_>>().join(", "))
                    }
                    near => near,
                };
                found.add(&entry.key_place, format!("no section {name:?}{near}"));
            }
            Value::Table(_) if is_list => {
                found.add(
                    &entry.key_place,
                    format!("write [[{name}]], once for each of them"),
                );
            }
            Value::List(_) if is_list => {}
            Value::Table(_) => {}
            other => {
                let kind = other.kind();
                let how = if is_list {
                    format!("[[{name}]]")
                } else {
                    format!("[{name}]")
                };
                found.add(
                    &entry.key_place,
                    format!("{name} is {kind}: write {how} above its keys"),
                );
            }
        }
    }
}

fn other_name<'n>(word: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let alias = ALSO_KNOWN_AS
        .iter()
        .find(|(other, here)| *other == word && known.clone().any(|name| name == *here));
    match alias {
        Some((_, here)) => format!("; here it is {here:?}"),
        None => did_you_mean(word, known),
    }
}

static NO_TABLE: Table = Table {
    entries: Vec::new(),
};

impl<'a> Inputs<'a> {
    /// The section `name`, empty where the file has none.
    pub(super) fn section<'f, 't>(
        &'a self,
        name: &'static str,
        root: &'a Table,
        found: &'f mut Finder<'t>,
    ) -> Section<'a, 'f, 't> {
        let mut section = self.unchecked_section(name, root, found);
        section.find_unknown_keys();
        section
    }

    /// The same where only some of its keys are of interest.
    pub(super) fn unchecked_section<'f, 't>(
        &'a self,
        name: &'static str,
        root: &'a Table,
        found: &'f mut Finder<'t>,
    ) -> Section<'a, 'f, 't> {
        let entry = root.get(name);
        let table = match entry.map(|entry| &entry.node.value) {
            Some(Value::Table(table)) => table,
            _ => &NO_TABLE,
        };
        let place = entry.map_or(Place::File(0..0), |entry| entry.key_place.clone());
        Section {
            name,
            table,
            place,
            inputs: self,
            found,
        }
    }

    /// One table of the list `name`, which stands at `place`.
    pub(super) fn table<'f, 't>(
        &'a self,
        name: &'static str,
        table: &'a Table,
        place: Place,
        found: &'f mut Finder<'t>,
    ) -> Section<'a, 'f, 't> {
        let mut section = Section {
            name,
            table,
            place,
            inputs: self,
            found,
        };
        section.find_unknown_keys();
        section
    }
}

/// One section, being read.
pub(super) struct Section<'a, 'f, 't> {
    name: &'static str,
    table: &'a Table,
    pub(super) place: Place,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) found: &'f mut Finder<'t>,
}

/// A text and whether it came by a variable: then it may stand for a number, too.
struct Given {
    text: String,
    by_variable: bool,
}

impl<'a> Section<'a, '_, '_> {
    fn find_unknown_keys(&mut self) {
        let (name, table) = (self.name, self.table);
        for Entry { key, key_place, .. } in &table.entries {
            if !keys::of(name).any(|known| known.name == key) {
                let near = other_name(key, keys::of(name).map(|known| known.name));
                let all = "docs/reference/configuration.md lists all";
                self.problem(
                    key_place,
                    format!("no key {key:?} in [{name}]{near} ({all})"),
                );
            }
        }
    }

    pub(super) fn node(&self, key: &'static str) -> Option<&'a Node> {
        let overridden = self.inputs.overrides.get(self.name, key);
        overridden.or_else(|| self.table.get(key).map(|entry| &entry.node))
    }

    /// The lines of those that the file says.
    pub(super) fn lines(&self, keys: &[&'static str]) -> BTreeMap<&'static str, usize> {
        let line = |key: &&'static str| Some((*key, self.found.line(&self.node(key)?.place)?));
        keys.iter().filter_map(line).collect()
    }

    pub(super) fn problem(&mut self, place: &Place, message: impl Display) {
        self.found.add(place, message.to_string());
    }

    /// Adds a problem if `wrong`, at the key's value.
    pub(super) fn refuse_if(&mut self, wrong: bool, key: &'static str, message: impl Display) {
        if wrong {
            let place = self
                .node(key)
                .map_or(self.place.clone(), |node| node.place.clone());
            self.problem(&place, message);
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |given| Ok(given.text), "a string")
    }

    pub(super) fn secret(&mut self, key: &'static str, field: &mut Option<Secret>) {
        if let Some(text) = self.text(key) {
            *field = Some(Secret::new(text));
        }
    }

    pub(super) fn address(&mut self, key: &'static str, field: &mut SocketAddr) {
        let how = "give an address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        let read = |given: Given| given.text.parse().map_err(|_| format!("no address: {how}"));
        self.set(key, field, read, "a string");
    }

    pub(super) fn path(&mut self, key: &'static str, field: &mut PathBuf) {
        let read = |given: Given| match given.text.as_str() {
            "" => Err("an empty path: leave the key out for the default".to_owned()),
            text => Ok(PathBuf::from(text)),
        };
        self.set(key, field, read, "a string");
    }

    pub(super) fn path_if_set(&mut self, key: &'static str) -> Option<PathBuf> {
        self.node(key)?;
        let mut path = PathBuf::new();
        self.path(key, &mut path);
        Some(path).filter(|path| !path.as_os_str().is_empty())
    }

    pub(super) fn boolean(&mut self, key: &'static str, field: &mut bool) {
        if let Some(Node {
            value: Value::Boolean(boolean),
            ..
        }) = self.node(key)
        {
            *field = *boolean;
            return;
        }
        self.set(
            key,
            field,
            |given| match given.text.as_str() {
                "true" if given.by_variable => Ok(true),
                "false" if given.by_variable => Ok(false),
                _ => Err("write true or false, without quotes".to_owned()),
            },
            "true or false",
        );
    }

    /// Milliseconds.
    pub(super) fn duration(&mut self, key: &'static str, field: &mut u64) {
        let Kind::Duration { min_ms, max_ms } = self.kind(key) else {
            return;
        };
        let read = |given: Given| {
            let ms = parse_duration_ms(&given.text)?;
            in_range(ms, min_ms, max_ms, show_duration)
        };
        self.set(key, field, read, "a time such as \"30s\"");
    }

    pub(super) fn duration_if_set(&mut self, key: &'static str) -> Option<u64> {
        self.if_set(key, Self::duration)
    }

    pub(super) fn bytes(&mut self, key: &'static str, field: &mut u64) {
        let Kind::Bytes { min, max } = self.kind(key) else {
            return;
        };
        if let Some(Node {
            value: Value::Integer(number),
            place,
        }) = self.node(key)
        {
            let checked = non_negative(*number)
                .and_then(|number| in_range(number, min, max, show_bytes))
                .map(|number| *field = number);
            if let Err(message) = checked {
                self.problem(place, message);
            }
            return;
        }
        let read =
            |given: Given| parse_bytes(&given.text).and_then(|n| in_range(n, min, max, show_bytes));
        self.set(key, field, read, "a size such as \"64MiB\"");
    }

    pub(super) fn count(&mut self, key: &'static str, field: &mut u64) {
        let Kind::Count { min, max } = self.kind(key) else {
            return;
        };
        let checked = |number: u64| in_range(number, min, max, |number| number.to_string());
        if let Some(Node {
            value: Value::Integer(number),
            place,
        }) = self.node(key)
        {
            match non_negative(*number).and_then(checked) {
                Ok(number) => *field = number,
                Err(message) => self.problem(place, message),
            }
            return;
        }
        let read = |given: Given| match given.text.parse() {
            Ok(number) if given.by_variable => checked(number),
            _ => Err("write an integer, without quotes".to_owned()),
        };
        self.set(key, field, read, "an integer");
    }

    pub(super) fn count_if_set(&mut self, key: &'static str) -> Option<u64> {
        self.if_set(key, Self::count)
    }

    pub(super) fn bytes_if_set(&mut self, key: &'static str) -> Option<u64> {
        self.if_set(key, Self::bytes)
    }

    /// One of the words that the key takes.
    pub(super) fn choice_if_set(&mut self, key: &'static str) -> Option<String> {
        let Kind::Choice(words) = self.kind(key) else {
            return None;
        };
        self.node(key)?;
        let read = |given: Given| {
            if words.contains(&given.text.as_str()) {
                return Ok(given.text);
            }
            let near = did_you_mean(&given.text, words.iter().copied());
            let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            Err(format!(
                "{:?} is not one of {}{near}",
                given.text,
                words.join(", ")
            ))
        };
        self.read(key, read, "a string")
    }

    /// The same where the model wants a smaller type; the key's range keeps it within.
    pub(super) fn count_u32_if_set(&mut self, key: &'static str) -> Option<u32> {
        self.count_if_set(key)
            .and_then(|count| u32::try_from(count).ok())
    }

    pub(super) fn rate_if_set(&mut self, key: &'static str) -> Option<f64> {
        let node = self.node(key)?;
        let number = match &node.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            _ => self.read(
                key,
                |given| given.text.parse().map_err(|_| String::new()),
                "a number",
            ),
        };
        let number = number.filter(|number| number.is_finite() && *number >= RATE_PER_S_MIN);
        self.refuse_if(
            number.is_none(),
            key,
            format!(
                "write a number of at least {RATE_PER_S_MIN} (about one request an hour), such as 10 \
                 or 0.5"
            ),
        );
        number
    }

    pub(super) fn networks(&mut self, key: &'static str, field: &mut Vec<IpNet>) {
        let mut networks = Vec::new();
        for (text, place) in self.texts(key) {
            let range = text.parse::<IpNet>().ok();
            let range = range.or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
            match range {
                Some(range) => networks.push(range),
                None => self.problem(
                    &place,
                    "no address range: write it as in \"10.0.0.0/8\" or \"fd00::/8\"",
                ),
            }
        }
        if self.node(key).is_some() {
            *field = networks;
        }
    }

    /// A list of texts, each with its place; empty where the key is not set.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<(String, Place)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let message = format!(
                "{key} is {}: give a list, as in [\"..\"]",
                node.value.kind()
            );
            self.problem(&node.place, message);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => {
                    let given = self.resolve(text, &item.place);
                    texts.extend(given.map(|given| (given.text, item.place.clone())));
                }
                other => {
                    let message = format!("{key} holds {}: give strings", other.kind());
                    self.problem(&item.place, message);
                }
            }
        }
        texts
    }

    /// The text as it stands: nothing is put in.
    pub(super) fn code(&mut self, key: &'static str) -> Option<String> {
        let node = self.node(key)?;
        if let Value::Text(text) = &node.value {
            return Some(text.clone());
        }
        let message = format!("{key} is {}: give VRL as a string", node.value.kind());
        self.problem(&node.place, message);
        None
    }

    /// A text with its variables put in.
    pub(super) fn resolve_text(&mut self, text: &str, place: &Place) -> Option<String> {
        self.resolve(text, place).map(|given| given.text)
    }

    fn if_set(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str, &mut u64),
    ) -> Option<u64> {
        self.node(key)?;
        // Reading leaves the field alone where the value is wrong; no key's range reaches this.
        let mut number = u64::MAX;
        read(self, key, &mut number);
        Some(number).filter(|number| *number != u64::MAX)
    }

    fn set<T>(
        &mut self,
        key: &'static str,
        field: &mut T,
        read: impl FnOnce(Given) -> Result<T, String>,
        wants: &str,
    ) {
        if let Some(value) = self.read(key, read, wants) {
            *field = value;
        }
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Given) -> Result<T, String>,
        wants: &str,
    ) -> Option<T> {
        let node = self.node(key)?;
        let Value::Text(text) = &node.value else {
            let message = format!("{key} is {}: give {wants}", node.value.kind());
            self.problem(&node.place, message);
            return None;
        };
        match read(self.resolve(text, &node.place)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(&node.place, message);
                None
            }
        }
    }

    fn resolve(&mut self, text: &str, place: &Place) -> Option<Given> {
        if matches!(place, Place::Variable(_)) {
            // Who sets a variable has put in already what should be in it.
            return Some(Given {
                text: text.to_owned(),
                by_variable: true,
            });
        }
        match substitute(text, self.inputs) {
            Ok(done) => Some(Given {
                text: done.text,
                by_variable: done.changed,
            }),
            Err(wrong) => {
                wrong
                    .into_iter()
                    .for_each(|message| self.problem(place, message));
                None
            }
        }
    }

    fn kind(&self, name: &'static str) -> Kind {
        let key = keys::of(self.name).find(|key| key.name == name);
        key.expect("the example's test reads every key, so each one is in KEYS")
            .kind
    }
}

fn non_negative(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("{number} is negative: give 0 or more"))
}

fn in_range(number: u64, min: u64, max: u64, show: impl Fn(u64) -> String) -> Result<u64, String> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    let side = if number < min {
        "too small"
    } else {
        "too large"
    };
    Err(format!(
        "{} is {side}: use {} to {}",
        show(number),
        show(min),
        show(max)
    ))
}
