//! `fairlane replay`: a range of the log again, to one connection.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::ReplayArgs;
use crate::client::AdminClient;

/// How often the progress is asked for.
const POLL: Duration = Duration::from_millis(200);

pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let client = AdminClient::new(&args.admin);
    let mut body = json!({"connection": args.connection, "from": point(&args.from)});
    if let Some(to) = &args.to {
        body["to"] = point(to);
    }
    let mut replay = client.post("/v1/replays", &body)?;
    let id = replay["id"].clone();
    let shows = !args.admin.json && std::io::stderr().is_terminal();
    let mut told = String::new();
    while !args.detach && replay["finished"] != true {
        std::thread::sleep(POLL);
        let all = client.get("/v1/replays")?;
        let found = all["replays"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["id"] == id));
        match found {
            Some(found) => replay = found.clone(),
            None => bail!("replay {id} is gone: its connection was removed"),
        }
        if shows {
            let mut err = std::io::stderr().lock();
            write!(err, "\r\x1b[K{}", progress(&replay))?;
            err.flush()?;
        } else if !args.admin.json && state(&replay) != told {
            told = state(&replay).to_owned();
            eprintln!("{}", progress(&replay));
        }
    }
    if shows && !args.detach {
        eprintln!();
    }
    if args.admin.json {
        println!("{replay}");
    } else if args.detach {
        println!("replay {id} has begun; `fairlane lanes` shows it");
    } else {
        println!(
            "replay {id} has ended: offsets {} up to {}",
            replay["from"], replay["to"]
        );
    }
    Ok(())
}

fn state(replay: &Value) -> &str {
    replay["lane"]["state"].as_str().unwrap_or("starting")
}

fn progress(replay: &Value) -> String {
    let lane = &replay["lane"];
    let number = |key: &str| lane[key].as_u64().unwrap_or(0);
    let held = if state(replay) == "held" {
        " (it goes on when the lane is resumed; Ctrl-C leaves it alone)"
    } else {
        ""
    };
    format!(
        "{}: {} delivered, {} rejected, {} pending{held}",
        state(replay),
        number("delivered"),
        number("rejected"),
        number("pending"),
    )
}

/// A number is an offset; anything else is taken as a time, and judged by the API.
fn point(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| json!(text), |offset| json!(offset))
}
