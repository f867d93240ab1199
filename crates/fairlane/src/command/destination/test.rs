//! `fairlane destination test`: recorded cases, all cores at work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use catalog::compare::differences;
use catalog::{CaseReport, Definition, bless, run_cases};
use serde_json::json;

use super::{catalog, find_in, from_folder, is_path, parallel};
use crate::cli::TestArgs;

/// A definition with its folder, where it has one that can be written to.
struct Chosen {
    definition: Arc<Definition>,
    folder: Option<PathBuf>,
}

/// What is tested, and what cannot be.
struct Choice {
    chosen: Vec<Chosen>,
    refused: Vec<CaseReport>,
}

impl Choice {
    fn of(chosen: Vec<Chosen>) -> Self {
        Self {
            chosen,
            refused: Vec::new(),
        }
    }
}

pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let Choice { chosen, refused } = choose(args)?;
    if args.bless {
        return chosen.iter().try_for_each(bless_one);
    }
    let mut definitions: Vec<&Arc<Definition>> = chosen.iter().map(|one| &one.definition).collect();
    // The longest first: one that came last would have a core to itself.
    definitions.sort_by_key(|definition| std::cmp::Reverse(definition.program_bytes()));
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut reports = parallel::map(&definitions, |definition| reports_of(definition))?;
    reports.sort_by(|left, right| name_of(left).cmp(&name_of(right)));
    for report in refused.into_iter().chain(reports.into_iter().flatten()) {
        if !holds(&report, args.filter.as_deref()) {
            continue;
        }
        let Some(failure) = report.failure else {
            passed += 1;
            continue;
        };
        if !args.json {
            println!(
                "FAILED {}/{}: {}\n{failure}\n",
                report.definition, report.file, report.name
            );
        }
        failed.push(
            json!({"definition": report.definition, "file": report.file, "name": report.name,
                "failure": failure}),
        );
    }
    if args.json {
        let told = json!({"cases": passed + failed.len(), "definitions": definitions.len(),
            "failed": failed});
        println!("{}", serde_json::to_string_pretty(&told)?);
    }
    if !failed.is_empty() {
        bail!("{} cases failed, {passed} passed", failed.len());
    }
    if let Some(text) = &args.filter
        && passed == 0
    {
        bail!("there is no case whose name holds {text:?}: the names stand in cases/*.json");
    }
    if !args.json {
        println!(
            "{passed} cases of {} definitions passed in {:.2} s",
            definitions.len(),
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn name_of(reports: &[CaseReport]) -> Option<&str> {
    reports.first().map(|report| report.definition.as_str())
}

/// Whether it is asked for. What stands in brackets for cases that could not be run always is: theirs
/// may be the name.
fn holds(report: &CaseReport, filter: Option<&str>) -> bool {
    let stands_for_all = report.failure.is_some() && report.name.starts_with('(');
    filter.is_none_or(|text| stands_for_all || report.name.contains(text))
}

fn choose(args: &TestArgs) -> anyhow::Result<Choice> {
    let overlay = args.overlay.overlay.as_deref();
    let in_overlay = |definition: Arc<Definition>| Chosen {
        folder: overlay
            .map(|dir| dir.join(definition.id()))
            .filter(|folder| folder.is_dir()),
        definition,
    };
    let ids: BTreeSet<&String> = args.ids.iter().collect();
    // A folder given by its path needs nothing of the catalog.
    if !ids.is_empty() && ids.iter().all(|id| is_path(id)) {
        let chosen = ids.into_iter().map(|id| at_path(id));
        return Ok(Choice::of(chosen.collect::<Result<_, _>>()?));
    }
    let catalog = catalog(&args.overlay)?;
    if ids.is_empty() {
        let all = catalog.definitions().cloned().map(in_overlay);
        return Ok(Choice {
            // Only what can be written is blessed.
            chosen: all
                .filter(|one| !args.bless || one.folder.is_some())
                .collect(),
            refused: catalog
                .refused()
                .map(|(id, error)| unusable(id, "(load)", error))
                .collect(),
        });
    }
    let one = |id: &String| {
        if is_path(id) {
            return at_path(id);
        }
        find_in(&catalog, id).map(in_overlay)
    };
    let chosen = ids.into_iter().map(one);
    Ok(Choice::of(chosen.collect::<Result<_, _>>()?))
}

fn at_path(id: &str) -> anyhow::Result<Chosen> {
    Ok(Chosen {
        definition: from_folder(Path::new(id))?,
        folder: Some(PathBuf::from(id)),
    })
}

fn bless_one(chosen: &Chosen) -> anyhow::Result<()> {
    let id = chosen.definition.id();
    if chosen.definition.case_files() == 0 {
        bail!("{id} has no case to bless: write an event into cases/track.json first");
    }
    let folder = chosen.folder.as_ref().with_context(|| {
        format!("{id} is built in: give --overlay DIR, or the path of its folder, to bless it")
    })?;
    for change in bless(&chosen.definition, folder)? {
        println!("blessed {id}/{}: {}", change.file, change.case);
        match &change.before {
            None => println!("  new: {}", change.after),
            Some(before) => {
                for difference in differences(before, &change.after) {
                    println!("  {difference}");
                }
            }
        }
    }
    Ok(())
}

/// A definition that does not compile is a failed case of its own: the others still run.
fn reports_of(definition: &Arc<Definition>) -> Vec<CaseReport> {
    match definition.compile() {
        Ok(()) => run_cases(definition),
        Err(error) => vec![unusable(definition.id(), "(compile)", &error)],
    }
}

fn unusable(id: &str, what: &str, error: &catalog::Error) -> CaseReport {
    CaseReport {
        definition: id.to_owned(),
        file: "(programs)".to_owned(),
        name: what.to_owned(),
        failure: Some(error.to_string()),
    }
}
