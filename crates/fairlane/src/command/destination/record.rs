//! `fairlane destination record`: a definition's cases on the real service, kept as new cases.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use catalog::{EventCase, Recording, event_cases, record, result_text, unblessed_cases};

use super::is_path;
use super::trial::Bench;
use crate::cli::RecordArgs;

pub fn run(args: &RecordArgs) -> anyhow::Result<()> {
    let bench = Bench::new(&args.trial)?;
    let folder = folder(args)?;
    let mut recordings = Vec::new();
    for case in chosen(args, &bench)? {
        // The case's own settings, under those that the service really takes.
        let mut settings = case.settings.clone();
        settings.extend(bench.settings.clone());
        let (filter, transform) = (case.filter.clone(), case.transform.clone());
        let struck = bench.send(&settings, filter, transform, case.events.clone())?;
        let results: Vec<String> = struck.results.iter().copied().map(result_text).collect();
        println!("{}: {}", case.name, results.join(", "));
        let Some(answers) = struck.answers().filter(|answers| !answers.is_empty()) else {
            println!("  not kept, no answer: {}", struck.detail);
            continue;
        };
        recordings.push(Recording {
            case: EventCase {
                settings: struck.settings,
                ..case
            },
            answers,
        });
    }
    if recordings.is_empty() {
        bail!("nothing was recorded");
    }
    let written = record(&bench.definition, &folder, &recordings)?;
    println!(
        "{} cases written to {}: read them before you commit them, for what no setting calls a \
         secret",
        written.len(),
        folder.join("cases/recorded.json").display()
    );
    Ok(())
}

fn folder(args: &RecordArgs) -> anyhow::Result<PathBuf> {
    let id = &args.trial.id;
    if is_path(id) {
        return Ok(PathBuf::from(id));
    }
    let overlay = args.trial.overlay.overlay.as_ref();
    overlay
        .map(|dir| dir.join(id))
        .filter(|folder| folder.is_dir())
        .with_context(|| {
            format!("{id} is built in: give the path of its folder, or --overlay DIR, to record it")
        })
}

fn chosen(args: &RecordArgs, bench: &Bench) -> anyhow::Result<Vec<EventCase>> {
    let mut cases = event_cases(&bench.definition)?;
    let unblessed = unblessed_cases(&bench.definition);
    let mut asked = args.cases.iter();
    let unsaid = asked.find(|name| unblessed.contains(name));
    if let Some(name) = unsaid.or(unblessed.first().filter(|_| cases.is_empty())) {
        bail!(
            "case {name:?} does not say yet what is sent: run `fairlane destination test --bless` \
             first"
        );
    }
    if let Some(unknown) = args
        .cases
        .iter()
        .find(|name| !cases.iter().any(|case| case.name == **name))
    {
        bail!("there is no case {unknown:?} by which something is sent");
    }
    cases.retain(|case| args.cases.is_empty() || args.cases.contains(&case.name));
    if cases.is_empty() {
        bail!("the definition has no case by which something is sent");
    }
    Ok(cases)
}
