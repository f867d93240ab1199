//! `fairlane simulate`: the very scheduler under virtual time, on a scenario that a file describes.
//!
//! ```text
//!   scenario.toml --> file (checked) --> build --> scheduler::simulation --> figures --> report
//!                                     seed, scale                           expect       chart
//! ```

mod build;
mod chart;
mod compare;
mod expect;
mod figures;
mod file;
mod keys;
mod limits;
mod report;
mod seeds;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use scheduler::simulation::{Scenario, Violation};

use crate::cli::SimulateArgs;
use file::Plan;
use report::{Run, Took};

pub fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    if args.invariants {
        let first = args.seed.unwrap_or(0);
        return seeds::run(
            first,
            args.seeds,
            &Scenario::random,
            &|_, _| (),
            &|seed, why| anyhow::anyhow!("seed {seed} breaks a promise {why}"),
        );
    }
    let file = args
        .file
        .as_deref()
        .context("name a scenario file, or give --invariants")?;
    let plan = file::load(file)?;
    let seed = args.seed.unwrap_or(plan.seed);
    if args.seeds > 1 {
        return many(&plan, seed, args);
    }
    if args.compare {
        let comparison = compare::Comparison::run(&plan, seed, args.scale)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&comparison.to_json())?);
        } else {
            print!("{}", comparison.render());
        }
        return args
            .svg
            .as_ref()
            .map_or(Ok(()), |path| write(path, &comparison.chart().to_svg()));
    }
    let run = once(plan, seed, args.scale)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&run.to_json())?);
    } else {
        print!("{}", run.render());
    }
    if let Some(path) = &args.svg {
        write(path, &run.chart().to_svg())?;
    }
    anyhow::ensure!(
        run.holds(),
        "the scenario expects other figures: see what is BROKEN"
    );
    Ok(())
}

fn once(plan: Plan, seed: u64, scale: u64) -> anyhow::Result<Run> {
    let built = build::build(&plan, seed, scale);
    let (began, core) = (Instant::now(), on_core());
    let report = scheduler::simulation::run(&built.scenario)
        .map_err(|violation| why_broken(&plan, seed, &violation))?;
    let took = Took {
        wall: began.elapsed(),
        core: on_core() - core,
    };
    Ok(Run::new(plan, scale, seed, built, report, took))
}

/// What a violation is to whoever wrote the scenario: not all is settled at the end of `settle_max`
/// where that is too short for it, and that is no fault of the scheduler.
fn why_broken(plan: &Plan, seed: u64, violation: &Violation) -> anyhow::Error {
    let end_us = plan.duration_us.saturating_add(plan.settle_us_max);
    let over = violation.at_us > end_us && violation.what.contains("still unsettled");
    if !over {
        return anyhow::anyhow!(
            "seed {seed} breaks a promise of the scheduler: report this: {violation}"
        );
    }
    let settle_max = keys::show_us(plan.settle_us_max);
    let (left, _) = violation.what.split_once(':').unwrap_or_default();
    anyhow::anyhow!(
        "seed {seed}: settle_max ({settle_max}) ended before all was settled ({left}): raise it, or \
         let the faults end sooner"
    )
}

/// Time that this thread has had a core, where the system says so: other work on the machine does
/// not count.
fn on_core() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next();
    Duration::from_nanos(nanos.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Only whether the promises and expectations hold, for each seed.
fn many(plan: &Plan, first: u64, args: &SimulateArgs) -> anyhow::Result<()> {
    let broken = std::sync::atomic::AtomicU64::new(0);
    let scenario = |seed| build::build(plan, seed, args.scale).scenario;
    let each = |seed, report| {
        let built = build::build(plan, seed, args.scale);
        let run = Run::new(
            plan.clone(),
            args.scale,
            seed,
            built,
            report,
            Took::default(),
        );
        for (cohort, verdict) in run.verdicts.iter().filter(|(_, verdict)| !verdict.holds) {
            broken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            println!("seed {seed}: BROKEN  {cohort}: {}", verdict.text);
        }
    };
    let why = |seed, violation| why_broken(plan, seed, &violation);
    seeds::run(first, args.seeds, &scenario, &each, &why)?;
    let broken = broken.into_inner();
    anyhow::ensure!(
        broken == 0,
        "{broken} expectations of the scenario are broken"
    );
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests;
