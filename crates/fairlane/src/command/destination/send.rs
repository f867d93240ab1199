//! `fairlane destination send`: events on their way to the real service, once.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use catalog::play::check_line;
use catalog::{FinalRequest, result_text};
use delivery::trial::Answer;
use model::{Failure, JobResult};
use serde_json::{Map, Value, json};

use super::trial::{Bench, Struck};
use super::{lines_of_input, read};
use crate::cli::SendOnceArgs;

/// How much is shown of a body.
const SHOWN_BYTES_MAX: usize = 4_000;

pub fn run(args: &SendOnceArgs) -> anyhow::Result<ExitCode> {
    let bench = Bench::new(&args.trial)?;
    let mut out = std::io::stdout().lock();
    let mut all_well = true;
    for event in events(args)? {
        let struck = bench.send(&bench.settings, None, None, vec![event])?;
        let well =
            |result: &JobResult| matches!(result, JobResult::Delivered | JobResult::Filtered(_));
        all_well &= struck.results.iter().all(well);
        if args.json {
            writeln!(out, "{}", as_json(&struck))?;
        } else {
            writeln!(out, "{}", as_text(&struck))?;
        }
    }
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn events(args: &SendOnceArgs) -> anyhow::Result<Vec<Bytes>> {
    let lines: Vec<String> = match &args.event {
        Some(path) => read(path)?.lines().map(str::to_owned).collect(),
        None => lines_of_input().collect::<Result<_, _>>()?,
    };
    let mut events = Vec::new();
    for (index, line) in lines.into_iter().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        check_line(line.as_bytes())
            .with_context(|| format!("line {} is no JSON object", index + 1))?;
        // As its author wrote it: a definition that forwards events sends these very bytes.
        events.push(Bytes::from(line));
    }
    if events.is_empty() {
        bail!("there are no events: one JSON object a line");
    }
    Ok(events)
}

fn as_text(struck: &Struck) -> String {
    let mut text = String::new();
    for (request, answer) in &struck.exchanges {
        text.push_str(&format!("{} {}\n", request.method, request.url));
        for (name, value) in &request.headers {
            text.push_str(&format!("  {name}: {value}\n"));
        }
        text.push_str(&body_text(&request.body));
        match answer {
            Ok(answer) => {
                text.push_str(&format!("answer {}\n", answer.status));
                for (name, value) in &answer.headers {
                    text.push_str(&format!("  {name}: {value}\n"));
                }
                text.push_str(&body_text(&answer.body));
                if answer.truncated {
                    text.push_str("  (not read to its end)\n");
                }
            }
            Err(why) => text.push_str(&format!("no answer: {why}\n")),
        }
    }
    let results: Vec<String> = struck.results.iter().copied().map(result_text).collect();
    text.push_str(&format!("=> {}", results.join(", ")));
    if !struck.detail.is_empty() {
        text.push_str(&format!(" ({})", struck.detail));
    }
    if struck
        .results
        .contains(&JobResult::Failed(Failure::Blocked))
    {
        text.push_str("\nhere: --allow with the range of the address");
    }
    text.push('\n');
    text
}

fn body_text(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_default(),
        Err(_) => match std::str::from_utf8(body) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("({} bytes)", body.len()),
        },
    };
    let mut out = String::new();
    let mut left = SHOWN_BYTES_MAX;
    for line in text.lines() {
        if line.len() > left {
            out.push_str("  ..\n");
            break;
        }
        left -= line.len();
        out.push_str(&format!("  {line}\n"));
    }
    out
}

fn as_json(struck: &Struck) -> Value {
    let exchanges: Vec<Value> = struck
        .exchanges
        .iter()
        .map(|(request, answer)| {
            json!({"request": request_json(request), "answer": match answer {
                Ok(answer) => answer_json(answer),
                Err(why) => json!({"none": why}),
            }})
        })
        .collect();
    let results: Vec<String> = struck.results.iter().copied().map(result_text).collect();
    json!({"exchanges": exchanges, "results": results, "detail": struck.detail})
}

fn request_json(request: &FinalRequest) -> Value {
    json!({"method": request.method, "url": request.url, "headers": headers(&request.headers),
        "body": body(&request.body)})
}

fn answer_json(answer: &Answer) -> Value {
    json!({"status": answer.status, "headers": headers(&answer.headers),
        "body": body(&answer.body)})
}

fn headers(headers: &[(String, String)]) -> Value {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<Map<_, _>>()
        .into()
}

fn body(body: &[u8]) -> Value {
    if let Ok(value) = serde_json::from_slice(body) {
        return value;
    }
    match std::str::from_utf8(body) {
        Ok(text) => text.into(),
        Err(_) => format!("({} bytes)", body.len()).into(),
    }
}
