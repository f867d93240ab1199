//! The list of keys as a page of the reference. Only the tests make it.

use super::keys::{self, Default, Kind, LISTS, RATE_PER_S_MIN, SECTIONS};
use super::units::{show_bytes, show_duration};

/// `docs/reference/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for (section, help) in SECTIONS {
        push(&mut page, section, &format!("[{section}]"), help);
    }
    for (section, help) in LISTS {
        push(&mut page, section, &format!("[[{section}]]"), help);
    }
    page
}

const HEAD: &str = "\
# Configuration

<!-- Made from crates/fairlane/src/config/keys.rs: `UPDATE_EXPECT=1 cargo test -p fairlane config`
writes it anew. -->

One file, `fairlane.toml` (`--config` names another); `examples/fairlane.toml` shows every key, with
its default where there is one. All that is wrong is said at once, each with its line (what only definitions know,
once the rest is right), before anything changes. The key that seals secrets, and other variables:
[quickstart](../quickstart.md#6-data-and-its-key).

- Times are written as in `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"24h\"`, `\"7d\"` or `\"1h30m\"`, sizes as in
  `\"512KiB\"`, `\"64MiB\"` or `\"10GB\"`.
- In strings `${NAME}` stands for an environment variable, `${NAME:-default}` for one that may be
  missing or empty, `${secret:NAME}` for a secret that `fairlane secret set` has stored, and `$${`
  for `${` itself. Programs (`filter`, `transform`) are left as they are.
- A variable `FAIRLANE__SECTION__KEY`, such as `FAIRLANE__SERVER__LISTEN=0.0.0.0:8080`, goes before
  what the file says of a key of the sections that stand once.
- Sources, destinations, connections and the catalog are reloaded while the process runs; a change
  of any other section takes effect after a restart.
";

fn push(page: &mut String, section: &str, title: &str, help: &str) {
    page.push_str(&format!("\n## {title}\n\n{help}\n\n"));
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in keys::of(section) {
        let kind = word(key.kind);
        let default = match key.default {
            Default::Required => "required".to_owned(),
            Default::Value(value) => format!("`{value}`"),
            Default::None(words) => words.to_owned(),
            Default::OfDelivery => format!("`{}` of [delivery]", key.name),
        };
        let range = range(key.kind)
            .map(|range| format!(" ({range})"))
            .unwrap_or_default();
        let (name, help) = (key.name, key.help);
        page.push_str(&format!(
            "| `{name}` | {kind}{range} | {default} | {help} |\n"
        ));
    }
}

fn range(kind: Kind) -> Option<String> {
    match kind {
        Kind::Duration { min_ms, max_ms } => Some(format!(
            "{} to {}",
            show_duration(min_ms),
            show_duration(max_ms)
        )),
        Kind::Bytes { min, max } => Some(format!("{} to {}", show_bytes(min), show_bytes(max))),
        Kind::Count { min, max } => Some(format!("{min} to {max}")),
        Kind::Rate => Some(format!("at least {RATE_PER_S_MIN}")),
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            Some(words.join(" or "))
        }
        _ => None,
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Secret => "string (secret)",
        Kind::Address => "address:port",
        Kind::Path => "path",
        Kind::Boolean => "boolean",
        Kind::Duration { .. } => "time",
        Kind::Bytes { .. } => "size",
        Kind::Count { .. } => "integer",
        Kind::Rate => "number",
        Kind::Texts => "list of strings",
        Kind::Choice(_) => "string",
        Kind::Networks => "list of address ranges",
        Kind::Table => "table",
        Kind::Code => "VRL",
    }
}
