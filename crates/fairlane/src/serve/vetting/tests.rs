//! What is said of programs and definitions of an operator's own.

use std::collections::BTreeMap;
use std::fs;

use catalog::definition::Folder;

use super::*;

const CONFIG: &str = r#"
[[sources]]
name = "web"
write_key = "k"
[[destinations]]
name = "hole"
type = "blackhole"
[[connections]]
name = "one"
source = "web"
destination = "hole"
filter = 'poison'
transform = 'poison'
[[connections]]
name = "two"
source = "web"
destination = "hole"
filter = 'poison'
ordering_key = '.a +'
ordering = "key"
"#;

fn config(text: &str) -> Config {
    let secret = |_: &str| None;
    let no_file = |_: &Path| Err("not there".to_owned());
    Config::parse("f.toml", text, &BTreeMap::new(), &secret, &no_file).unwrap()
}

/// A process apart that does not live through filters.
fn deadly(units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
    let verdict = |unit: &Unit| match unit {
        Unit::Filter(_) => Some("it died".to_owned()),
        _ => None,
    };
    Ok(units.iter().map(verdict).collect())
}

fn harmless(units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
    Ok(vec![None; units.len()])
}

#[test]
fn programs_of_connections_are_compiled_apart_before_they_are_here() {
    let mut catalog = Catalog::embedded().unwrap();
    let path = Path::new("f.toml");
    let told = vet(path, &config(CONFIG), &mut catalog, Moment::Check, &deadly).unwrap_err();
    let told = told.to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert_eq!(lines[0], "f.toml:12: filter of one: it died");
    // What is lived through apart is compiled here, and said to be wrong with its line.
    assert!(
        lines[1].starts_with("f.toml:13: transform of one: transform, line 1, column "),
        "{told}"
    );
    assert_eq!(lines[2], "f.toml:18: filter of two: it died");
    assert!(
        lines[3].starts_with("f.toml:19: ordering_key of two: ordering_key, line 1, column "),
        "{told}"
    );
}

#[test]
fn each_program_goes_once() {
    let asked = std::cell::RefCell::new(Vec::new());
    let ask = |units: &[Unit]| {
        asked.borrow_mut().extend(units.to_vec());
        harmless(units)
    };
    let connections = config(CONFIG).connections;
    Programs::compile(&connections, &ask).unwrap();
    let asked = asked.into_inner();
    // `poison` as a filter and as a transform are two: what is allowed in one is not in the other.
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.contains(&Unit::Filter("poison".to_owned())));
    assert!(asked.contains(&Unit::Transform("poison".to_owned())));
}

#[test]
fn a_definition_that_fails_its_case_harms_only_who_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("mine");
    fs::create_dir_all(folder.join("cases")).unwrap();
    let toml = "name = \"M\"\ncategory = \"c\"\nhosts = [\"a.example\"]\n";
    fs::write(folder.join("destination.toml"), toml).unwrap();
    fs::write(
        folder.join("event.vrl"),
        "{\"url\": \"https://a.example/\"}",
    )
    .unwrap();
    let case = r#"{"name": "goes elsewhere", "event": {"type": "track"}, "filtered": "x"}"#;
    fs::write(folder.join("cases/a.json"), case).unwrap();
    let catalog = || {
        let found = Folder::find_all(dir.path()).unwrap();
        Catalog::embedded().unwrap().with_folders(found)
    };
    let path = Path::new("f.toml");
    let other = "[[destinations]]\nname = \"hole\"\ntype = \"blackhole\"\n";
    let mut unused = catalog();
    vet(path, &config(other), &mut unused, Moment::Check, &harmless).unwrap();
    assert!(unused.get("mine").is_none() && unused.refusal("mine").is_some());

    let used = "[[destinations]]\nname = \"d\"\ntype = \"mine\"\n";
    let told = vet(
        path,
        &config(used),
        &mut catalog(),
        Moment::Check,
        &harmless,
    )
    .unwrap_err();
    let told = told.to_string();
    assert!(
        told.starts_with(
            "f.toml:1: destination d: definition mine: cases/a.json: case \"goes elsewhere\" fails"
        ),
        "{told}"
    );
}

/// A definition of an operator's own, with one more setting that is required, or none.
fn own(dir: &Path, required: Option<&str>, program: &str) -> Catalog {
    let folder = dir.join("mine");
    fs::create_dir_all(folder.join("cases")).unwrap();
    let setting = required.map_or_else(String::new, |name| {
        format!("[settings.{name}]\ntype = \"string\"\nrequired = true\nhelp = \"h\"\n")
    });
    let toml = format!("name = \"M\"\ncategory = \"c\"\nhosts = [\"a.example\"]\n{setting}");
    fs::write(folder.join("destination.toml"), toml).unwrap();
    fs::write(folder.join("event.vrl"), program).unwrap();
    let settings = required.map_or_else(String::new, |name| format!("\"{name}\": \"x\""));
    let case = format!(
        "{{\"name\": \"goes\", \"settings\": {{{settings}}}, \"event\": {{\"type\": \"track\"}}, \
         \"requests\": [{{\"method\": \"POST\", \"url\": \"https://a.example/\", \
         \"headers\": {{}}}}]}}"
    );
    fs::write(folder.join("cases/a.json"), case).unwrap();
    let found = Folder::find_all(dir).unwrap();
    Catalog::embedded().unwrap().with_folders(found)
}

/// One destination's definition that is gone, or does not fit any more, keeps nobody else from a
/// change; and none at all keeps a start from serving the others.
#[test]
fn a_lost_definition_holds_up_no_other_change() {
    let good = "{\"url\": \"https://a.example/\"}";
    let path = Path::new("f.toml");
    let used = config("[[destinations]]\nname = \"d\"\ntype = \"mine\"\n");
    let dir = tempfile::tempdir().unwrap();
    let was_used = |id: &str| id == "mine";
    let start = Moment::Start(&was_used);
    let mut before = own(dir.path(), None, good);
    vet(path, &used, &mut before, start, &harmless).unwrap();

    let mut gone = Catalog::embedded().unwrap();
    let reload = Moment::Reload(&before);
    vet(path, &used, &mut gone, reload, &harmless).unwrap();
    assert!(gone.get("mine").is_some() && gone.refusal("mine").is_some());

    let mut wants_more = own(dir.path(), Some("key"), good);
    vet(path, &used, &mut wants_more, reload, &harmless).unwrap();
    let told = wants_more.refusal("mine").unwrap().to_string();
    assert!(
        told.contains("key") && wants_more.get("mine").is_some(),
        "{told}"
    );

    // Broken at a start: its lanes are held. Asked, it is told.
    let mut broken = own(dir.path(), None, "{");
    vet(path, &used, &mut broken, start, &harmless).unwrap();
    assert!(broken.get("mine").is_none() && broken.refusal("mine").is_some());
    let mut broken = own(dir.path(), None, "{");
    assert!(vet(path, &used, &mut broken, Moment::Check, &harmless).is_err());
    // So are they where it is gone, or wants what its destination does not have.
    let mut gone = Catalog::embedded().unwrap();
    vet(path, &used, &mut gone, start, &harmless).unwrap();
    assert!(gone.get("mine").is_none() && gone.refusal("mine").is_some());
    let mut wants_more = own(dir.path(), Some("key"), good);
    vet(path, &used, &mut wants_more, start, &harmless).unwrap();
    assert!(wants_more.get("mine").is_some(), "others may fit it");
    let never = |_: &str| false;
    assert!(
        vet(
            path,
            &used,
            &mut wants_more,
            Moment::Start(&never),
            &harmless
        )
        .is_err()
    );
    // A type that never was is a slip of the pen.
    let slip = config("[[destinations]]\nname = \"d\"\ntype = \"mien\"\n");
    let mut catalog = own(dir.path(), None, good);
    assert!(vet(path, &slip, &mut catalog, start, &harmless).is_err());
}

/// Two connections to a webhook of batches, with further keys of `[delivery]` and of the second.
fn batches(delivery: &str, second: &str) -> String {
    let text = format!(
        "[delivery]\n{delivery}\n[[sources]]\nname = \"web\"\nwrite_key = \"k\"\n\
         [[destinations]]\nname = \"hook\"\ntype = \"webhook\"\n\
         settings = {{ url = \"https://a.example/\", batch_size = 500 }}\n\
         [[destinations]]\nname = \"alone\"\ntype = \"webhook\"\n\
         settings = {{ url = \"https://a.example/\" }}\n\
         [[connections]]\nsource = \"web\"\ndestination = \"alone\"\n\
         [[connections]]\nsource = \"web\"\ndestination = \"hook\"\n{second}\n\
         [[connections]]\nname = \"third\"\nsource = \"web\"\ndestination = \"hook\"\n"
    );
    let mut catalog = Catalog::embedded().unwrap();
    let vetted = vet(
        Path::new("f.toml"),
        &config(&text),
        &mut catalog,
        Moment::Check,
        &harmless,
    );
    vetted
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn a_window_that_holds_no_batch_is_refused() {
    assert_eq!(batches("", ""), "");
    assert_eq!(batches("window_jobs_max = 500", ""), "");
    assert_eq!(
        batches("window_jobs_max = 10\nbatch_events_max = 10", ""),
        ""
    );
    // What all have is told once.
    assert_eq!(
        batches("window_jobs_max = 10", ""),
        "f.toml:2: [delivery] window_jobs_max is 10, less than a batch to destination hook (500 \
         events, the largest of 2 connections'), which would never fill: raise it to 500, or set \
         batch_events_max to 10 or less"
    );
    assert_eq!(
        batches("window_bytes_max = '64KiB'", "batch_bytes_max = 65_536"),
        "f.toml:2: [delivery] window_bytes_max is 65536, less than a batch to destination hook \
         (1000000 bytes), which would never fill: raise it to 1000000, or set batch_bytes_max to \
         65536 or less"
    );
    // What one says of itself is told with its line.
    assert_eq!(
        batches("window_bytes_max = 1_000_000", "window_bytes_max = 999_999"),
        "f.toml:17: connection web:hook: window_bytes_max is 999999, less than a batch to \
         destination hook (1000000 bytes), which would never fill: raise it to 1000000, or set \
         batch_bytes_max to 999999 or less"
    );
    // Who narrows the batch needs no more than that.
    assert_eq!(
        batches("", "window_jobs_max = 300\nbatch_events_max = 300"),
        ""
    );
}
