//! The shipped scenarios, in a short form, hold what they expect.

use std::path::{Path, PathBuf};

use super::*;

/// Each scenario, and the scale at which it takes seconds.
const SHIPPED: [(&str, u64); 10] = [
    ("few-failures", 1),
    ("many-lanes", 200),
    ("noisy-tenant", 1),
    ("outage", 1),
    ("partial-failure", 1),
    ("poison", 1),
    ("published-outage", 500),
    ("rate-limits", 1),
    ("restart", 1),
    ("three-architectures", 1),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scenarios")
}

fn holds(name: &str) {
    let (_, scale) = SHIPPED
        .iter()
        .find(|(known, _)| *known == name)
        .expect("it is shipped");
    let plan = file::load(&directory().join(format!("{name}.toml"))).expect("it makes sense");
    let seed = plan.seed;
    let run = once(plan, seed, *scale).expect("no promise is broken");
    println!("{}", run.render());
    assert!(run.holds(), "{name} at scale {scale}:\n{}", run.render());
}

#[test]
fn every_scenario_is_listed_here() {
    let files = std::fs::read_dir(directory()).expect("the directory is there");
    let mut names: Vec<String> = files
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| {
            path.file_stem()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert_eq!(names, SHIPPED.map(|(name, _)| name));
}

#[test]
fn many_lanes() {
    holds("many-lanes");
}

#[test]
fn noisy_tenant() {
    holds("noisy-tenant");
}

#[test]
fn outage() {
    holds("outage");
}

#[test]
fn few_failures() {
    holds("few-failures");
}

#[test]
fn partial_failure() {
    holds("partial-failure");
}

#[test]
fn poison() {
    holds("poison");
}

#[test]
fn published_outage() {
    holds("published-outage");
}

#[test]
fn rate_limits() {
    holds("rate-limits");
}

#[test]
fn restart() {
    holds("restart");
}

#[test]
fn a_shared_queue_blocks_where_lanes_do_not() {
    use build::Queues::{Connection, Destination, Shared};
    let plan = file::load(&directory().join("three-architectures.toml")).expect("it makes sense");
    let comparison = compare::Comparison::run(&plan, 1, 1).expect("no promise is broken");
    println!("{}", comparison.render());
    let run = |queues| comparison.of(queues).expect("it ran");
    assert!(run(Connection).holds(), "{}", run(Connection).render());
    let p99_ms = |queues, cohort: usize| run(queues).figures[cohort].p99_us / 1_000;
    let (flooded, others) = (2, 3);
    // The hanging one fills the shared queue; a queue for each keeps it apart.
    assert!(p99_ms(Shared, others) > 60_000);
    assert!(p99_ms(Destination, others) < 1_000);
    // But not one tenant from another; lanes do.
    assert!(p99_ms(Destination, flooded) > 3 * p99_ms(Connection, flooded));
    assert!(comparison.chart().to_svg().contains("one shared queue"));
}

#[test]
fn a_scenario_that_ends_too_early_is_not_a_fault_of_the_scheduler() {
    let text = r#"
title = "a test"
duration = "1s"
settle_max = "500ms"
[[sources]]
name = "shop"
events_per_s = 10
[[destinations]]
name = "service"
faults = [{ kind = "failing" }]
[[lanes]]
name = "shop"
sources = "shop"
destinations = "service"
"#;
    let plan = file::parse("test", text).expect("it makes sense");
    let said = |plan: Plan| once(plan, 7, 1).map(|_| ()).unwrap_err().to_string();
    let told = said(plan.clone());
    assert!(
        told.starts_with("seed 7: settle_max (500ms) ended before all was settled (")
            && told.ends_with(" jobs are still unsettled): raise it, or let the faults end sooner"),
        "{told}"
    );
    let many = |seed| build::build(&plan, seed, 1).scenario;
    let why = |seed, violation| why_broken(&plan, seed, &violation);
    let of_seeds = seeds::run(7, 1, &many, &|_, _| (), &why).unwrap_err();
    assert_eq!(of_seeds.to_string(), told);
    // Anything else is.
    let violation = Violation {
        at_us: 3,
        what: "a job ended twice".to_owned(),
    };
    assert_eq!(
        why_broken(&plan, 7, &violation).to_string(),
        "seed 7 breaks a promise of the scheduler: report this: at 3 us: a job ended twice"
    );
}

#[test]
fn figures_are_said_as_a_person_does() {
    let said = [
        999,
        1_500,
        20_000_000,
        1_500_000,
        200_000_000,
        3_600_000_000,
        8_100_000_000,
    ];
    assert_eq!(
        said.map(figures::time),
        ["999us", "1ms", "20s", "1.5s", "3m 20s", "1h", "2h 15m"]
    );
    assert_eq!(
        [0, 999, 1_000, 85_000_000].map(figures::grouped),
        ["0", "999", "1,000", "85,000,000"]
    );
}

#[test]
fn a_scale_divides_all_that_there_is_and_no_more() {
    let text = r#"
title = "a test"
[[sources]]
name = "many"
count = 300
events_per_s_in_all = 600
skew = 1
[[sources]]
name = "one"
events_per_s = 50
bursts = [{ at = "1s", events = 1_000 }]
[[destinations]]
name = "service"
capacity_per_s = 500
[[lanes]]
name = "many"
sources = "many"
destinations = "service"
[[lanes]]
name = "one"
sources = "one"
destinations = "service"
"#;
    let plan = file::parse("test", text).expect("it makes sense");
    for (scale, streams, burst, capacity) in
        [(1, 301, 1_000, 500), (10, 31, 100, 50), (1_000, 2, 1, 1)]
    {
        let scenario = build::build(&plan, 1, scale).scenario;
        assert_eq!(
            (scenario.streams.len(), scenario.lanes.len()),
            (streams, streams)
        );
        let all: f64 = scenario
            .streams
            .iter()
            .map(|stream| stream.events_per_s)
            .sum();
        assert!(
            (all - 650.0 / scale as f64).abs() < 1e-6,
            "{all} events a second"
        );
        assert_eq!(scenario.streams[streams - 1].bursts[0].events, burst);
        assert_eq!(scenario.destinations[0].capacity_per_s, Some(capacity));
    }
}
