//! What was sent, what was acknowledged and what arrived: books of the tests' own, which the
//! product's are held against. Every acknowledged event arrives (lost = 0), nothing arrives that
//! was not sent (phantom = 0), repeated deliveries are counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Fairlane, WRITE_KEY};
use crate::peer::{Client, Received, Receiver};

/// What the sending side knows.
#[derive(Clone, Default)]
pub struct Books {
    pub tried: HashSet<String>,
    pub acknowledged: HashSet<String>,
    /// When each was sent.
    pub sent_at: HashMap<String, Instant>,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, usize>,
    /// 429 and 503 answers that did not say when to come again.
    pub without_retry_after: usize,
}

impl Books {
    pub fn answered(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// What the senders of a [`Load`] do.
#[derive(Clone, Copy)]
pub struct Shape {
    pub senders: usize,
    /// Batches are of 1 to this many events.
    pub batch_max: usize,
    /// Added to each event.
    pub padding_bytes: usize,
    /// Between two batches of a sender. Every eighth pause is ten times as long, so that the log
    /// is idle at times.
    pub pause: Duration,
    /// Of the source that they send to.
    pub write_key: &'static str,
}

impl Shape {
    /// A steady stream, not a flood: the receivers keep every request.
    pub const STEADY: Self = Self {
        senders: 3,
        batch_max: 20,
        padding_bytes: 0,
        pause: Duration::from_millis(5),
        write_key: WRITE_KEY,
    };
    /// A few hundred events a second: what is measured is the product, and not a machine at its
    /// limit.
    pub const GENTLE: Self = Self {
        senders: 2,
        batch_max: 10,
        pause: Duration::from_millis(15),
        ..Self::STEADY
    };
    /// Finds the last bit of room.
    pub const SINGLE: Self = Self {
        senders: 1,
        batch_max: 1,
        padding_bytes: 0,
        pause: Duration::from_millis(1),
        write_key: WRITE_KEY,
    };
    /// Fills small segments fast.
    pub const BULKY: Self = Self {
        senders: 1,
        batch_max: 20,
        padding_bytes: 4_000,
        pause: Duration::from_millis(8),
        write_key: WRITE_KEY,
    };
}

/// Senders at work. A sender whose connection breaks makes a new one.
pub struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// `name` must differ from that of every other load of the same books: it begins every id.
    pub fn start(address: SocketAddr, name: &str, shape: Shape, books: &Arc<Mutex<Books>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = (0..shape.senders).map(|sender| {
            let (books, stop) = (Arc::clone(books), Arc::clone(&stop));
            let prefix = format!("{name}-{sender}");
            std::thread::spawn(move || send(address, &prefix, shape, &books, &stop))
        });
        let senders = senders.collect();
        Self { stop, senders }
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.join().unwrap();
        }
    }
}

fn send(address: SocketAddr, prefix: &str, shape: Shape, books: &Mutex<Books>, stop: &AtomicBool) {
    let mut client = None;
    for batch in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if client.is_none() {
            client = Client::connect(address).ok();
        }
        let prefix = format!("{prefix}-{batch}");
        let size = 1 + batch % shape.batch_max;
        let arrived = client
            .as_mut()
            .is_some_and(|client| send_batch(client, &prefix, size, shape, books));
        if !arrived {
            client = None;
        }
        std::thread::sleep(shape.pause * if batch % 8 == 7 { 10 } else { 1 });
    }
}

/// Posts one batch; false when the connection is gone.
fn send_batch(
    client: &mut Client,
    prefix: &str,
    size: usize,
    shape: Shape,
    books: &Mutex<Books>,
) -> bool {
    let ids: Vec<String> = (0..size).map(|n| format!("{prefix}-{n}")).collect();
    let padding = "x".repeat(shape.padding_bytes);
    let events: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(
                r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","properties":{{"id":"{id}","padding":"{padding}"}}}}"#
            )
        })
        .collect();
    let body = format!(
        r#"{{"writeKey":"{}","batch":[{}]}}"#,
        shape.write_key,
        events.join(",")
    );
    {
        let mut books = books.lock().unwrap();
        let now = Instant::now();
        books.tried.extend(ids.iter().cloned());
        books.sent_at.extend(ids.iter().map(|id| (id.clone(), now)));
    }
    let Ok(answer) = client.send("POST", "/v1/batch", &[], body.as_bytes()) else {
        return false;
    };
    let mut books = books.lock().unwrap();
    let status = answer.status();
    *books.statuses.entry(status).or_default() += 1;
    if status == 200 {
        books.acknowledged.extend(ids);
    } else if matches!(status, 429 | 503) && answer.header("retry-after").is_none() {
        books.without_retry_after += 1;
    }
    answer.header("connection") != Some("close")
}

pub fn accepted(received: &[Received]) -> impl Iterator<Item = &Received> {
    received.iter().filter(|one| one.status == 200)
}

/// Waits until every acknowledged event has arrived at `receiver` and the lane of that name has
/// nothing pending, then holds the books against each other. Returns how many deliveries were
/// repeated.
pub fn verify(fairlane: &Fairlane, name: &str, receiver: &Receiver, books: &Mutex<Books>) -> usize {
    let books = books.lock().unwrap().clone();
    receiver.wait_for(
        &format!("{name} has every acknowledged event"),
        |received| {
            let have: HashSet<&str> = accepted(received).map(Received::id).collect();
            books
                .acknowledged
                .iter()
                .all(|id| have.contains(id.as_str()))
        },
    );
    fairlane.wait_lane(name, "nothing is pending", |lane| lane["pending"] == 0);
    let counts = receiver.accepted_ids();
    let phantoms: Vec<_> = counts
        .keys()
        .filter(|id| !books.tried.contains(*id))
        .collect();
    assert!(
        phantoms.is_empty(),
        "{name}: arrived but never sent: {phantoms:?}"
    );
    let repeated = counts.values().map(|n| n - 1).sum();
    println!(
        "{name}: {} acknowledged, {} tried, {} arrived, lost 0, phantom 0, {repeated} repeated",
        books.acknowledged.len(),
        books.tried.len(),
        counts.len(),
    );
    repeated
}

/// From sending to arrival, of each event that was sent within `period`; ascending.
pub fn latencies(
    receiver: &Receiver,
    books: &Mutex<Books>,
    period: &Range<Instant>,
) -> Vec<Duration> {
    let received = receiver.received();
    let mut arrived: HashMap<&str, Instant> = HashMap::new();
    for one in accepted(&received) {
        arrived.entry(one.id()).or_insert(one.at);
    }
    let books = books.lock().unwrap();
    let sent = books.sent_at.iter().filter(|(_, at)| period.contains(at));
    let took = sent.filter_map(|(id, at)| {
        let arrived = arrived.get(id.as_str())?;
        Some(arrived.saturating_duration_since(*at))
    });
    let mut took: Vec<Duration> = took.collect();
    took.sort_unstable();
    took
}

/// Below which 99 of 100 of the ascending `times` lie.
pub fn p99(times: &[Duration]) -> Duration {
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

/// The product's own books: accepted x connections = all outcomes + pending.
pub fn balance(fairlane: &Fairlane) {
    let (sheet, number) = sheet(fairlane);
    assert_eq!(
        number("accepted") * number("connections"),
        number("jobs"),
        "{sheet}"
    );
}

/// As [`balance`], where not every event is for every connection.
pub fn balance_of_jobs(fairlane: &Fairlane) {
    let _ = sheet(fairlane);
}

fn sheet(fairlane: &Fairlane) -> (serde_json::Value, impl Fn(&str) -> u64) {
    let sheet = fairlane.status()["balance"].clone();
    let of = sheet.clone();
    let number = move |key: &str| {
        of[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no {key} in {of}"))
    };
    let ended = number("delivered") + number("rejected") + number("filtered") + number("expired");
    assert_eq!(number("jobs"), ended + number("pending"), "{sheet}");
    assert_eq!(sheet["balanced"], true, "{sheet}");
    (sheet, number)
}
