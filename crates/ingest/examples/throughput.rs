//! How fast ingest is on this machine, and what an event costs it.
//!
//! `cargo run --release -p ingest --example throughput [seconds] [clients] [events a request]`
//!
//! Real sockets, a real log in a temporary directory, clients in the same process. The processor
//! time is that of ingest's own threads, read from `/proc`; the clients' is not in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use eventlog::EventLog;
use ingest::{BodyKind, Options, SourceTable, preview, system_clock};
use model::{Name, Registry, Source, SourceId};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (seconds, clients, events) = (next(5)?, next(32)?, next(100)?);
    parse_alone(events)?;
    serve(
        Duration::from_secs(u64::try_from(seconds)?),
        clients,
        events,
    )
}

/// An event of about 1 KiB, with an id of its own.
fn event(number: u64) -> String {
    let padding = "A sentence about a product that somebody looked at. ".repeat(8);
    format!(
        r#"{{"type":"track","event":"Product Viewed","userId":"user-{user}","messageId":"node-next-1795428000000-{number:032x}","timestamp":"2026-11-23T10:00:00.000Z","properties":{{"product_id":"p-{user}","name":"Monopoly: 3rd Edition","price":18.99,"currency":"EUR","quantity":1,"category":"Games","url":"https://www.example.com/product/path","text":"{padding}"}},"context":{{"library":{{"name":"@segment/analytics-node","version":"3.1.0"}},"locale":"de-DE","userAgent":"Mozilla/5.0 (X11; Linux x86_64)"}},"_metadata":{{"nodeVersion":"24.1.0","jsRuntime":"node"}},"integrations":{{}}}}"#,
        user = number % 10_000,
    )
}

fn body(first: u64, events: usize) -> String {
    let events: Vec<_> = (first..).take(events).map(event).collect();
    format!(
        r#"{{"batch":[{}],"writeKey":"key","sentAt":"2026-11-23T10:00:01.000Z"}}"#,
        events.join(",")
    )
}

fn parse_alone(events: usize) -> Result<(), Failure> {
    let body = body(0, events);
    let begun = Instant::now();
    let mut rounds = 0_u32;
    while begun.elapsed() < Duration::from_millis(500) {
        preview(body.as_bytes(), BodyKind::Batch, system_clock()())?;
        rounds += 1;
    }
    let per_event = begun.elapsed() / rounds / u32::try_from(events)?;
    println!(
        "check and make canonical: {per_event:?} an event of {} bytes",
        event(0).len()
    );
    Ok(())
}

fn serve(time: Duration, clients: usize, events: usize) -> Result<(), Failure> {
    let dir = tempfile::TempDir::new()?;
    let clock = system_clock();
    let log = EventLog::open(eventlog::Options::new(dir.path().join("log")), clock())?.log;
    let source = Source {
        id: SourceId(1),
        name: Name::new("bench")?,
        write_keys: vec!["key".to_owned()],
        enabled: true,
        rate_limit_per_s: None,
    };
    let registry = Registry {
        sources: vec![source],
        ..Registry::default()
    };
    let sources = Arc::new(ArcSwap::from_pointee(SourceTable::from_registry(&registry)));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ingest = ingest::start(Options::default(), listener, log.clone(), sources, clock)?;
    let addr = ingest.local_addr();

    let begun = Instant::now();
    let sent: Vec<Result<usize, Failure>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0_u64..)
            .take(clients)
            .map(|number| scope.spawn(move || client(addr, number << 40, events, time)))
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|sent| sent.unwrap_or_else(|_| Err("a client panicked".into())))
            .collect()
    });
    let elapsed = begun.elapsed();
    let sent: usize = sent.into_iter().sum::<Result<_, _>>()?;
    let accepted: u64 = ingest
        .stats()
        .accepted()
        .iter()
        .map(|(_, count)| count)
        .sum();
    let latency = ingest.stats().ack_latency().buckets;
    let count = f64::from(u32::try_from(accepted)?);
    println!(
        "{clients} clients, {events} events a request: {:.0} events/s",
        count / elapsed.as_secs_f64()
    );
    for prefix in ["ingest", ""] {
        let cpu_us = cpu_us(prefix)?;
        let name = if prefix.is_empty() {
            "all threads still running"
        } else {
            "ingest's threads"
        };
        println!("{name}: {:.2} CPU us an event", cpu_us / count);
    }
    for share in [0.5, 0.99] {
        let bound = model::lane::latency_quantile_ms(&latency, share);
        println!(
            "p{:.0} of acknowledgement: at most {bound:?} ms",
            share * 100.0
        );
    }
    assert_eq!(
        u64::try_from(sent)?,
        accepted,
        "what was acknowledged was accepted"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ingest.shutdown(Duration::from_secs(5)));
    log.close();
    Ok(())
}

/// Sends until the time is over; the number of events that were acknowledged.
fn client(addr: SocketAddr, first: u64, events: usize, time: Duration) -> Result<usize, Failure> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let end = Instant::now() + time;
    let mut body = body(first, events).into_bytes();
    let places = id_places(&body);
    let mut number = first;
    let mut sent = 0;
    let mut answer = [0; 4_096];
    while Instant::now() < end {
        // New ids in the old text: making bodies must not be what is measured.
        for place in &places {
            let id = format!("{number:032x}");
            body.get_mut(*place..*place + 32)
                .ok_or("a place for an id")?
                .copy_from_slice(id.as_bytes());
            number += 1;
        }
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: t\r\nAuthorization: Basic a2V5Og==\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        let mut read = 0;
        while !answer
            .get(..read)
            .is_some_and(|answer| answer.ends_with(b"}"))
        {
            let more = stream.read(answer.get_mut(read..).ok_or("an answer that is small")?)?;
            if more == 0 {
                return Err("the server closed".into());
            }
            read += more;
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer).into_owned().into());
        }
        sent += events;
    }
    Ok(sent)
}

/// Where the changing part of each id stands.
fn id_places(body: &[u8]) -> Vec<usize> {
    let prefix = b"node-next-1795428000000-";
    let hits = body
        .windows(prefix.len())
        .enumerate()
        .filter(|(_, window)| window == prefix);
    hits.map(|(at, _)| at + prefix.len()).collect()
}

/// Processor time of this process' living threads whose name begins with `prefix`.
fn cpu_us(prefix: &str) -> Result<f64, Failure> {
    const US_A_TICK: f64 = 10_000.0;
    let mut ticks = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let (name, rest) = stat.rsplit_once(')').ok_or("a thread's name")?;
        if name
            .split_once('(')
            .is_some_and(|(_, name)| name.starts_with(prefix))
        {
            let fields: Vec<_> = rest.split_whitespace().collect();
            for field in fields.get(11..13).ok_or("processor times")? {
                ticks += field.parse::<f64>()?;
            }
        }
    }
    Ok(ticks * US_A_TICK)
}
