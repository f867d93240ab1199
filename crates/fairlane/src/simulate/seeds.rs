//! Many seeds on all cores: of the invariant test, or of one scenario.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scheduler::simulation::{Report, Scenario, Violation};

use super::figures::grouped;

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Runs the seeds from `first` on, until one breaks a promise. `each` is told of every run.
///
/// # Errors
/// What `broken` says of the seed that broke a promise; an interrupted run has none.
pub fn run(
    first: u64,
    seeds: u64,
    scenario: &(dyn Fn(u64) -> Scenario + Sync),
    each: &(dyn Fn(u64, Report) + Sync),
    broken: &dyn Fn(u64, Violation) -> anyhow::Error,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (next, steps, stop) = (
        AtomicU64::new(first),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let first_broken: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    let end = first.saturating_add(seeds);
    let began = Instant::now();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match scheduler::simulation::run(&scenario(seed)) {
                Ok(report) => {
                    steps.fetch_add(report.steps, Ordering::Relaxed);
                    each(seed, report);
                }
                Err(violation) => {
                    stop.store(true, Ordering::Relaxed);
                    first_broken
                        .lock()
                        .expect("no thread panics with it")
                        .get_or_insert((seed, violation));
                }
            }
        }
    };
    let told = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while told && workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(TELL_EVERY.min(Duration::from_millis(100)));
            let done = next.load(Ordering::Relaxed).min(end) - first;
            eprint!("\r{} of {} seeds ", grouped(done), grouped(seeds));
        }
    });
    if told {
        eprintln!();
    }
    let first_broken = first_broken.into_inner();
    if let Some((seed, violation)) = first_broken.expect("no thread panics with it") {
        return Err(broken(seed, violation));
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} scheduler steps in {took:.1} s on {threads} threads: every promise held",
        grouped(seeds),
        grouped(steps.into_inner()),
    );
    Ok(())
}
