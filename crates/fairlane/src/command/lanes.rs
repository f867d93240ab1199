//! `fairlane lanes`, `hold` and `resume`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use admin::control::{LaneDetail, MinuteView};
use anyhow::Context as _;
use model::lane::LaneStatus;
use serde_json::{Value, json};

use crate::cli::{LaneArgs, LanesArgs};
use crate::client::AdminClient;
use crate::serve::{now, rfc3339};
use crate::table;

/// Clears the screen and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub fn lanes(args: &LanesArgs) -> anyhow::Result<()> {
    let client = AdminClient::new(&args.admin);
    if let Some(connection) = &args.connection {
        let lane = client.get(&format!("/v1/lanes/{}", segment(connection)))?;
        if args.admin.json {
            println!("{lane}");
        } else {
            print!("{}", detail(lane)?);
        }
        return Ok(());
    }
    loop {
        let answer = client.get("/v1/lanes")?;
        let mut out = std::io::stdout().lock();
        if args.admin.json {
            writeln!(out, "{answer}")?;
        } else {
            let lanes: Vec<LaneStatus> = serde_json::from_value(answer["lanes"].clone())
                .context("the answer is not of this version of Fairlane: update both")?;
            if args.watch && out.is_terminal() {
                write!(out, "{CLEAR}")?;
            }
            write!(out, "{}", table::lanes(&lanes, now()))?;
            if !answer["next"].is_null() {
                writeln!(
                    out,
                    "{} of {} lanes; --json and the API page on",
                    lanes.len(),
                    answer["total"]
                )?;
            }
        }
        out.flush()?;
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// One lane, and its last attempts that failed.
fn detail(answer: Value) -> anyhow::Result<String> {
    let detail: LaneDetail = serde_json::from_value(answer)
        .context("the answer is not of this version of Fairlane: update both")?;
    let mut text = table::lane(&detail.lane, now());
    let sum = |count: fn(&MinuteView) -> u64| detail.minutes.iter().map(count).sum::<u64>();
    let hour = format!(
        "{} delivered, {} filtered, {} rejected, {} expired; {} attempts failed",
        sum(|minute| minute.delivered),
        sum(|minute| minute.filtered),
        sum(|minute| minute.rejected),
        sum(|minute| minute.expired),
        sum(|minute| minute.attempts_failed),
    );
    text += &format!("{:<20}{hour}\n", "last hour");
    if detail.samples.is_empty() {
        return Ok(text);
    }
    let rows: Vec<Vec<String>> = detail
        .samples
        .iter()
        .map(|sample| {
            vec![
                rfc3339(sample.at),
                sample.offset.0.to_string(),
                sample.attempt.to_string(),
                table::shorten(&sample.result, 30),
                format!("{}ms", sample.latency_ms),
                table::shorten(&sample.request, 60),
                table::shorten(&sample.response, 60),
            ]
        })
        .collect();
    let header = [
        "ATTEMPT AT",
        "OFFSET",
        "TRY",
        "RESULT",
        "TOOK",
        "REQUEST",
        "ANSWER",
    ];
    text.push('\n');
    text += &table::layout(&header, &rows);
    Ok(text)
}

pub fn hold(args: &LaneArgs) -> anyhow::Result<()> {
    steer(args, "hold", "held: its events wait in the log")
}

pub fn resume(args: &LaneArgs) -> anyhow::Result<()> {
    steer(args, "resume", "goes on")
}

fn steer(args: &LaneArgs, verb: &str, done: &str) -> anyhow::Result<()> {
    let path = format!("/v1/lanes/{}/{verb}", segment(&args.connection));
    let lane = AdminClient::new(&args.admin).post(&path, &json!({}))?;
    if args.admin.json {
        println!("{lane}");
    } else {
        println!("{} {done}", args.connection);
    }
    Ok(())
}

/// A name as one segment of a path, whatever was typed.
fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
