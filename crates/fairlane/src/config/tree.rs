//! The file as a tree in which every key and value knows its place.

use toml::de::{DeTable, DeValue};

use super::problem::{Finder, Place};

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A TOML date or time: no key takes one.
    Time,
    List(Vec<Node>),
    Table(Table),
}

/// A table's keys, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Value {
    /// What it is, in the words of TOML.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Time => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// What can be read of `text`. Errors of syntax are added to `found`, and the rest of the file is
/// read as well as it can be: one lost quote should not hide what else is wrong.
pub(crate) fn parse(text: &str, found: &mut Finder<'_>) -> Table {
    let (root, errors) = DeTable::parse_recoverable(text);
    let broken = !errors.is_empty();
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        found.add(
            &Place::File(range),
            format!("no valid TOML: {}", error.message()),
        );
    }
    if broken {
        // What follows a syntax error is guesswork, and so would be what is said of it.
        return Table::default();
    }
    table(root.into_inner(), found)
}

/// One value by itself, as an environment variable holds it.
pub(crate) fn parse_value(text: &str, place: &Place, found: &mut Finder<'_>) -> Option<Node> {
    let value = DeValue::parse(text).ok()?.into_inner();
    let mut node = node(value, 0..0, found);
    node.place = place.clone();
    Some(node)
}

fn table(from: DeTable<'_>, found: &mut Finder<'_>) -> Table {
    let mut entries: Vec<Entry> = from
        .into_iter()
        .map(|(key, value)| {
            let key_place = Place::File(key.span());
            let span = value.span();
            let node = node(value.into_inner(), span, found);
            Entry {
                key: key.into_inner().into_owned(),
                key_place,
                node,
            }
        })
        .collect();
    entries.sort_by_key(|entry| match &entry.key_place {
        Place::File(range) => range.start,
        Place::Variable(_) => usize::MAX,
    });
    Table { entries }
}

fn node(value: DeValue<'_>, span: std::ops::Range<usize>, found: &mut Finder<'_>) -> Node {
    let place = Place::File(span);
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.unwrap_or_else(|_| {
                found.add(&place, "too large a number");
                0
            }))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(list) => {
            let mut nodes = Vec::with_capacity(list.len());
            for item in list {
                let span = item.span();
                nodes.push(node(item.into_inner(), span, found));
            }
            Value::List(nodes)
        }
        DeValue::Table(inner) => Value::Table(table(inner, found)),
    };
    Node { value, place }
}
