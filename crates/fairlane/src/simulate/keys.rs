//! Reads a table of a scenario key by key, each by its type and range, and adds what is wrong to
//! the problems with its line. What is asked for is what there is: any other key is unknown.

use crate::config::keys::RATE_PER_S_MIN;
use crate::config::nearest::did_you_mean;
use crate::config::problem::{Finder, Place};
use crate::config::tree::{Node, Table, Value};
use crate::config::units::{parse_bytes, parse_duration_ms, show_duration};

pub struct Keys<'a, 'f, 't> {
    /// How errors call the table: `[[sources]]`.
    name: &'static str,
    table: &'a Table,
    pub place: Place,
    found: &'f mut Finder<'t>,
    asked: Vec<&'static str>,
    /// Keys of which something was said already.
    refused: Vec<String>,
}

/// No time in a scenario is longer: what is later cannot be told from a slip of the pen.
pub const TIME_US_MAX: u64 = 400 * 86_400 * 1_000_000;

impl<'a, 'f, 't> Keys<'a, 'f, 't> {
    pub fn new(
        name: &'static str,
        table: &'a Table,
        place: Place,
        found: &'f mut Finder<'t>,
    ) -> Self {
        Self {
            name,
            table,
            place,
            found,
            asked: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Finds the keys that were not asked for.
    pub fn end(self) {
        for entry in &self.table.entries {
            let key = entry.key.as_str();
            if !self.asked.contains(&key) {
                let near = did_you_mean(key, self.asked.iter().copied());
                let all = self.asked.join(", ");
                let message = format!("no key {key:?} in {}{near} (there are: {all})", self.name);
                self.found.add(&entry.key_place, message);
            }
        }
    }

    pub fn problem(&mut self, place: &Place, message: impl Into<String>) {
        self.found.add(place, message);
    }

    /// Adds a problem at the key, or at the table where the key is not set.
    pub fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let place = self.place_of(key);
        self.found.add(&place, message);
        self.refused.push(key.to_owned());
    }

    /// Whether nothing is wrong with any of these: what they say together makes sense only then.
    pub fn are_sound(&self, keys: &[&str]) -> bool {
        !self.refused.iter().any(|key| keys.contains(&key.as_str()))
    }

    /// Whether nothing is wrong with any key.
    pub fn is_sound(&self) -> bool {
        self.refused.is_empty()
    }

    pub fn place_of(&self, key: &str) -> Place {
        let entry = self.table.get(key);
        entry.map_or_else(|| self.place.clone(), |entry| entry.node.place.clone())
    }

    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        match &self.node(key)?.value {
            Value::Text(text) if !text.is_empty() => Some(text),
            Value::Text(_) => self.wrong(key, "an empty text"),
            other => self.wrong(key, &format!("{}: give a text in quotes", other.kind())),
        }
    }

    /// The same where it must be there.
    pub fn name(&mut self, key: &'static str) -> &'a str {
        let text = self.text(key);
        if text.is_none() && !self.has(key) {
            let message = format!("{} has no {key}", self.name);
            self.refuse(key, message);
        }
        text.unwrap_or_default()
    }

    /// One of these words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let near = did_you_mean(text, words.iter().copied());
            let all = words.join(", ");
            self.refuse(key, format!("no {key} {text:?}{near} (there are: {all})"));
        }
        found.map(|(_, choice)| *choice)
    }

    pub fn flag(&mut self, key: &'static str, field: &mut bool) {
        match self.node(key).map(|node| &node.value) {
            Some(Value::Boolean(flag)) => *field = *flag,
            Some(_) => self.refuse(key, "write true or false, without quotes"),
            None => {}
        }
    }

    /// Microseconds, at least `least`.
    pub fn time_us(&mut self, key: &'static str, least: u64) -> Option<u64> {
        match time_of(self.node(key)?) {
            Ok(us) if us < least => {
                let least = match least {
                    1 => "above 0".to_owned(),
                    least => format!("at least {}", show_us(least)),
                };
                self.wrong(key, &format!("too short a time: it must be {least}"))
            }
            Ok(us) => Some(us),
            Err(message) => {
                self.refuse(key, message);
                None
            }
        }
    }

    /// Microseconds from `least` to `most`.
    pub fn set_time_us(&mut self, key: &'static str, least: u64, most: u64, field: &mut u64) {
        match self.time_us(key, 0) {
            Some(us) if (least..=most).contains(&us) => *field = us,
            Some(us) => {
                let [us, least, most] = [us, least, most].map(show_us);
                self.refuse(key, format!("{key} is {us}: use {least} to {most}"));
            }
            None => {}
        }
    }

    /// Times, each with its place.
    pub fn times_us(&mut self, key: &'static str) -> Vec<(u64, Place)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            self.refuse(key, "give a list of times, as in [\"90s\", \"5m\"]");
            return Vec::new();
        };
        let mut times = Vec::new();
        for item in items {
            match time_of(item) {
                Ok(us) => times.push((us, item.place.clone())),
                Err(message) => self.found.add(&item.place, message),
            }
        }
        times
    }

    pub fn count(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let number = match &self.node(key)?.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => parse_bytes(text).ok(),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(number) => self.wrong(key, &format!("{number}: use {least} to {most}")),
            None => self.wrong(key, &format!("no whole number: use {least} to {most}")),
        }
    }

    pub fn set_u64(&mut self, key: &'static str, least: u64, field: &mut u64) {
        if let Some(number) = self.count(key, least, u64::MAX / 2) {
            *field = number;
        }
    }

    pub fn set_u32(&mut self, key: &'static str, least: u32, most: u32, field: &mut u32) {
        let number = self.count(key, least.into(), most.into());
        if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
            *field = number;
        }
    }

    /// A number above 0.
    pub fn rate(&mut self, key: &'static str) -> Option<f64> {
        let wrong = "no number above 0 and below 1e9, such as 16000 or 0.5";
        self.number(key, |number| number > 0.0, wrong)
    }

    /// Part of a whole that is not nothing.
    pub fn percent(&mut self, key: &'static str) -> Option<f64> {
        let wrong = "no number above 0 and up to 100, such as 99.9";
        self.number(key, |number| number > 0.0 && number <= 100.0, wrong)
    }

    /// Requests a second, as the configuration takes them.
    pub fn rate_limit(&mut self, key: &'static str) -> Option<f64> {
        let wrong =
            format!("no number from {RATE_PER_S_MIN} (one an hour) to 1e9, such as 16000 or 0.5");
        self.number(key, |number| number >= RATE_PER_S_MIN, &wrong)
    }

    /// A number from 0 on.
    pub fn weight(&mut self, key: &'static str) -> Option<f64> {
        self.number(
            key,
            |number| number >= 0.0,
            "no number from 0 on, such as 0.5",
        )
    }

    fn number(
        &mut self,
        key: &'static str,
        fits: impl Fn(f64) -> bool,
        wrong: &str,
    ) -> Option<f64> {
        let number = match &self.node(key)?.value {
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        match number.filter(|number| fits(*number) && *number < 1e9) {
            None => self.wrong(key, wrong),
            number => number,
        }
    }

    pub fn table(&mut self, key: &'static str) -> Option<(&'a Table, Place)> {
        match self.node(key) {
            Some(Node {
                value: Value::Table(table),
                place,
            }) => Some((table, place.clone())),
            Some(_) => self.wrong(key, "no table"),
            None => None,
        }
    }

    /// The tables of a list, with their places.
    pub fn tables(&mut self, key: &'static str) -> Vec<(&'a Table, Place)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            self.refuse(key, format!("write [[{key}]], once for each of them"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match &item.value {
                Value::Table(table) => tables.push((table, item.place.clone())),
                _ => self.found.add(&item.place, format!("no table in {key}")),
            }
        }
        tables
    }

    /// Reads a table of this one.
    pub fn inner(
        &mut self,
        name: &'static str,
        (table, place): (&'a Table, Place),
    ) -> Keys<'a, '_, 't> {
        Keys::new(name, table, place, self.found)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key).map(|entry| &entry.node)
    }

    fn wrong<T>(&mut self, key: &str, what: &str) -> Option<T> {
        self.refuse(key, format!("{key} is {what}"));
        None
    }
}

fn time_of(node: &Node) -> Result<u64, String> {
    let us = match &node.value {
        Value::Text(text) => parse_us(text)?,
        other => return Err(format!("{}: write a time as in \"30s\"", other.kind())),
    };
    match us {
        ..=TIME_US_MAX => Ok(us),
        _ => Err("longer than 400 days".to_owned()),
    }
}

/// The shortest way to write a time of a scenario.
pub fn show_us(us: u64) -> String {
    if us.is_multiple_of(1_000) {
        show_duration(us / 1_000)
    } else {
        format!("{us}us")
    }
}

fn parse_us(text: &str) -> Result<u64, String> {
    let micros = text
        .strip_suffix("us")
        .and_then(|number| number.trim().parse().ok());
    match micros {
        Some(us) => Ok(us),
        None => Ok(parse_duration_ms(text)?.saturating_mul(1_000)),
    }
}
