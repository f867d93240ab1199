//! What may be measured, and how that is told.

use clap::CommandFactory as _;

use super::run::{NAMES, check_only};
use crate::cli::Cli;

#[test]
fn what_chooses_nothing_is_refused_before_anything_runs() {
    for only in [None, Some("ingest"), Some("over 10,000 lanes")] {
        check_only(only).unwrap();
    }
    let told = check_only(Some("nix")).unwrap_err().to_string();
    assert!(
        told.starts_with("--only \"nix\" chooses no measurement"),
        "{told}"
    );
    for name in NAMES {
        assert!(told.contains(&format!("\n  {name}")), "{name}: {told}");
    }
}

#[test]
fn the_help_names_every_measurement() {
    let cli = Cli::command();
    let bench = cli.find_subcommand("bench").unwrap();
    let mut only = bench.get_arguments().filter(|arg| arg.get_id() == "only");
    let help = only
        .next()
        .and_then(|arg| arg.get_help())
        .unwrap()
        .to_string();
    for name in NAMES {
        assert!(help.contains(&format!("{name:?}")), "{name}: {help}");
    }
}
