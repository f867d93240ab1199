//! `fairlane send`: one event from the command line, or many from standard input.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use ingest::{BodyKind, Discard, preview};
use model::UnixMillis;
use model::limits::EVENT_BYTES_MAX;
use serde_json::{Value, json};

use crate::cli::SendArgs;
use crate::client::{knows_write_key, post_events};
use crate::table::shorten;

/// Events of one request when sending from standard input, and their bytes: less than ingest takes.
const BATCH_EVENTS_MAX: usize = 100;
const BATCH_BYTES_MAX: usize = 400 << 10;

const KINDS: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

pub fn run(args: &SendArgs) -> anyhow::Result<()> {
    if args.stdin {
        return from_stdin(args);
    }
    if !KINDS.contains(&args.kind.as_str()) {
        bail!(
            "{:?} is no type of event: use one of {}",
            args.kind,
            KINDS.join(", ")
        );
    }
    let properties: Value = serde_json::from_str(&args.properties)
        .with_context(|| format!("--properties is no JSON: {}", args.properties))?;
    if !properties.is_object() {
        bail!("--properties is no JSON object: {}", args.properties);
    }
    let mut event = json!({"type": args.kind, "userId": args.user_id});
    match args.kind.as_str() {
        "track" => event["event"] = json!(args.event),
        "group" => event["groupId"] = json!("test-group"),
        "alias" => event["previousId"] = json!(format!("before-{}", args.user_id)),
        _ => {}
    }
    let of_person = matches!(args.kind.as_str(), "identify" | "group");
    event[if of_person { "traits" } else { "properties" }] = properties;
    let event = event.to_string();
    judge(&event)?;
    let mut batch = Batch::default();
    batch.push(&event);
    send(args, batch)?;
    if args.json {
        println!("{}", json!({"accepted": 1}));
    } else {
        println!("accepted: it is durable, and on its way to every connection of its source");
    }
    Ok(())
}

fn from_stdin(args: &SendArgs) -> anyhow::Result<()> {
    let mut batch = Batch::default();
    let mut sent = 0;
    let shows = std::io::stderr().is_terminal();
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line.context("cannot read standard input")?;
        // Files that were made on Windows may begin so.
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        judge(line).with_context(|| format!("line {number}; {sent} events were sent"))?;
        if !batch.has_room_for(line) {
            sent += send(args, std::mem::take(&mut batch))
                .with_context(|| format!("{sent} events were sent"))?;
            if shows {
                eprint!("\r{sent} events accepted");
            }
        }
        batch.push(line);
    }
    if batch.events > 0 {
        sent += send(args, batch).with_context(|| format!("{sent} events were sent"))?;
    }
    if shows {
        eprintln!();
    }
    if args.json {
        println!("{}", json!({"accepted": sent}));
    } else {
        println!("{sent} events accepted");
    }
    Ok(())
}

/// Events as they were written, for one request.
#[derive(Default)]
struct Batch {
    text: String,
    events: usize,
}

impl Batch {
    fn has_room_for(&self, event: &str) -> bool {
        let bytes = self.text.len() + event.len();
        self.events == 0 || (self.events < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX)
    }

    fn push(&mut self, event: &str) {
        if self.events > 0 {
            self.text.push(',');
        }
        self.text.push_str(event);
        self.events += 1;
    }

    fn body(&self) -> String {
        format!("{{\"batch\":[{}]}}", self.text)
    }
}

/// Asks ingest's own code about one event: it answers 200 also to what it discards, as trackers in
/// the field must not repeat that for ever.
fn judge(event: &str) -> anyhow::Result<()> {
    let body = format!("{{\"batch\":[{event}]}}");
    let events = preview(body.as_bytes(), BodyKind::Batch, UnixMillis(0));
    let events = events.with_context(|| format!("this is no event: {}", shorten(event, 60)))?;
    let [event] = events.as_slice() else {
        bail!("write one JSON object a line");
    };
    let Err(discard) = event else {
        return Ok(());
    };
    match discard {
        Discard::NotAnObject => bail!("an event is a JSON object"),
        Discard::NoType => bail!(
            "the event would be discarded: give it a \"type\", one of {}",
            KINDS.join(", ")
        ),
        Discard::NoIdentity => {
            bail!("the event would be discarded: give it a \"userId\" or an \"anonymousId\"")
        }
        Discard::NoEventName => {
            bail!("the event would be discarded: give the track an \"event\", its name")
        }
        Discard::EventTooLarge => {
            bail!("the event would be discarded: the limit is {EVENT_BYTES_MAX} bytes")
        }
        other => bail!("the event would be discarded: {}", other.as_str()),
    }
}

/// Returns how many events were sent.
fn send(args: &SendArgs, batch: Batch) -> anyhow::Result<usize> {
    if !knows_write_key(&args.url, &args.write_key)? {
        bail!(
            "no source that is switched on has this write key: [[sources]] in fairlane.toml names them"
        );
    }
    let (status, answer) = post_events(&args.url, &args.write_key, &batch.body())?;
    match status {
        200 => Ok(batch.events),
        429 | 503 => {
            bail!("Fairlane asks for patience ({status}): try again in a moment: {answer}")
        }
        _ => bail!("refused with {status}: {answer}"),
    }
}
