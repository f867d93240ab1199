//! `fairlane send`: one event from the command line, or many from standard input.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use model::limits::EVENT_BYTES_MAX;
use serde_json::{Value, json};

use crate::cli::SendArgs;
use crate::client::{knows_write_key, post_events};

/// Events of one request when sending from standard input.
const BATCH: usize = 100;

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
    send(args, &[event])?;
    println!("accepted: it is durable, and on its way to every connection of its source");
    Ok(())
}

fn from_stdin(args: &SendArgs) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut sent = 0;
    let shows = std::io::stderr().is_terminal();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("cannot read standard input")?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Value = serde_json::from_str(&line)
            .with_context(|| format!("line {} is no JSON; {sent} events were sent", number + 1))?;
        batch.push(event);
        if batch.len() == BATCH {
            send(args, &batch).with_context(|| format!("{sent} events were sent"))?;
            sent += batch.len();
            batch.clear();
            if shows {
                eprint!("\r{sent} events accepted");
            }
        }
    }
    if !batch.is_empty() {
        send(args, &batch).with_context(|| format!("{sent} events were sent"))?;
        sent += batch.len();
    }
    if shows {
        eprintln!();
    }
    println!("{sent} events accepted");
    Ok(())
}

fn send(args: &SendArgs, events: &[Value]) -> anyhow::Result<()> {
    // Ingest answers 200 to these, as trackers in the field must not repeat them for ever.
    let bytes = |event: &Value| event.to_string().len();
    if let Some(large) = events.iter().map(bytes).find(|n| *n > EVENT_BYTES_MAX) {
        bail!("an event of {large} bytes would be discarded: the limit is {EVENT_BYTES_MAX}");
    }
    if !knows_write_key(&args.url, &args.write_key)? {
        bail!(
            "no source that is switched on has this write key: [[sources]] in fairlane.toml names them"
        );
    }
    let (status, answer) = post_events(&args.url, &args.write_key, &json!({"batch": events}))?;
    match status {
        200 => Ok(()),
        429 | 503 => {
            bail!("Fairlane asks for patience ({status}): try again in a moment: {answer}")
        }
        _ => bail!("refused with {status}: {answer}"),
    }
}
