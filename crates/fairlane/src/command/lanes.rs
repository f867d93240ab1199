//! `fairlane lanes`, `hold` and `resume`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use model::lane::LaneStatus;
use serde_json::json;

use crate::cli::{LaneArgs, LanesArgs};
use crate::client::AdminClient;
use crate::table;

/// Clears the screen and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub fn lanes(args: &LanesArgs) -> anyhow::Result<()> {
    let client = AdminClient::new(&args.admin);
    if let Some(connection) = &args.connection {
        let lane = client.get(&format!("/v1/lanes/{}", segment(connection)))?;
        println!("{}", serde_json::to_string_pretty(&lane)?);
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
            write!(out, "{}", table::lanes(&lanes))?;
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
