//! The measurements themselves.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::product::{Product, WRITE_KEY};
use super::{DRAIN_MAX, Row, count, floor};
use crate::cli::BenchArgs;
use crate::load::{Latencies, LoadConnection};
use crate::receiver::{Keep, Receiver, Temper, stamped_id};

const BATCH: usize = 100;
const APPEND_SINGLE: &str = "floor: append, single";
const APPEND_BATCH: &str = "floor: append, batches of 100";
const POST: &str = "floor: bare client to receiver";

/// Which requests the load generator makes.
#[derive(Clone, Copy)]
pub struct Load {
    pub path: &'static str,
    pub batch: usize,
    pub event_bytes: usize,
    pub connections: u32,
    /// Sources that take turns, each with a write key of its own.
    pub sources: u64,
    pub run_for: Duration,
    /// Events a second over all connections; `None`: as fast as they are answered.
    pub rate: Option<f64>,
}

/// What the generator saw.
pub struct Sent {
    pub events: u64,
    pub seconds: f64,
    pub acknowledged: Latencies,
}

/// What `--only` chooses from. The floors are always measured.
pub const NAMES: [&str; 16] = [
    "ingest, single",
    "ingest, batches of 100",
    "end to end, single",
    "end to end, batches of 100 in",
    "delivery only",
    "nine of ten, all healthy",
    "nine of ten, the tenth hangs",
    "architectures: one shared queue",
    "architectures: a queue for each destination",
    "architectures: lanes",
    "over 10 lanes",
    "over 100 lanes",
    "over 1,000 lanes",
    "over 10,000 lanes",
    "idle lanes",
    "backlog",
];

/// # Errors
/// `only` chooses nothing.
pub fn check_only(only: Option<&str>) -> anyhow::Result<()> {
    let chosen = |only| NAMES.iter().any(|name| name.contains(only));
    match only {
        Some(only) if !chosen(only) => anyhow::bail!(
            "--only {only:?} chooses no measurement: give a part of one of these names:\n  {}",
            NAMES.join("\n  ")
        ),
        _ => Ok(()),
    }
}

pub async fn all(args: &BenchArgs) -> anyhow::Result<Vec<Row>> {
    let wanted = |name: &str| {
        debug_assert!(NAMES.contains(&name), "{name} cannot be chosen");
        args.only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let event_bytes = usize::try_from(args.event_bytes)?;
    let single = Load {
        path: "/v1/track",
        batch: 1,
        event_bytes,
        connections: args.connections,
        sources: 1,
        run_for: args.run_for,
        rate: None,
    };
    let batches = Load {
        path: "/v1/batch",
        batch: BATCH,
        connections: args.connections.min(16),
        ..single
    };
    let mut rows = Vec::new();
    let floor_for = args.run_for.min(Duration::from_secs(5));
    let event = Template::new(event_bytes).body(1, 0);
    eprintln!("floors ...");
    rows.push(floor::append(APPEND_SINGLE, &event, 1, floor_for)?);
    rows.push(floor::append(APPEND_BATCH, &event, BATCH, floor_for)?);
    let receiver = Receiver::start("floor", Temper::Healthy, Keep::Nothing).await?;
    rows.push(floor::post(POST, &receiver, &event, args.connections, floor_for).await?);
    for (name, load) in [
        ("ingest, single", single),
        ("ingest, batches of 100", batches),
    ] {
        if wanted(name) {
            eprintln!("{name} ...");
            rows.push(ingest(name, load).await?);
        }
    }
    for (name, load) in [
        ("end to end, single", single),
        ("end to end, batches of 100 in", batches),
    ] {
        if wanted(name) {
            eprintln!("{name} ...");
            let row = end_to_end(name, load).await?;
            let half = Load {
                rate: Some(row.rate() / 2.0),
                ..load
            };
            rows.push(row);
            if load.batch == 1 {
                eprintln!("acknowledgement at half load ...");
                rows.push(end_to_end("acknowledgement, half load", half).await?);
            }
        }
    }
    if wanted("delivery only") {
        eprintln!("delivery only ...");
        rows.push(delivery("delivery only", batches).await?);
    }
    for (name, temper) in [
        ("nine of ten, all healthy", Temper::Healthy),
        ("nine of ten, the tenth hangs", Temper::Hangs),
    ] {
        if wanted(name) {
            eprintln!("{name} ...");
            rows.push(
                isolation(
                    name,
                    Load {
                        rate: Some(200.0),
                        connections: 4,
                        ..single
                    },
                    temper,
                    "",
                )
                .await?,
            );
        }
    }
    for (name, keys) in ARCHITECTURES {
        if wanted(name) {
            eprintln!("{name} ...");
            let load = Load {
                // 100 events a second to each: the hanging one fills a queue in ten seconds.
                rate: Some(1_000.0),
                connections: 4,
                run_for: args.run_for.max(Duration::from_secs(30)),
                ..single
            };
            rows.push(isolation(name, load, Temper::Hangs, keys).await?);
        }
    }
    for (name, lanes) in SPREADS {
        if wanted(name) {
            eprintln!("{name} ...");
            let load = Load {
                sources: lanes,
                ..single
            };
            rows.push(spread(name, load).await?);
        }
    }
    if wanted("idle lanes") {
        eprintln!("idle lanes ...");
        rows.push(super::scale::idle_lanes("idle lanes", args.lanes)?);
    }
    if wanted("backlog") {
        eprintln!("backlog ...");
        rows.push(super::scale::backlog("backlog, destination dead", batches, args.backlog).await?);
    }
    Ok(rows)
}

/// What surrounds the id in an event: made once, because the generator shares the machine with
/// what it measures.
struct Template {
    before: String,
    after: String,
}

impl Template {
    fn new(event_bytes: usize) -> Self {
        let before = r#"{"type":"track","event":"Order Completed","messageId":""#.to_owned();
        let mut after = concat!(
            r#"","userId":"customer-1842","context":{"library":{"name":"bench","version":"1"},"#,
            r#""locale":"en-GB"},"properties":{"order_id":"o-1","revenue":18.9,"currency":"EUR","#,
            r#""padding":""#
        )
        .to_owned();
        let id_bytes = 24;
        let missing = event_bytes.saturating_sub(before.len() + after.len() + id_bytes + 3);
        after.push_str(&"x".repeat(missing));
        after.push_str("\"}}");
        Self { before, after }
    }

    /// One body; `number` makes the ids of its events its own.
    fn body(&self, batch: usize, number: u64) -> Bytes {
        let mut body = String::with_capacity(batch * (self.before.len() + self.after.len() + 32));
        if batch > 1 {
            body.push_str("{\"batch\":[");
        }
        for index in 0..batch {
            if index > 0 {
                body.push(',');
            }
            let place = number * 1_000 + u64::try_from(index).expect("an index fits 64 bits");
            body.push_str(&self.before);
            body.push_str(&stamped_id(place));
            body.push_str(&self.after);
        }
        if batch > 1 {
            body.push_str("]}");
        }
        Bytes::from(body)
    }
}

/// Posts for as long as the load says, over all its connections.
pub async fn generate(product: &Product, load: Load) -> anyhow::Result<Sent> {
    let template = Arc::new(Template::new(load.event_bytes));
    let number = Arc::new(AtomicU64::new(0));
    let events = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..load.connections {
        let mut connection = LoadConnection::open(product.ingest, WRITE_KEY).await?;
        let (number, events) = (Arc::clone(&number), Arc::clone(&events));
        let template = Arc::clone(&template);
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while began.elapsed() < load.run_for {
                let mine = number.fetch_add(1, Ordering::Relaxed);
                if let Some(rate) = load.rate {
                    let due = Duration::from_secs_f64(count(mine) / rate);
                    tokio::time::sleep_until((began + due).into()).await;
                }
                let body = template.body(load.batch, mine);
                if load.sources > 1 {
                    connection.speak_for(&write_key(mine % load.sources));
                }
                let sent = Instant::now();
                let status = connection.post(load.path, body).await?;
                if status == 200 {
                    latencies.record(sent.elapsed());
                    events.fetch_add(u64::try_from(load.batch)?, Ordering::Relaxed);
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let mut acknowledged = Latencies::default();
    while let Some(task) = tasks.join_next().await {
        acknowledged.merge(task??);
    }
    let events = events.load(Ordering::Relaxed);
    Ok(Sent {
        events,
        seconds: began.elapsed().as_secs_f64(),
        acknowledged,
    })
}

/// The write key of one of several sources.
pub fn write_key(source: u64) -> String {
    format!("{WRITE_KEY}-{source}")
}

pub fn source() -> String {
    format!("[[sources]]\nname = \"bench\"\nwrite_key = \"{WRITE_KEY}\"\n")
}

fn webhook(name: &str, receiver: &Receiver) -> String {
    format!(
        "[[destinations]]\nname = \"{name}\"\ntype = \"webhook\"\nsettings = {{ url = \"http://{}/\" }}\n\
         [[connections]]\nname = \"{name}\"\nsource = \"bench\"\ndestination = \"{name}\"\n",
        receiver.address
    )
}

async fn ingest(name: &'static str, load: Load) -> anyhow::Result<Row> {
    let product = Product::start("ingest", &source())?;
    let before = product.cpu_seconds()?;
    let mut sent = generate(&product, load).await?;
    Ok(Row {
        name,
        floor: Some(if load.batch == 1 {
            APPEND_SINGLE
        } else {
            APPEND_BATCH
        }),
        events: sent.events,
        seconds: sent.seconds,
        cpu_seconds: Some(product.cpu_seconds()? - before),
        p50_ms: Some(sent.acknowledged.quantile_ms(500)),
        p99_ms: Some(sent.acknowledged.quantile_ms(990)),
        rss_mib: Some(product.rss_mib()?),
        ..Row::default()
    })
}

/// The same load over ever more lanes: what isolation costs.
const SPREADS: [(&str, u64); 4] = [
    ("over 10 lanes", 10),
    ("over 100 lanes", 100),
    ("over 1,000 lanes", 1_000),
    ("over 10,000 lanes", 10_000),
];

/// End to end, each source with a destination and a lane of its own.
async fn spread(name: &'static str, load: Load) -> anyhow::Result<Row> {
    let receiver = Receiver::start("bench", Temper::Healthy, Keep::Nothing).await?;
    let mut registry = String::new();
    for index in 0..load.sources {
        write!(
            registry,
            "[[sources]]\nname = \"s{index}\"\nwrite_key = \"{}\"\n\
             [[destinations]]\nname = \"d{index}\"\ntype = \"webhook\"\n\
             settings = {{ url = \"http://{}/{index}\" }}\n\
             [[connections]]\nsource = \"s{index}\"\ndestination = \"d{index}\"\n",
            write_key(index),
            receiver.address
        )?;
    }
    arrive(name, &receiver, &registry, load).await
}

/// Events in, one webhook request an event out; counted until the last has arrived.
async fn end_to_end(name: &'static str, load: Load) -> anyhow::Result<Row> {
    let receiver = Receiver::start("bench", Temper::Healthy, Keep::Nothing).await?;
    let registry = source() + &webhook("hook", &receiver);
    arrive(name, &receiver, &registry, load).await
}

async fn arrive(
    name: &'static str,
    receiver: &Receiver,
    registry: &str,
    load: Load,
) -> anyhow::Result<Row> {
    let product = Product::start("e2e", registry)?;
    let before = product.cpu_seconds()?;
    let began = Instant::now();
    let mut sent = generate(&product, load).await?;
    let end = Instant::now() + DRAIN_MAX;
    while receiver.accepted() < sent.events {
        anyhow::ensure!(
            Instant::now() < end,
            "{} of {} events arrived",
            receiver.accepted(),
            sent.events
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(Row {
        name,
        floor: Some(POST),
        events: sent.events,
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: Some(product.cpu_seconds()? - before),
        p50_ms: Some(sent.acknowledged.quantile_ms(500)),
        p99_ms: Some(sent.acknowledged.quantile_ms(990)),
        rss_mib: Some(product.rss_mib()?),
        ..Row::default()
    })
}

/// A backlog is built up behind a held lane; then only delivery runs.
async fn delivery(name: &'static str, load: Load) -> anyhow::Result<Row> {
    let receiver = Receiver::start("bench", Temper::Healthy, Keep::Nothing).await?;
    let product = Product::start("delivery", &(source() + &webhook("hook", &receiver)))?;
    product.admin.post("/v1/lanes/hook/hold", &json!({}))?;
    let backlog = Load {
        run_for: Duration::from_secs(2),
        ..load
    };
    let sent = generate(&product, backlog).await?;
    let before = product.cpu_seconds()?;
    let already = receiver.accepted();
    product.admin.post("/v1/lanes/hook/resume", &json!({}))?;
    let began = Instant::now();
    let end = began + DRAIN_MAX;
    while receiver.accepted() < sent.events && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(Row {
        name,
        floor: Some(POST),
        events: receiver.accepted() - already,
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: Some(product.cpu_seconds()? - before),
        rss_mib: Some(product.rss_mib()?),
        ..Row::default()
    })
}

/// The three designs with the real program, by what `[delivery]` says: a queue holds a thousand
/// jobs, for all that share it.
const ARCHITECTURES: [(&str, &str); 3] = [
    (
        "architectures: one shared queue",
        "queues = \"shared\"\nqueue_jobs_max = 1000\n",
    ),
    (
        "architectures: a queue for each destination",
        "queues = \"destination\"\nqueue_jobs_max = 1000\n",
    ),
    ("architectures: lanes", "window_jobs_max = 1000\n"),
];

/// Ten destinations of one source; the latency is that of the first nine. `delivery` are further
/// keys of that section.
async fn isolation(
    name: &'static str,
    load: Load,
    tenth: Temper,
    delivery: &str,
) -> anyhow::Result<Row> {
    let mut registry = delivery.to_owned() + &source();
    let mut healthy = Vec::new();
    for index in 0..9 {
        let receiver = Receiver::start("healthy", Temper::Healthy, Keep::Latencies).await?;
        write!(
            registry,
            "{}",
            webhook(&format!("healthy-{index}"), &receiver)
        )?;
        healthy.push(receiver);
    }
    let sick = Receiver::start("tenth", tenth, Keep::Nothing).await?;
    sick.begin_faults();
    write!(registry, "{}", webhook("tenth", &sick))?;
    let product = Product::start("isolation", &registry)?;
    let before = product.cpu_seconds()?;
    // 200 events a second in all: each event goes to ten destinations.
    let sent = generate(
        &product,
        Load {
            rate: load.rate.map(|rate| rate / 10.0),
            ..load
        },
    )
    .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut latencies = Latencies::default();
    for receiver in &healthy {
        latencies.merge(receiver.take_latencies());
    }
    anyhow::ensure!(
        !latencies.is_empty(),
        "nothing arrived at the nine healthy destinations"
    );
    let arrived: u64 = healthy.iter().map(Receiver::accepted).sum();
    let wanted = sent.events * 9;
    // What has not arrived has no latency: where that is more than one in a hundred, there is no p99.
    let late = wanted.saturating_sub(arrived);
    let p99_ms = (late * 100 <= wanted).then(|| latencies.quantile_ms(990));
    Ok(Row {
        name,
        events: arrived,
        seconds: sent.seconds,
        cpu_seconds: Some(product.cpu_seconds()? - before),
        p50_ms: Some(latencies.quantile_ms(500)),
        p99_ms,
        note: match late {
            0 => String::new(),
            late => format!("{late} of {wanted} still wait"),
        },
        rss_mib: Some(product.rss_mib()?),
        ..Row::default()
    })
}
