//! `fairlane destination verify`: definitions held against facts, which are events with the requests
//! that are known to be right for them.
//!
//! A request is equal where method, URL (parameters in any order), every header that the fact names
//! and the body are: as JSON (keys in any order, `1` is `1.0`), as pairs where it is a form.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use catalog::compare::Difference;
use catalog::play::{NOW_UNIX_S, TOKEN};
use catalog::{Definition, Refused, Transformer, compact, play_line_at};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{catalog, check_settings, find_in, parallel, read, transformer};
use crate::cli::VerifyArgs;
use crate::table;

mod request;

use request::FactRequest;

#[derive(Deserialize)]
struct Facts {
    #[serde(default)]
    example_settings: BTreeMap<String, Value>,
    #[serde(default)]
    cases: Vec<FactCase>,
}

#[derive(Deserialize)]
struct FactCase {
    name: String,
    #[serde(default)]
    via: String,
    /// A case without one shows a request's shape, not an event's.
    event: Option<Box<RawValue>>,
    #[serde(default)]
    answers: Vec<FactAnswer>,
}

#[derive(Deserialize)]
struct FactAnswer {
    #[serde(default)]
    requests: Vec<FactRequest>,
}

/// How one definition fared.
#[derive(Default)]
struct Score {
    id: String,
    /// Requests; and cases in which rightly none is made.
    equal: usize,
    different: usize,
    /// Requests that are not made at all.
    missing: usize,
    /// Requests that no fact knows.
    extra: usize,
    unknown_settings: Vec<String>,
    /// The definition could not be run at all.
    problem: Option<String>,
    notes: Vec<Note>,
}

/// One request, or case, that is not as it should be.
struct Note {
    case: String,
    what: String,
    differences: Vec<Difference>,
}

pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let catalog = catalog(&args.overlay)?;
    let mut defined = Vec::new();
    let mut undefined = Vec::new();
    let mut refused = Vec::new();
    let dir = facts_dir(&args.facts);
    let ids = chosen(args, &dir)?;
    let files = ids.len();
    let mut any_case = false;
    for id in ids {
        let file = dir.join(format!("{id}.json"));
        let facts: Facts = serde_json::from_str(&read(&file)?)
            .with_context(|| format!("{} holds no facts", file.display()))?;
        any_case |= facts.cases.iter().any(FactCase::says_something);
        match catalog.get(&id) {
            Some(definition) => defined.push((definition, facts)),
            None if catalog.refusal(&id).is_some() => refused.push((id, facts)),
            None if args.ids.is_empty() => undefined.push(id),
            None => drop(find_in(&catalog, &id)?),
        }
    }
    if !any_case {
        return Err(nothing_in(&dir, files));
    }
    let mut scores = parallel::map(&defined, |(definition, facts)| score(definition, facts))?;
    for (id, facts) in &refused {
        let problem = catalog.refusal(id).map(ToString::to_string);
        scores.push(Score::without(id, facts, problem.unwrap_or_default()));
    }
    scores.sort_by(|left, right| left.id.cmp(&right.id));
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&as_json(&scores, &undefined))?
        );
    } else {
        show(&scores, &undefined, args.verbose);
    }
    let off = scores.iter().filter(|score| !score.is_right()).count();
    if args.strict && off > 0 {
        bail!(
            "{off} of {} definitions differ from the facts",
            scores.len()
        );
    }
    Ok(())
}

/// The directory itself, or its `facts`.
fn facts_dir(dir: &Path) -> PathBuf {
    let below = dir.join("facts");
    if below.is_dir() {
        below
    } else {
        dir.to_owned()
    }
}

fn chosen(args: &VerifyArgs, dir: &Path) -> anyhow::Result<Vec<String>> {
    if !args.ids.is_empty() {
        return Ok(args.ids.clone());
    }
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(id) = Path::new(&name).file_stem()
            && name.ends_with(".json")
        {
            ids.push(id.to_string_lossy().into_owned());
        }
    }
    ids.sort();
    Ok(ids)
}

/// Any JSON object can be read as facts without a case: another directory's files would all be right.
fn nothing_in(dir: &Path, files: usize) -> anyhow::Error {
    anyhow::anyhow!(
        "no case with an event or requests in {files} files <id>.json of {}: DIR, or DIR/facts, \
         should hold the files of facts themselves",
        dir.display()
    )
}

impl Score {
    /// Of a definition that cannot be run.
    fn without(id: &str, facts: &Facts, problem: String) -> Self {
        let wanted = facts.cases.iter().filter(|case| case.event.is_some());
        Self {
            id: id.to_owned(),
            missing: wanted.map(|case| case.requests().count()).sum(),
            problem: Some(problem),
            ..Self::default()
        }
    }

    fn is_right(&self) -> bool {
        self.problem.is_none() && self.different + self.missing + self.extra == 0
    }
}

fn score(definition: &Arc<Definition>, facts: &Facts) -> Score {
    let mut score = Score {
        id: definition.id().to_owned(),
        ..Score::default()
    };
    let settings = settings_of(definition, facts, &mut score.unknown_settings);
    let made = check_settings(definition, &settings)
        .and_then(|settings| transformer(definition, settings));
    let mut transformer = match made {
        Ok(transformer) => transformer,
        Err(error) => {
            return Score {
                unknown_settings: score.unknown_settings,
                ..Score::without(definition.id(), facts, format!("{error:#}"))
            };
        }
    };
    for case in &facts.cases {
        if let Some(event) = &case.event {
            score.play(&mut transformer, case, event);
        }
    }
    score
}

/// The facts' settings under the definition's names. What the definition does not know is left out.
fn settings_of(
    definition: &Definition,
    facts: &Facts,
    unknown: &mut Vec<String>,
) -> model::Settings {
    let known: HashSet<&str> = definition
        .settings()
        .iter()
        .map(|spec| spec.name.as_str())
        .collect();
    let mut settings = BTreeMap::new();
    for (name, value) in &facts.example_settings {
        let name = snake_case(name);
        if known.contains(name.as_str()) {
            settings.insert(name, value.clone());
        } else {
            unknown.push(name);
        }
    }
    // The facts' own sender had one from elsewhere.
    let token = "access_token";
    if definition
        .settings()
        .iter()
        .any(|spec| spec.name == token && spec.required)
    {
        settings
            .entry(token.to_owned())
            .or_insert_with(|| json!(TOKEN));
    }
    settings.into()
}

/// `accountID` and `Account ID` are `account_id`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (index, c) in chars.iter().enumerate() {
        if c.is_whitespace() || *c == '-' {
            out.push('_');
            continue;
        }
        let before = index.checked_sub(1).and_then(|index| chars.get(index));
        let after = chars.get(index + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if begins {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

impl FactCase {
    /// An event that rightly makes no request says something too.
    fn says_something(&self) -> bool {
        self.event.is_some() || self.requests().next().is_some()
    }

    fn requests(&self) -> impl Iterator<Item = &FactRequest> {
        self.answers.iter().flat_map(|answer| &answer.requests)
    }
}

impl Score {
    fn play(&mut self, transformer: &mut Transformer, case: &FactCase, event: &RawValue) {
        let name = format!("{} ({})", case.name, case.via);
        let line = compact(event.get());
        let now_unix_s = attempted_at(&line).unwrap_or(NOW_UNIX_S);
        let outcome = play_line_at(transformer, line.as_bytes(), &[], now_unix_s);
        let why = match outcome.refused {
            None => String::new(),
            Some(Refused::Filtered(why)) => format!(": filtered, {why}"),
            Some(Refused::Rejected(why)) => format!(": rejected, {why}"),
            Some(Refused::Answered(result)) => format!(": {result}"),
        };
        let mut made = outcome.requests;
        let mut left: Vec<&FactRequest> = Vec::new();
        let wanted: Vec<&FactRequest> = case.requests().collect();
        if wanted.is_empty() && made.is_empty() {
            self.equal += 1;
        }
        // Equal ones are paired first: their order does not matter.
        for fact in wanted {
            match made
                .iter()
                .position(|made| fact.differences(made).is_empty())
            {
                Some(index) => {
                    made.remove(index);
                    self.equal += 1;
                }
                None => left.push(fact),
            }
        }
        let mut made = made.into_iter();
        for fact in left {
            let (what, differences) = match made.next() {
                Some(made) => {
                    self.different += 1;
                    ("wanted -> made".to_owned(), fact.differences(&made))
                }
                None => {
                    self.missing += 1;
                    (
                        format!("missing{why}: {} {}", fact.method, fact.url),
                        Vec::new(),
                    )
                }
            };
            self.notes.push(Note {
                case: name.clone(),
                what,
                differences,
            });
        }
        for extra in made {
            self.extra += 1;
            self.notes.push(Note {
                case: name.clone(),
                what: format!("not wanted: {extra}"),
                differences: Vec::new(),
            });
        }
    }
}

/// Signatures hold the time of the attempt: the second after the event has come in.
fn attempted_at(event: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Received {
        #[serde(rename = "receivedAt")]
        at: String,
    }
    let received: Received = serde_json::from_str(event).ok()?;
    let at = chrono::DateTime::parse_from_rfc3339(&received.at).ok()?;
    let ms = u64::try_from(at.timestamp_millis()).ok()?;
    Some(ms.div_ceil(1_000))
}

fn show(scores: &[Score], undefined: &[String], verbose: bool) {
    for score in scores {
        if let Some(problem) = &score.problem {
            println!("{}: {problem}\n", score.id);
        }
        if !score.unknown_settings.is_empty() {
            println!(
                "{}: settings of the facts that the definition has not: {}\n",
                score.id,
                score.unknown_settings.join(", ")
            );
        }
        for note in score.notes.iter().filter(|_| verbose) {
            println!("{} / {}: {}", score.id, note.case, note.what);
            for difference in &note.differences {
                println!("    {difference}");
            }
            println!();
        }
    }
    let row = |score: &Score| {
        let counts = [score.equal, score.different, score.missing, score.extra];
        std::iter::once(score.id.clone())
            .chain(counts.map(|count| count.to_string()))
            .collect()
    };
    let mut rows: Vec<Vec<String>> = scores.iter().map(row).collect();
    rows.push(row(&total(scores)));
    let head = ["DESTINATION", "EQUAL", "DIFFERENT", "MISSING", "EXTRA"];
    print!("{}", table::layout(&head, &rows));
    if !undefined.is_empty() {
        println!(
            "\n{} of the facts have no definition: {}",
            undefined.len(),
            undefined.join(", ")
        );
    }
}

fn total(scores: &[Score]) -> Score {
    let sum = |count: fn(&Score) -> usize| scores.iter().map(count).sum();
    Score {
        id: format!("all {}", scores.len()),
        equal: sum(|score| score.equal),
        different: sum(|score| score.different),
        missing: sum(|score| score.missing),
        extra: sum(|score| score.extra),
        ..Score::default()
    }
}

fn as_json(scores: &[Score], undefined: &[String]) -> Value {
    let one = |score: &Score| {
        let notes: Vec<Value> = score
            .notes
            .iter()
            .map(|note| {
                let places: Vec<String> =
                    note.differences.iter().map(ToString::to_string).collect();
                json!({"case": note.case, "what": note.what, "differences": places})
            })
            .collect();
        json!({
            "id": score.id, "equal": score.equal, "different": score.different,
            "missing": score.missing, "extra": score.extra, "problem": score.problem,
            "unknown_settings": score.unknown_settings, "notes": notes,
        })
    };
    let total = total(scores);
    json!({
        "destinations": scores.iter().map(one).collect::<Vec<_>>(),
        "equal": total.equal, "different": total.different,
        "missing": total.missing, "extra": total.extra,
        "undefined": undefined,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, snake) in [
            ("apiKey", "api_key"),
            ("accountID", "account_id"),
            ("APIKey", "api_key"),
            ("Account Name", "account_name"),
            ("sdk_key", "sdk_key"),
            ("oauth2Token", "oauth2_token"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
