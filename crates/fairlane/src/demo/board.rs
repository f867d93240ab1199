//! What the demo shows: the live table, and the balance sheet at the end.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use model::lane::LaneStatus;
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::serve::App;
use crate::table::{self, quantile, time};

/// Without a terminal the table is printed only this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The live table.
pub struct Board {
    shown: bool,
    live: bool,
    began: Instant,
    /// Lines drawn last time: what is to be overwritten.
    drawn: usize,
    last_plain: Option<Instant>,
    /// Each lane's latencies when the faults began.
    calm: Vec<(String, Vec<u64>)>,
}

impl Board {
    pub fn new(shown: bool) -> Self {
        Self {
            shown,
            live: std::io::stdout().is_terminal(),
            began: Instant::now(),
            drawn: 0,
            last_plain: None,
            calm: Vec::new(),
        }
    }

    /// Remembers the latencies so far, so that the table can show both times apart.
    pub async fn faults_begin(&mut self, app: &App) {
        let lanes = app.lanes().await;
        self.calm = lanes
            .into_iter()
            .map(|lane| (lane.connection, lane.latency_ms_buckets))
            .collect();
        self.last_plain = None;
    }

    pub async fn draw(&mut self, app: &App, sent: u64, phase: &str) {
        if !self.shown {
            return;
        }
        if !self.live
            && self
                .last_plain
                .is_some_and(|last| last.elapsed() < PLAIN_EVERY)
        {
            return;
        }
        self.last_plain = Some(Instant::now());
        let lanes = app.lanes().await;
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut text = format!("{} | {sent} events accepted | {phase}\n", time(elapsed));
        text += &self.table(&lanes);
        let mut out = std::io::stdout().lock();
        let rewound = if self.live && self.drawn > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.drawn)
        } else {
            Ok(())
        };
        let written = rewound
            .and_then(|()| writeln!(out, "{text}"))
            .and_then(|()| out.flush());
        if written.is_err() {
            // Nobody reads any more (`demo | head`): go on without a table.
            self.shown = false;
        }
        self.drawn = text.lines().count() + 1;
    }

    /// The table at the end, also where the last one was just printed.
    pub async fn draw_last(&mut self, app: &App, sent: u64) {
        self.last_plain = None;
        self.draw(app, sent, "the stream of events has ended").await;
    }

    fn table(&self, lanes: &[LaneStatus]) -> String {
        let rows: Vec<Vec<String>> = lanes
            .iter()
            .map(|lane| {
                let calm = self.calm.iter().find(|(name, _)| *name == lane.connection);
                let (calm_p99, now) = match calm {
                    Some((_, calm)) => {
                        (quantile(calm, 0.99), since(&lane.latency_ms_buckets, calm))
                    }
                    None => (quantile(&lane.latency_ms_buckets, 0.99), Vec::new()),
                };
                vec![
                    lane.connection.clone(),
                    table::state(lane.state),
                    lane.counts.delivered.to_string(),
                    lane.pending.to_string(),
                    lane.retrying.to_string(),
                    if lane.pending == 0 {
                        "-".to_owned()
                    } else {
                        time(lane.backlog_age_ms)
                    },
                    calm_p99,
                    quantile(&now, 0.5),
                    quantile(&now, 0.99),
                    table::shorten(lane.last_error.as_deref().unwrap_or("-"), 40),
                ]
            })
            .collect();
        table::layout(
            &[
                "LANE",
                "STATE",
                "DELIVERED",
                "PENDING",
                "RETRYING",
                "OLDEST",
                "CALM P99",
                "FAULTS P50",
                "FAULTS P99",
                "LAST ERROR",
            ],
            &rows,
        )
    }
}

/// The deliveries since `before` was taken.
fn since(now: &[u64], before: &[u64]) -> Vec<u64> {
    now.iter()
        .enumerate()
        .map(|(index, count)| count - before.get(index).copied().unwrap_or(0).min(*count))
        .collect()
}

/// The books at the end: the product's counts, and beside them what the receivers counted.
pub async fn balance_sheet(app: &App, receivers: &[Receiver]) -> Value {
    let sheet = app.balance().await;
    let lanes: Vec<Value> = app
        .lanes()
        .await
        .iter()
        .map(|lane| {
            let receiver = receivers
                .iter()
                .find(|receiver| receiver.name == lane.connection);
            json!({
                "connection": lane.connection,
                "accepted": lane.accepted,
                "delivered": lane.counts.delivered,
                "rejected": lane.counts.rejected,
                "filtered": lane.counts.filtered_total(),
                "expired": lane.counts.expired,
                "pending": lane.pending,
                "received": receiver.map(Receiver::distinct),
                "requests": receiver.map(Receiver::requests),
            })
        })
        .collect();
    let mut sheet = serde_json::to_value(sheet).expect("the balance sheet has text keys");
    sheet["lanes"] = json!(lanes);
    sheet
}

pub fn render_sheet(sheet: &Value) -> String {
    let keys = [
        "accepted",
        "delivered",
        "rejected",
        "filtered",
        "expired",
        "pending",
        "received",
        "requests",
    ];
    let lanes = sheet["lanes"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<String>> = lanes
        .iter()
        .map(|lane| {
            let adds_up = lane["accepted"].as_u64()
                == ["delivered", "rejected", "filtered", "expired", "pending"]
                    .iter()
                    .map(|key| lane[key].as_u64())
                    .sum();
            let mut row = vec![
                lane["connection"].as_str().unwrap_or("-").to_owned(),
                if adds_up {
                    "balances"
                } else {
                    "DOES NOT BALANCE"
                }
                .to_owned(),
            ];
            row.extend(keys.map(|key| lane[key].to_string()));
            row
        })
        .collect();
    let header = [
        "BALANCE SHEET",
        "",
        "ACCEPTED",
        "DELIVERED",
        "REJECTED",
        "FILTERED",
        "EXPIRED",
        "PENDING",
        "RECEIVED",
        "REQUESTS",
    ];
    format!(
        "{}\naccepted x connections = {} jobs = {} delivered + {} rejected + {} filtered + {} expired + {} pending\n\
         (RECEIVED and REQUESTS are the destinations' own counts: distinct events taken, and all requests.)\n",
        table::layout(&header, &rows),
        sheet["jobs"],
        sheet["delivered"],
        sheet["rejected"],
        sheet["filtered"],
        sheet["expired"],
        sheet["pending"],
    )
}
