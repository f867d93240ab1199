//! `fairlane replay` and `fairlane replays`: a range of the log again, to one connection.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use admin::control::{ReplayState, ReplayStatus};
use anyhow::Context as _;
use model::LaneState;
use serde_json::{Value, json};

use crate::cli::{AdminArgs, ReplayArgs, ReplaysCommand};
use crate::client::AdminClient;
use crate::serve::rfc3339;
use crate::table;

/// How often the progress is asked for.
const POLL: Duration = Duration::from_millis(200);
/// The rate that is shown is that of so many polls: 10 s.
const RATE_POLLS: usize = 50;
/// Without a terminal, a line so often.
const LINE: Duration = Duration::from_secs(10);

pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let client = AdminClient::new(&args.admin);
    let mut body = json!({"connection": args.connection, "from": point(&args.from)});
    if let Some(to) = &args.to {
        body["to"] = point(to);
    }
    if let Some(filter) = &args.filter {
        body["filter"] = json!(filter);
    }
    if let Some(rate) = args.rate {
        body["rate_limit_per_s"] = json!(rate);
    }
    let replay = read(client.post("/v1/replays", &body)?)?;
    if !args.detach {
        return follow(&args.admin, &client, replay);
    }
    if args.admin.json {
        println!("{}", json!(replay));
    } else {
        let id = replay.id;
        println!(
            "replay {id} has begun; `fairlane replays follow {id}` shows how it gets on, \
             `fairlane replays cancel {id}` ends it"
        );
    }
    Ok(())
}

pub fn steer(command: &ReplaysCommand) -> anyhow::Result<()> {
    match command {
        ReplaysCommand::List { admin } => {
            let answer = AdminClient::new(admin).get("/v1/replays")?;
            if admin.json {
                println!("{answer}");
                return Ok(());
            }
            let replays = answer["replays"].as_array().cloned().unwrap_or_default();
            let replays: anyhow::Result<Vec<_>> = replays.into_iter().map(read).collect();
            print!("{}", list(&replays?));
        }
        ReplaysCommand::Follow { admin, id } => {
            let client = AdminClient::new(admin);
            let replay = read(client.get(&format!("/v1/replays/{id}"))?)?;
            follow(admin, &client, replay)?;
        }
        ReplaysCommand::Cancel { admin, id } => {
            let path = format!("/v1/replays/{id}/cancel");
            let answer = AdminClient::new(admin).post(&path, &json!({}))?;
            if admin.json {
                println!("{answer}");
            } else {
                println!("{}", ended(&read(answer)?));
            }
        }
    }
    Ok(())
}

/// Shows how a replay gets on until it has ended.
fn follow(admin: &AdminArgs, client: &AdminClient, mut replay: ReplayStatus) -> anyhow::Result<()> {
    let path = format!("/v1/replays/{}", replay.id);
    let draws = !admin.json && std::io::stderr().is_terminal();
    let mut pace = Pace::default();
    let mut told: Option<(Option<String>, Instant)> = None;
    while replay.state == ReplayState::Running {
        pace.note(&replay, Instant::now());
        let line = progress(&replay, pace.per_s());
        if draws {
            let mut err = std::io::stderr().lock();
            write!(err, "\r\x1b[K{line}")?;
            err.flush()?;
        } else if !admin.json {
            let waits = waits(&replay);
            let news = told
                .as_ref()
                .is_none_or(|(before, at)| *before != waits || at.elapsed() >= LINE);
            if news {
                eprintln!("{line}");
                told = Some((waits, Instant::now()));
            }
        }
        std::thread::sleep(POLL);
        replay = read(client.get(&path)?)?;
    }
    if draws {
        eprintln!();
    }
    if admin.json {
        println!("{}", json!(replay));
    } else {
        println!("{}", ended(&replay));
    }
    Ok(())
}

/// How fast a replay got on of late.
#[derive(Default)]
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    fn note(&mut self, replay: &ReplayStatus, now: Instant) {
        if self.0.len() > RATE_POLLS {
            self.0.pop_front();
        }
        self.0.push_back((now, replay.counts.settled()));
    }

    /// Events a second; `None` while too little is known.
    fn per_s(&self) -> Option<f64> {
        let ((began, before), (now, after)) = (self.0.front()?, self.0.back()?);
        let seconds = now.duration_since(*began).as_secs_f64();
        let events = u32::try_from(after.saturating_sub(*before)).unwrap_or(u32::MAX);
        (seconds >= 1.0).then(|| f64::from(events) / seconds)
    }
}

/// One line: how far, how fast, until when, and what it waits for.
fn progress(replay: &ReplayStatus, per_s: Option<f64>) -> String {
    let settled = replay.counts.settled();
    let mut line = match replay.pending {
        Some(pending) => format!("{settled} of {}", settled + pending),
        None => format!("{settled} events"),
    };
    line += &format!(": {}", counts(replay));
    if let Some(per_s) = per_s {
        line += &format!("; {per_s:.0}/s");
        let pending = u32::try_from(replay.pending.unwrap_or(0)).unwrap_or(u32::MAX);
        let left = f64::from(pending) / per_s;
        if let Ok(left) = Duration::try_from_secs_f64(left) {
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            line += &format!(", done in about {}", table::time(left));
        }
    }
    if let Some(waits) = waits(replay) {
        line += &format!("; {waits}");
    }
    line
}

/// Why it does not get on, where it does not.
fn waits(replay: &ReplayStatus) -> Option<String> {
    let lane = replay.lane.as_ref()?;
    let what = match lane.state {
        LaneState::Active | LaneState::HalfOpen => return None,
        LaneState::Held { reason } => format!(
            "held: {} (it goes on when `fairlane resume {}` is said; Ctrl-C leaves it alone)",
            reason.as_str(),
            replay.connection
        ),
        LaneState::Open => "waits: the destination is down, only probes are sent".to_owned(),
        LaneState::Throttled => "slowed down by the destination".to_owned(),
        LaneState::Disabled => "switched off by the configuration".to_owned(),
    };
    let cause = lane.cause.as_deref().map(|cause| table::shorten(cause, 80));
    Some(cause.map_or(what.clone(), |cause| format!("{what}: {cause}")))
}

fn counts(replay: &ReplayStatus) -> String {
    let counts = &replay.counts;
    let named = [
        (counts.delivered, "delivered"),
        (counts.filtered_total(), "filtered"),
        (counts.rejected, "rejected"),
        (counts.expired, "expired"),
    ];
    let shown = named
        .iter()
        .filter(|(count, name)| *count > 0 || *name == "delivered")
        .map(|(count, name)| format!("{count} {name}"));
    shown.collect::<Vec<_>>().join(", ")
}

fn ended(replay: &ReplayStatus) -> String {
    let how = match replay.state {
        ReplayState::Running => "goes on",
        ReplayState::Finished => "has ended",
        ReplayState::Cancelled => "was cancelled",
    };
    format!(
        "replay {} {how}: offsets {} up to {}; {}",
        replay.id,
        replay.from.0,
        replay.to.0,
        counts(replay)
    )
}

fn list(replays: &[ReplayStatus]) -> String {
    if replays.is_empty() {
        return "no replays\n".to_owned();
    }
    let rows: Vec<Vec<String>> = replays
        .iter()
        .map(|replay| {
            let state = match replay.state {
                ReplayState::Running => waits(replay).unwrap_or_else(|| "running".to_owned()),
                ReplayState::Finished => "finished".to_owned(),
                ReplayState::Cancelled => "cancelled".to_owned(),
            };
            let rate = replay.rate_limit_per_s;
            vec![
                replay.id.to_string(),
                replay.connection.clone(),
                table::shorten(&state, 60),
                rfc3339(replay.started_at),
                replay.from.0.to_string(),
                replay.to.0.to_string(),
                replay.counts.delivered.to_string(),
                replay.counts.filtered_total().to_string(),
                replay.counts.rejected.to_string(),
                replay.counts.expired.to_string(),
                replay
                    .pending
                    .map_or_else(|| "-".to_owned(), |n| n.to_string()),
                rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate}/s")),
                table::shorten(replay.filter.as_deref().unwrap_or("-"), 40),
            ]
        })
        .collect();
    let header = [
        "ID",
        "CONNECTION",
        "STATE",
        "BEGUN",
        "FROM",
        "TO",
        "DELIVERED",
        "FILTERED",
        "REJECTED",
        "EXPIRED",
        "PENDING",
        "RATE",
        "FILTER",
    ];
    table::layout(&header, &rows)
}

fn read(value: Value) -> anyhow::Result<ReplayStatus> {
    serde_json::from_value(value)
        .context("the answer is not of this version of Fairlane: update both")
}

/// A number is an offset; anything else is taken as a time or `start`, and judged by the API.
fn point(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| json!(text), |offset| json!(offset))
}
