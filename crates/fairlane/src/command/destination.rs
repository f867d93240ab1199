//! `fairlane destination`: look at the catalog, begin a definition, run its cases, try it.

use std::io::BufRead as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use catalog::definition::{Folder, without_mark};
use catalog::{Catalog, CheckedSettings, Definition, Transformer};
use model::Settings;
use serde_json::{Number, json};

use crate::cli::{DestinationCommand, OverlayArgs};
use crate::table;

mod bench;
mod diff;
mod docs;
mod parallel;
mod record;
mod send;
mod test;
mod transform;
mod trial;
mod verify;

pub fn run(command: &DestinationCommand) -> anyhow::Result<ExitCode> {
    match command {
        DestinationCommand::List { overlay, json } => list(catalog(overlay)?, *json)?,
        DestinationCommand::Show { overlay, id, json } => show(&*find(overlay, id)?, *json)?,
        DestinationCommand::New { id, dir } => begin(id, dir)?,
        DestinationCommand::Test(args) => test::run(args)?,
        DestinationCommand::Transform(args) => transform::run(args)?,
        DestinationCommand::Send(args) => return send::run(args),
        DestinationCommand::Record(args) => record::run(args)?,
        DestinationCommand::Diff(args) => return diff::run(args),
        DestinationCommand::Docs(args) => docs::run(args)?,
        DestinationCommand::Bench(args) => bench::run(args)?,
        DestinationCommand::Schema => print!("{SCHEMA}"),
        DestinationCommand::Verify(args) => verify::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn catalog(args: &OverlayArgs) -> anyhow::Result<Catalog> {
    let catalog = Catalog::embedded()?;
    match &args.overlay {
        None => Ok(catalog),
        Some(dir) => Ok(catalog.with_overlay(dir)?),
    }
}

/// The definition of an id, or of a folder's path (which has a `/` in it).
fn find(overlay: &OverlayArgs, id: &str) -> anyhow::Result<Arc<Definition>> {
    if is_path(id) {
        return from_folder(Path::new(id));
    }
    find_in(&catalog(overlay)?, id)
}

fn is_path(id: &str) -> bool {
    id.contains('/') || id == "."
}

fn from_folder(path: &Path) -> anyhow::Result<Arc<Definition>> {
    // The folder's name is the id: `.` has none.
    let folder = path
        .canonicalize()
        .with_context(|| format!("there is no definition's folder at {}", path.display()))?;
    Ok(Arc::new(Definition::load(Folder::read(&folder)?)?))
}

fn find_in(catalog: &Catalog, id: &str) -> anyhow::Result<Arc<Definition>> {
    if let Some(error) = catalog.refusal(id) {
        bail!("definition {id} is refused: {error}");
    }
    catalog.get(id).with_context(|| {
        let near = catalog
            .suggest(id)
            .map(|near| format!(", did you mean {near:?}?"));
        format!(
            "there is no destination {id:?}{} (`fairlane destination list` shows all; a folder is \
             given as a path: ./{id})",
            near.unwrap_or_default()
        )
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(without_mark(text))
}

/// The lines of standard input, as events come.
fn lines_of_input() -> impl Iterator<Item = anyhow::Result<String>> {
    let lines = std::io::stdin().lock().split(b'\n').enumerate();
    lines.map(|(index, line)| {
        let line = line.context("cannot read events from standard input")?;
        // Refused like any other line that is no JSON.
        let mut line = String::from_utf8(line).unwrap_or_else(|_| "(no UTF-8)".to_owned());
        if line.ends_with('\r') {
            line.pop();
        }
        Ok(if index == 0 { without_mark(line) } else { line })
    })
}

/// Settings from a file, checked against their definition.
fn settings_from(definition: &Definition, path: &Path) -> anyhow::Result<CheckedSettings> {
    let settings: Settings = serde_json::from_str(&read(path)?)
        .with_context(|| format!("{} is no JSON object of settings", path.display()))?;
    check_settings(definition, &settings)
}

fn check_settings(definition: &Definition, settings: &Settings) -> anyhow::Result<CheckedSettings> {
    definition.check_settings(settings).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("settings: {}", problems.join("\nsettings: "))
    })
}

/// A transformer without a connection's own filter and transform.
fn transformer(
    definition: &Arc<Definition>,
    settings: CheckedSettings,
) -> anyhow::Result<Transformer> {
    let names = [definition.name().to_owned(), definition.id().to_owned()];
    Ok(Transformer::new(
        Arc::clone(definition),
        settings,
        &names,
        None,
        None,
    )?)
}

/// All definitions, and the folders of the overlay that are none.
fn list(mut catalog: Catalog, as_json: bool) -> anyhow::Result<()> {
    let overlaid: Vec<Arc<Definition>> = catalog.overlaid().cloned().collect();
    for definition in overlaid {
        if let Err(error) = definition.compile() {
            catalog.refuse(definition.id(), error);
        }
    }
    let told = |error: &catalog::Error| error.to_string();
    if as_json {
        let all = catalog.definitions().map(|one| {
            json!({"id": one.id(), "name": one.name(), "category": one.category(), "docs": one.docs()})
        });
        let refused = catalog
            .refused()
            .map(|(id, error)| json!({"id": id, "refused": told(error)}));
        let all: Vec<_> = all.chain(refused).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = catalog
        .definitions()
        .map(|one| {
            [one.id(), one.name(), one.category()]
                .into_iter()
                .map(str::to_owned)
                .collect()
        })
        .collect();
    print!("{}", table::layout(&["ID", "NAME", "CATEGORY"], &rows));
    let refused: Vec<Vec<String>> = catalog
        .refused()
        .map(|(id, error)| vec![id.to_owned(), told(error)])
        .collect();
    if !refused.is_empty() {
        print!("\n{}", table::layout(&["REFUSED", "WHY"], &refused));
    }
    Ok(())
}

fn show(definition: &Definition, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let settings = definition.settings().iter().map(|setting| {
            // As it is written: 1, not 1.0.
            let bound = |bound: Option<f64>| {
                bound.and_then(|bound| bound.to_string().parse::<Number>().ok())
            };
            json!({"name": setting.name, "type": setting.kind.as_str(),
                "required": setting.required, "secret": setting.secret,
                "default": setting.default, "choices": setting.choices,
                "min": bound(setting.min), "max": bound(setting.max), "help": setting.help})
        });
        let shown = json!({"id": definition.id(), "name": definition.name(),
            "category": definition.category(), "docs": definition.docs(),
            "events": definition.events(), "settings": settings.collect::<Vec<_>>(),
            "readme": definition.readme()});
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    println!(
        "{} ({})\n{}\n",
        definition.name(),
        definition.id(),
        definition.docs()
    );
    let rows: Vec<Vec<String>> = definition
        .settings()
        .iter()
        .map(|setting| {
            let need = match (setting.required, setting.secret) {
                (true, true) => "required, secret",
                (true, false) => "required",
                (false, true) => "secret",
                (false, false) => "",
            };
            vec![
                setting.name.clone(),
                setting.kind.as_str().to_owned(),
                need.to_owned(),
                setting
                    .default
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                match setting.allowed() {
                    Some(allowed) => format!("{} ({allowed})", setting.help),
                    None => setting.help.clone(),
                },
            ]
        })
        .collect();
    println!(
        "{}",
        table::layout(&["SETTING", "TYPE", "NEED", "DEFAULT", "WHAT"], &rows)
    );
    println!("{}", definition.readme());
    Ok(())
}

const SCHEMA: &str = include_str!("../../../../docs/reference/destination.schema.json");
const NEW_TOML: &str = include_str!("new/destination.toml");
const NEW_VRL: &str = include_str!("new/event.vrl");
const NEW_README: &str = include_str!("new/README.md");
const NEW_CASE: &str = include_str!("new/cases/track.json");

fn begin(id: &str, dir: &Path) -> anyhow::Result<()> {
    let folder = dir.join(id);
    let begun = Folder {
        id: id.to_owned(),
        place: folder.display().to_string(),
        files: [
            ("destination.toml", NEW_TOML),
            ("event.vrl", NEW_VRL),
            ("README.md", NEW_README),
            ("cases/track.json", NEW_CASE),
        ]
        .map(|(name, text)| (name.to_owned(), text.replace("my-service", id)))
        .into(),
    };
    // Loaded before it is written: an id that `test` would refuse leaves nothing behind.
    Definition::load(begun.clone())?;
    if folder.exists() {
        bail!(
            "{} is there already: choose another id, or edit what is there",
            folder.display()
        );
    }
    std::fs::create_dir_all(folder.join("cases"))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in &begun.files {
        std::fs::write(folder.join(name), text)?;
    }
    println!(
        "{} is begun, and passes its own cases. Next:\n  edit {0}/event.vrl\n  \
         fairlane destination test {0}\n  docs/reference/destination.md explains the format",
        folder.display()
    );
    Ok(())
}
