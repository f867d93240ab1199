//! What the demo writes for itself.

use std::collections::BTreeMap;

use super::*;
use crate::config::Config;

#[test]
fn the_destination_that_hangs_does_not_hold_up_the_end() {
    let no_file = |_: &Path| Err("not there".to_owned());
    let text = configuration(&[]);
    let config = Config::parse("f.toml", &text, &BTreeMap::new(), &|_| None, &no_file).unwrap();
    assert_eq!(config.delivery.drain_timeout_ms, 1_000);
}
