//! The command line holds together, and times are read as people write them.

use std::time::Duration;

use clap::CommandFactory as _;

use super::{Cli, duration};

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn times_have_units() {
    assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
    for bad in [
        "",
        "20",
        "s",
        "0s",
        "1y",
        "-1s",
        "99999999999999999999s",
        "9999999999999999999h",
    ] {
        assert!(duration(bad).is_err(), "{bad:?} should be refused");
    }
}
