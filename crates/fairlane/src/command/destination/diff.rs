//! `fairlane destination diff`: what a changed catalog would send differently, for events of one's
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use catalog::compare::{Difference, differences};
use catalog::play::check_line;
use catalog::struck::Strike;
use catalog::{Catalog, Definition, example_settings, play_line};
use serde_json::{Value, json};

use super::{check_settings, parallel, read, transformer};
use crate::cli::DiffArgs;

/// As diff(1) has it.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

type Settings = BTreeMap<String, Value>;

/// What became of one definition.
enum Change {
    Added,
    Removed,
    Same,
    Different(Vec<EventChange>),
    /// It cannot be run with these settings, on one side or on both.
    Trouble(String),
}

/// One event that would be sent differently.
struct EventChange {
    /// From 1: its line in the file.
    line: usize,
    differences: Vec<Difference>,
}

pub fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    match compare(args) {
        Ok(changes) => {
            if args.json {
                println!("{}", serde_json::to_string_pretty(&as_json(&changes))?);
            } else {
                show(&changes);
            }
            Ok(code_of(&changes))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(TROUBLE))
        }
    }
}

fn code_of(changes: &[(String, Change)]) -> ExitCode {
    let trouble = |(_, change): &(String, Change)| matches!(change, Change::Trouble(_));
    let same = |(_, change): &(String, Change)| matches!(change, Change::Same);
    if changes.iter().any(trouble) {
        ExitCode::from(TROUBLE)
    } else if changes.iter().all(same) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    }
}

/// Every definition of either catalog, ascending by id.
fn compare(args: &DiffArgs) -> anyhow::Result<Vec<(String, Change)>> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let events: Vec<(usize, String)> = read(&args.events)?
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect();
    if events.is_empty() {
        bail!("{} holds no events", args.events.display());
    }
    // Both sides would reject it alike, and so be the same.
    for (line, event) in &events {
        check_line(event.as_bytes()).with_context(|| {
            format!("line {line} of {} is no JSON object", args.events.display())
        })?;
    }
    let given: BTreeMap<String, Settings> = match &args.settings {
        None => BTreeMap::new(),
        Some(path) => serde_json::from_str(&read(path)?)
            .with_context(|| format!("{} is no JSON object of settings by id", path.display()))?,
    };
    let refused = old.refused().chain(new.refused()).map(|(id, _)| id);
    let all = old.ids().chain(new.ids()).chain(refused);
    let mut ids: BTreeSet<String> = all.map(str::to_owned).collect();
    if let Some(unknown) = args.ids.iter().find(|id| !ids.contains(*id)) {
        bail!("neither side has a definition {unknown:?}");
    }
    if let Some(unknown) = given.keys().find(|id| !ids.contains(*id)) {
        bail!("there are settings for {unknown:?}, and neither side has a definition of that id");
    }
    ids.retain(|id| args.ids.is_empty() || args.ids.contains(id));
    let ids: Vec<String> = ids.into_iter().collect();
    let changes = parallel::map(&ids, |id| match (old.refusal(id), new.refusal(id)) {
        (Some(error), _) => Change::Trouble(format!("the old one is refused: {error}")),
        (_, Some(error)) => Change::Trouble(format!("the new one is refused: {error}")),
        _ => match (old.get(id), new.get(id)) {
            (Some(old), Some(new)) => change(&old, &new, given.get(id), &events),
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        },
    })?;
    Ok(ids.into_iter().zip(changes).collect())
}

fn load(side: &str) -> anyhow::Result<Catalog> {
    if side == "embedded" {
        return Ok(Catalog::embedded()?);
    }
    Ok(Catalog::default().with_overlay(Path::new(side))?)
}

fn change(
    old: &Arc<Definition>,
    new: &Arc<Definition>,
    given: Option<&Settings>,
    events: &[(usize, String)],
) -> Change {
    // The same settings for both, or what differs would be the settings.
    let settings = given
        .cloned()
        .or_else(|| example_settings(new))
        .or_else(|| example_settings(old))
        .unwrap_or_default();
    let plays = |definition: &Arc<Definition>| played(definition, &settings, events);
    let (before, after) = match (plays(old), plays(new)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(problem), _) => return Change::Trouble(format!("the old one: {problem:#}")),
        (_, Err(problem)) => return Change::Trouble(format!("the new one: {problem:#}")),
    };
    // Those that an operator gave are real; what differs may be sent about.
    let real = given.cloned().unwrap_or_default();
    let (of_old, of_new) = (Strike::new(old, &real), Strike::new(new, &real));
    let mut changed = Vec::new();
    for ((before, after), (line, _)) in before.iter().zip(&after).zip(events) {
        let mut differences = differences(before, after);
        for difference in &mut differences {
            difference.place = of_new.text(&of_old.text(&difference.place));
            difference.before = difference.before.as_ref().map(|value| of_old.value(value));
            difference.after = difference.after.as_ref().map(|value| of_new.value(value));
        }
        if !differences.is_empty() {
            changed.push(EventChange {
                line: *line,
                differences,
            });
        }
    }
    if changed.is_empty() {
        Change::Same
    } else {
        Change::Different(changed)
    }
}

/// What a definition makes of each event. A setting that it does not know is left out.
fn played(
    definition: &Arc<Definition>,
    settings: &Settings,
    events: &[(usize, String)],
) -> anyhow::Result<Vec<Value>> {
    let knows = |name: &str| definition.settings().iter().any(|spec| spec.name == name);
    let known: Settings = settings
        .iter()
        .filter(|(name, _)| knows(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut transformer = transformer(definition, check_settings(definition, &known.into())?)?;
    let outcome = |(_, event): &(usize, String)| {
        play_line(&mut transformer, event.as_bytes(), &[]).to_value()
    };
    Ok(events.iter().map(outcome).collect())
}

fn show(changes: &[(String, Change)]) {
    let ids_of = |wanted: fn(&Change) -> bool| -> Vec<&str> {
        let chosen = changes.iter().filter(|(_, change)| wanted(change));
        chosen.map(|(id, _)| id.as_str()).collect()
    };
    for (id, change) in changes {
        match change {
            Change::Different(events) => {
                println!("different: {id}");
                for event in events {
                    println!("  event of line {}", event.line);
                    for difference in &event.differences {
                        println!("    {difference}");
                    }
                }
            }
            Change::Trouble(problem) => println!("cannot be compared: {id}\n  {problem}"),
            Change::Added | Change::Removed | Change::Same => {}
        }
    }
    for (word, ids) in [
        ("added", ids_of(|change| matches!(change, Change::Added))),
        (
            "removed",
            ids_of(|change| matches!(change, Change::Removed)),
        ),
        ("same", ids_of(|change| matches!(change, Change::Same))),
    ] {
        if !ids.is_empty() {
            println!("{word}: {}", ids.join(", "));
        }
    }
}

fn as_json(changes: &[(String, Change)]) -> Value {
    let all = changes.iter().map(|(id, change)| {
        let (word, more) = match change {
            Change::Added => ("added", Value::Null),
            Change::Removed => ("removed", Value::Null),
            Change::Same => ("same", Value::Null),
            Change::Trouble(problem) => ("trouble", json!(problem)),
            Change::Different(events) => ("different", events.iter().map(event_json).collect()),
        };
        match more {
            Value::Null => json!({"id": id, "change": word}),
            Value::String(problem) => json!({"id": id, "change": word, "problem": problem}),
            events => json!({"id": id, "change": word, "events": events}),
        }
    });
    all.collect()
}

fn event_json(event: &EventChange) -> Value {
    let places: Vec<Value> = event
        .differences
        .iter()
        .map(|one| json!({"place": one.place, "old": one.before, "new": one.after}))
        .collect();
    json!({"line": event.line, "differences": places})
}
