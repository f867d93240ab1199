//! `fairlane demo`: the whole program on loopback, with destinations that misbehave on purpose.
//!
//! ```text
//!   shop --HTTP--> ingest -> event log -> lanes --HTTP--> healthy
//!                                               --HTTP--> hangs
//!                                               --HTTP--> fails-half
//!                                               --HTTP--> rate-limits
//! ```
//!
//! All four are healthy for the first quarter; then the faults begin, and the table shows that the
//! healthy lane does not notice. The books at the end are held against the receivers' own.

mod board;
mod shop;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::json;

use self::board::Board;
use self::shop::Shop;
use crate::cli::DemoArgs;
use crate::load::LoadConnection;
use crate::receiver::{Keep, Receiver, Temper};
use crate::serve::{App, StopSignals};

const WRITE_KEY: &str = "demo-write-key";
/// How long all destinations are healthy where the demo has no end.
const CALM: Duration = Duration::from_secs(8);
/// How often the table is drawn.
const FRAME: Duration = Duration::from_millis(500);
/// How long the healthy lane may take to finish after the last event.
const SETTLE: Duration = Duration::from_secs(10);
/// What the rate-limiting destination takes, of the demo's default of 200 events a second.
const LIMITED_PER_S: u32 = 60;

pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let (dir, temporary) = directory(args)?;
    let receivers = [
        Receiver::start("healthy", Temper::Healthy, Keep::Ids).await?,
        Receiver::start("hangs", Temper::Hangs, Keep::Ids).await?,
        Receiver::start("fails-half", Temper::FailsHalf, Keep::Ids).await?,
        Receiver::start("rate-limits", Temper::LimitsTo(LIMITED_PER_S), Keep::Ids).await?,
    ];
    let config_path = dir.join("fairlane.toml");
    std::fs::write(&config_path, configuration(&receivers))
        .with_context(|| format!("cannot write {}", config_path.display()))?;
    let app = App::start(&config_path).await?;
    let shown = !args.json;
    if shown {
        println!("{}", introduction(&app, &config_path, temporary));
    }

    let mut board = Board::new(shown);
    let sent = drive(args, &app, &receivers, &mut board).await?;
    settle(&app, sent).await;
    board.draw_last(&app, sent).await;
    let sheet = board::balance_sheet(&app, &receivers).await;
    if args.json {
        println!("{sheet:#}");
    } else {
        println!("{}", board::render_sheet(&sheet));
    }
    app.stop().await;
    if shown {
        println!("{}", farewell(&dir, temporary));
    }
    if temporary {
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    anyhow::ensure!(
        sheet["balanced"] == true,
        "the books do not balance: please report this"
    );
    Ok(())
}

/// Sends the shop's events at the rate asked for, until the time is over or Ctrl-C; returns how
/// many were accepted.
async fn drive(
    args: &DemoArgs,
    app: &App,
    receivers: &[Receiver],
    board: &mut Board,
) -> anyhow::Result<u64> {
    let calm = args.run_for.map_or(CALM, |run_for| run_for / 4);
    let began = Instant::now();
    let mut sender = Sender::open(app.events_address()).await?;
    let mut next_frame = Duration::ZERO;
    let mut faulty = false;
    let mut signals = StopSignals::listen()?;
    loop {
        let elapsed = began.elapsed();
        if args.run_for.is_some_and(|run_for| elapsed >= run_for) {
            return Ok(sender.accepted);
        }
        if !faulty && elapsed >= calm {
            faulty = true;
            board.faults_begin(app).await;
            receivers.iter().for_each(Receiver::begin_faults);
        }
        sender.catch_up(elapsed, args.rate).await?;
        if elapsed >= next_frame {
            next_frame = elapsed + FRAME;
            let phase = if faulty {
                "faults: one hangs, one fails half, one rate-limits"
            } else {
                "calm: all four are healthy"
            };
            board.draw(app, sender.accepted, phase).await;
        }
        tokio::select! {
            () = signals.next() => {
                signals.end_at_next();
                return Ok(sender.accepted);
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

/// The shop's connection to ingest.
struct Sender {
    connection: LoadConnection,
    shop: Shop,
    made: u64,
    accepted: u64,
}

impl Sender {
    /// Most events of one request.
    const BATCH_MAX: u64 = 100;

    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let connection = LoadConnection::open(address, WRITE_KEY).await?;
        Ok(Self {
            connection,
            shop: Shop::new(7),
            made: 0,
            accepted: 0,
        })
    }

    /// Sends what is due by now.
    async fn catch_up(&mut self, elapsed: Duration, rate: u32) -> anyhow::Result<()> {
        let millis = u64::try_from(elapsed.as_millis())?;
        let due = millis * u64::from(rate) / 1_000;
        while self.made < due {
            let size = (due - self.made).min(Self::BATCH_MAX);
            let events: Vec<_> = (0..size).map(|_| self.shop.next_event()).collect();
            let body = Bytes::from(json!({ "batch": events }).to_string());
            self.made += size;
            if self.connection.post("/v1/batch", body).await? == 200 {
                self.accepted += size;
            }
        }
        Ok(())
    }
}

/// Waits until the healthy lane has nothing pending; the others may well never get there.
async fn settle(app: &App, sent: u64) {
    let end = Instant::now() + SETTLE;
    while Instant::now() < end {
        let lanes = app.lanes().await;
        let healthy = lanes.iter().find(|lane| lane.connection == "healthy");
        if healthy.is_some_and(|lane| lane.pending == 0 && lane.accepted >= sent) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where the data goes, and whether it is removed at the end.
fn directory(args: &DemoArgs) -> anyhow::Result<(PathBuf, bool)> {
    let (dir, temporary) = match &args.dir {
        Some(dir) => (dir.clone(), false),
        None => {
            let name = format!("fairlane-demo-{}", std::process::id());
            (std::env::temp_dir().join(name), true)
        }
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok((dir, temporary))
}

fn configuration(receivers: &[Receiver]) -> String {
    let mut text = format!(
        "# Written by `fairlane demo`. examples/fairlane.toml explains every key.\n\
         [server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\n\
         [delivery]\n# The demo's destinations are on this machine.\negress_allow = [\"127.0.0.0/8\"]\n\
         # The one that hangs would hold up the end for as long.\ndrain_timeout = \"1s\"\n\n\
         [[sources]]\nname = \"shop\"\nwrite_key = \"{WRITE_KEY}\"\n"
    );
    for receiver in receivers {
        text += &format!(
            "\n[[destinations]]\nname = \"{0}\"\ntype = \"webhook\"\nsettings = {{ url = \"http://{1}/hook\" }}\n\
             \n[[connections]]\nname = \"{0}\"\nsource = \"shop\"\ndestination = \"{0}\"\n",
            receiver.name, receiver.address
        );
    }
    text
}

fn introduction(app: &App, config: &Path, temporary: bool) -> String {
    let events = app.events_address();
    let kept = if temporary {
        "removed at the end"
    } else {
        "kept"
    };
    format!(
        "Fairlane demo: a shop's events in over HTTP, out to four webhooks, three of which will misbehave.\n\
         \n  configuration   {} ({kept})\
         \n  management API  http://{}/v1/lanes   metrics: /metrics\
         \n\nSend an event of your own:\n\
         \n  curl -u {WRITE_KEY}: http://{events}/v1/track -H 'content-type: application/json' \\\
         \n    -d '{{\"event\":\"Hello\",\"userId\":\"me\",\"properties\":{{\"from\":\"curl\"}}}}'\n",
        config.display(),
        app.management_address(),
    )
}

fn farewell(dir: &Path, temporary: bool) -> String {
    let again = if temporary {
        "`fairlane demo --dir demo-data` keeps its data; what was pending goes on at the next start"
            .to_owned()
    } else {
        format!(
            "the data is in {}: what is pending goes on at the next start",
            dir.display()
        )
    };
    format!(
        "Where to look next:\n  examples/fairlane.toml   a configuration, with every key explained\n  \
         docs/quickstart.md       your own source and destination\n  fairlane serve --help\n{again}"
    )
}

#[cfg(test)]
mod tests;
