//! The catalog as documentation: a page for each definition, and an index by category. Made from
//! definitions and their READMEs, and committed, so that they can be read without a build.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::catalog::Catalog;
use crate::definition::settings::{SettingProblem, SettingSpec, SettingType};
use crate::definition::{Definition, Sender};

/// The command that writes them anew; it stands on every page.
const COMMAND: &str = "cargo run --release -- destination docs";

/// All pages by their path below `docs/`: `destinations.md`, `destinations/<id>.md`.
#[must_use]
pub fn pages(catalog: &Catalog) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = catalog
        .definitions()
        .map(|one| (format!("destinations/{}.md", one.id()), page(one)))
        .collect();
    all.insert("destinations.md".to_owned(), index(catalog));
    all
}

/// Whether a text is one of these pages: such a file may be removed when its definition goes.
#[must_use]
pub fn is_page(text: &str) -> bool {
    text.contains(&made_of(""))
}

fn made_of(folder: &str) -> String {
    format!("<!-- Made from destinations/{folder}")
}

fn index(catalog: &Catalog) -> String {
    let mut by_category: BTreeMap<&str, Vec<&Definition>> = BTreeMap::new();
    for definition in catalog.definitions() {
        let of_category = by_category.entry(definition.category()).or_default();
        of_category.push(definition);
    }
    let mut text = format!(
        "# Destinations\n\n{}: `{COMMAND}` writes this anew. -->\n\n\
         There are {} kinds of destinations. Each page tells its settings and what is sent \
         for which event.\nEvents of a type that is not listed are filtered. Settings in brackets \
         are optional.\n",
        made_of(""),
        catalog.definitions().count()
    );
    for (category, definitions) in by_category {
        let _ = write!(
            text,
            "\n## {category}\n\n| type | service | events | settings |\n|---|---|---|---|\n"
        );
        for one in definitions {
            let settings: Vec<String> = sorted(one).into_iter().map(name_of).collect();
            let _ = writeln!(
                text,
                "| [`{id}`](destinations/{id}.md) | {} | {} | {} |",
                one.name(),
                events(one),
                settings.join(", "),
                id = one.id(),
            );
        }
    }
    text
}

fn page(definition: &Definition) -> String {
    let id = definition.id();
    let mut text = format!(
        "# {}\n\n{}{id}: `{COMMAND}` writes this anew. -->\n\n",
        definition.name(),
        made_of(""),
    );
    for line in at_a_glance(definition) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(without_title(definition.readme()).trim());
    text.push_str("\n\n## Every setting\n\n");
    if definition.settings().is_empty() {
        text.push_str("There are none.\n");
    } else {
        text.push_str("| setting | type | | what |\n|---|---|---|---|\n");
    }
    for spec in sorted(definition) {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            spec.name,
            kind(spec),
            need(spec),
            cell(&spec.help)
        );
    }
    let _ = write!(
        text,
        "\n## In a configuration\n\n{}",
        configuration(definition)
    );
    text
}

fn at_a_glance(definition: &Definition) -> Vec<String> {
    let mut lines = vec![
        format!(
            "- Type `{}`, category {}",
            definition.id(),
            definition.category()
        ),
        format!("- Events: {}", events(definition)),
    ];
    if !definition.docs().is_empty() {
        lines.push(format!(
            "- The service's own documentation: <{}>",
            definition.docs()
        ));
    }
    if definition.sender() != Sender::Blackhole {
        let hosts: Vec<String> = match (definition.hosts.as_slice(), &definition.request.url) {
            ([], Some(url)) => vec![format!("`{url}`")],
            (hosts, _) => hosts.iter().map(|host| format!("`{host}`")).collect(),
        };
        lines.push(format!("- Requests go to {}", hosts.join(", ")));
    }
    if let Some(batch) = definition.batch {
        lines.push(format!(
            "- Batches: up to {} events and {} bytes a request, waiting {} ms for company",
            batch.events_max, batch.bytes_max, batch.wait_ms
        ));
    }
    if definition.steps.len() > 1 {
        lines.push(format!(
            "- Each event takes up to {} steps, in which later requests depend on earlier answers",
            definition.steps.len()
        ));
    }
    if let Some(rate) = definition.rate_limit_per_s() {
        lines.push(format!("- At most {rate} requests a second"));
    }
    lines
}

/// Required ones first, else as they are sorted.
fn sorted(definition: &Definition) -> Vec<&SettingSpec> {
    let mut settings: Vec<&SettingSpec> = definition.settings().iter().collect();
    settings.sort_by_key(|spec| !spec.required);
    settings
}

fn name_of(spec: &SettingSpec) -> String {
    if spec.required {
        format!("`{}`", spec.name)
    } else {
        format!("(`{}`)", spec.name)
    }
}

fn events(definition: &Definition) -> String {
    definition
        .events()
        .map_or_else(|| "all".to_owned(), |events| events.join(", "))
}

fn kind(spec: &SettingSpec) -> String {
    if spec.choices.is_empty() {
        let kind = spec.kind.as_str();
        return match spec.range() {
            Some(range) => format!("{kind}, {range}"),
            None => kind.to_owned(),
        };
    }
    let choices: Vec<String> = spec
        .choices
        .iter()
        .map(|choice| format!("`{}`", cell(choice)))
        .collect();
    choices.join(", ")
}

fn need(spec: &SettingSpec) -> String {
    let mut words = Vec::new();
    if spec.required {
        words.push("required".to_owned());
    }
    if spec.secret {
        words.push("secret".to_owned());
    }
    if let Some(default) = &spec.default {
        words.push(format!("default `{}`", cell(&default.to_string())));
    }
    words.join(", ")
}

/// What would end a cell of a table, made harmless.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The README below its own title, which the page has already.
fn without_title(readme: &str) -> &str {
    match readme.trim_start().split_once('\n') {
        Some((title, rest)) if title.starts_with("# ") => rest,
        _ => readme,
    }
}

/// The least that an operator writes: what is required, and one way to sign in.
fn configuration(definition: &Definition) -> String {
    let id = definition.id();
    let (values, ways) = least(definition);
    let mut text = ways.map_or_else(String::new, |ways| format!("To sign in, {ways}.\n\n"));
    let _ = write!(
        text,
        "```toml\n[[destinations]]\nname = \"{id}\"\ntype = \"{id}\"\n"
    );
    let values: Vec<String> = values
        .into_iter()
        .map(|spec| format!("{} = {}", spec.name, example(id, spec)))
        .collect();
    if !values.is_empty() {
        let _ = writeln!(text, "settings = {{ {} }}", values.join(", "));
    }
    text + "```\n"
}

/// The settings without which nothing is sent, and where there are several ways to sign in, those.
fn least(definition: &Definition) -> (Vec<&SettingSpec>, Option<String>) {
    let all = definition.settings();
    let mut least: Vec<&SettingSpec> = all.iter().filter(|spec| spec.required).collect();
    let mut ways = None;
    while let Some(problem) = token_problem(definition, &least) {
        let token = definition.auth.iter().find_map(|auth| auth.token());
        let instead = token.and_then(|token| token.access_token.as_ref()?.names().next());
        let name = instead.unwrap_or(&problem.setting);
        let found = all.iter().find(|spec| spec.name == name);
        match found.filter(|spec| !least.iter().any(|known| known.name == spec.name)) {
            Some(spec) => least.push(spec),
            None => break,
        }
        let (_, said) = problem.problem.split_once(": ").unwrap_or_default();
        ways = ways.or_else(|| instead.map(|_| said.to_owned()));
    }
    (least, ways)
}

/// Why no token could be fetched with these.
fn token_problem(definition: &Definition, settings: &[&SettingSpec]) -> Option<SettingProblem> {
    let values = settings.iter().map(|spec| {
        let value = match spec.kind {
            SettingType::Url => json!("https://example.com"),
            SettingType::Number | SettingType::Integer => json!(1),
            SettingType::Boolean => json!(true),
            SettingType::List => json!([]),
            SettingType::Map => json!({}),
            SettingType::String => spec.choices.first().map_or(json!("x"), |one| json!(one)),
        };
        (spec.name.clone(), value)
    });
    let values: BTreeMap<String, serde_json::Value> = values.collect();
    let checked = definition.check_settings(&values.into()).ok()?;
    definition.check_token(&checked).err()
}

fn example(id: &str, spec: &SettingSpec) -> String {
    if spec.secret {
        let id = id.replace('-', "_");
        return format!("\"${{secret:{id}_{}}}\"", spec.name);
    }
    if let Some(choice) = spec.choices.first() {
        return format!("\"{choice}\"");
    }
    match spec.kind {
        SettingType::String => "\"..\"".to_owned(),
        SettingType::Url => "\"https://..\"".to_owned(),
        SettingType::Number | SettingType::Integer => "1".to_owned(),
        SettingType::Boolean => "true".to_owned(),
        SettingType::List => "[]".to_owned(),
        SettingType::Map => "{}".to_owned(),
    }
}

#[cfg(test)]
mod tests;
