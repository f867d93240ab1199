//! `fairlane destination`: look at the catalog, begin a definition, run its cases, try it.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use catalog::{Catalog, Definition, Transformer, bless, run_cases, transform_line};
use serde_json::json;

use crate::cli::{DestinationCommand, OverlayArgs};
use crate::table;

pub fn run(command: &DestinationCommand) -> anyhow::Result<()> {
    match command {
        DestinationCommand::List { overlay, json } => list(&catalog(overlay)?, *json),
        DestinationCommand::Show { overlay, id } => {
            let definition = find(&catalog(overlay)?, id)?;
            show(&definition);
            Ok(())
        }
        DestinationCommand::New { id, dir } => begin(id, dir),
        DestinationCommand::Test {
            overlay,
            ids,
            bless,
            filter,
        } => test(overlay, ids, *bless, filter.as_deref()),
        DestinationCommand::Transform {
            overlay,
            id,
            settings,
        } => transform(&find(&catalog(overlay)?, id)?, settings),
    }
}

fn catalog(args: &OverlayArgs) -> anyhow::Result<Catalog> {
    let catalog = Catalog::embedded()?;
    match &args.overlay {
        None => Ok(catalog),
        Some(dir) => Ok(catalog.with_overlay(dir)?),
    }
}

fn find(catalog: &Catalog, id: &str) -> anyhow::Result<Arc<Definition>> {
    catalog.get(id).with_context(|| {
        let near = catalog
            .suggest(id)
            .map(|near| format!(", did you mean {near:?}?"));
        format!(
            "there is no destination {id:?}{} (`fairlane destination list` shows all)",
            near.unwrap_or_default()
        )
    })
}

fn list(catalog: &Catalog, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let all: Vec<_> = catalog
            .definitions()
            .map(|one| {
                json!({"id": one.id(), "name": one.name(), "category": one.category(), "docs": one.docs()})
            })
            .collect();
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
    Ok(())
}

fn show(definition: &Definition) {
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
                setting.help.clone(),
            ]
        })
        .collect();
    println!(
        "{}",
        table::layout(&["SETTING", "TYPE", "NEED", "DEFAULT", "WHAT"], &rows)
    );
    println!("{}", definition.readme());
}

const NEW_TOML: &str = include_str!("new/destination.toml");
const NEW_VRL: &str = include_str!("new/event.vrl");
const NEW_README: &str = include_str!("new/README.md");
const NEW_CASE: &str = include_str!("new/cases/track.json");

fn begin(id: &str, dir: &Path) -> anyhow::Result<()> {
    model::Name::new(id)?;
    let folder = dir.join(id);
    if folder.exists() {
        bail!(
            "{} is there already: choose another id, or edit what is there",
            folder.display()
        );
    }
    std::fs::create_dir_all(folder.join("cases"))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in [
        ("destination.toml", NEW_TOML),
        ("event.vrl", NEW_VRL),
        ("README.md", NEW_README),
        ("cases/track.json", NEW_CASE),
    ] {
        std::fs::write(folder.join(name), text.replace("my-service", id))?;
    }
    println!(
        "{} is begun, and passes its own cases. Next:\n  edit {0}/event.vrl\n  \
         fairlane destination test {id} --overlay {}\n  docs/reference/destination.md explains the format",
        folder.display(),
        dir.display()
    );
    Ok(())
}

fn test(
    overlay: &OverlayArgs,
    ids: &[String],
    blessing: bool,
    filter: Option<&str>,
) -> anyhow::Result<()> {
    let catalog = catalog(overlay)?;
    let chosen: Vec<Arc<Definition>> = if ids.is_empty() {
        catalog.definitions().cloned().collect()
    } else {
        ids.iter()
            .map(|id| find(&catalog, id))
            .collect::<Result<_, _>>()?
    };
    let (mut passed, mut failed) = (0, 0);
    for definition in &chosen {
        if let (true, Some(dir)) = (blessing, &overlay.overlay) {
            let folder = dir.join(definition.id());
            if !folder.exists() {
                bail!(
                    "{} is not in {}: only an overlay can be blessed",
                    definition.id(),
                    dir.display()
                );
            }
            for file in bless(definition, &folder)? {
                println!("blessed {file}");
            }
            continue;
        }
        definition.compile()?;
        for report in run_cases(definition) {
            if filter.is_some_and(|text| !report.name.contains(text)) {
                continue;
            }
            match report.failure {
                None => passed += 1,
                Some(failure) => {
                    failed += 1;
                    println!(
                        "FAILED {}/{}: {}\n{failure}\n",
                        report.definition, report.file, report.name
                    );
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} cases failed, {passed} passed");
    }
    if !blessing {
        println!("{passed} cases of {} definitions passed", chosen.len());
    }
    Ok(())
}

fn transform(definition: &Arc<Definition>, settings: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(settings)
        .with_context(|| format!("cannot read {}", settings.display()))?;
    let settings = serde_json::from_str(&text)
        .with_context(|| format!("{} is no JSON object of settings", settings.display()))?;
    let settings = definition.check_settings(&settings).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("settings: {}", problems.join("\nsettings: "))
    })?;
    let mut transformer = Transformer::new(Arc::clone(definition), settings, &[], None, None)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read events from standard input")?;
        if !line.trim().is_empty() {
            writeln!(out, "{}", transform_line(&mut transformer, line.as_bytes()))?;
        }
    }
    Ok(())
}
