//! T17 and T40: one bad destination, or one tenant that floods, does not hold up the others.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use std::io::Write as _;

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Message, Receiver, Reply};
use crate::verifier::{Load, Shape, balance, balance_of_jobs, latencies, p99, verify};

const HEALTHY: usize = 11;
const OTHER_KEY: &str = "other-write-key";

/// A byte of the answer each second.
fn drip(socket: &mut &TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
    if socket.write_all(head).is_err() {
        return;
    }
    while socket.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

type Mood = fn(usize, &Message) -> Reply;

const MOODS: [(&str, Mood); 4] = [
    ("hangs", |_, _| Reply::Hang),
    ("says 429", |_, _| {
        Reply::With(429, &[("retry-after", "1")], "")
    }),
    ("says 500", |_, _| Reply::Status(500)),
    ("drips", |_, _| Reply::Act(drip)),
];

#[test]
fn one_bad_neighbour_holds_up_nobody() {
    // Calm and storm by turns, so that a machine that is slow for a while is slow for both.
    let (turns, seconds) = if is_long() { (6, 10) } else { (1, 1) };
    for (mood, answer) in MOODS {
        let bad = Receiver::start(answer);
        let healthy: Vec<Receiver> = (0..HEALTHY).map(|_| Receiver::ok()).collect();
        let mut setup = Setup::default().webhook("bad", &bad.url()).and(LOOPBACK);
        for (n, receiver) in healthy.iter().enumerate() {
            setup = setup.webhook(&format!("good-{n}"), &receiver.url());
        }
        let fairlane = setup.start();
        let books = books();
        let mut seen = [Vec::new(), Vec::new()];
        // First the bad one is held, then it is at work: the others are compared with themselves.
        for turn in 0..2 * turns {
            let is_storm = turn % 2 == 1;
            if is_storm {
                let before = bad.count();
                crate::faults::steer(&fairlane, "bad", "resume");
                bad.wait_for("the bad one is at work", |all| all.len() > before);
            } else {
                crate::faults::steer(&fairlane, "bad", "hold");
            }
            let began = Instant::now();
            let prefix = format!("turn-{turn}");
            let load = Load::start(fairlane.ingest, &prefix, Shape::GENTLE, &books);
            std::thread::sleep(Duration::from_secs(seconds));
            load.stop();
            let period = began..Instant::now();
            for (n, receiver) in healthy.iter().enumerate() {
                // The bad one never answers: had any waited for it, this would never be reached.
                verify(&fairlane, &format!("good-{n}"), receiver, &books);
            }
            for receiver in &healthy {
                seen[usize::from(is_storm)].extend(latencies(receiver, &books, &period));
            }
        }
        let [(calm, n), (storm, m)] = seen.map(|mut all| {
            all.sort_unstable();
            (p99(&all), all.len())
        });
        println!(
            "one of 12 {mood}: p99 of the others {storm:?} (n {m}), without it {calm:?} (n {n}): \
             ratio {:.2}",
            storm.as_secs_f64() / calm.as_secs_f64()
        );
        assert_ne!(fairlane.lane("bad")["pending"], 0, "it was bad indeed");
        balance(&fairlane);
    }
}

#[test]
fn a_tenant_that_floods_floods_itself() {
    let (flooded, quiet) = (Receiver::ok(), Receiver::ok());
    let url = |receiver: &Receiver| format!("url = \"{}\"", receiver.url());
    let fairlane = Setup::default()
        .source("quiet", OTHER_KEY)
        .webhook_with("flooded", "web", &url(&flooded), "")
        .webhook_with("quiet", "quiet", &url(&quiet), "")
        .and(LOOPBACK)
        .start();
    let calm = Shape {
        senders: 1,
        batch_max: 5,
        pause: Duration::from_millis(10),
        write_key: OTHER_KEY,
        ..Shape::STEADY
    };
    // Twenty times as many events as the quiet one.
    let flood = Shape {
        senders: 4,
        batch_max: 50,
        pause: Duration::from_millis(20),
        ..Shape::STEADY
    };
    let (books_of_quiet, books_of_flood) = (books(), books());
    let seconds = if is_long() { 30 } else { 1 };
    let mut p99s = Vec::new();
    for phase in ["calm", "flood"] {
        let began = Instant::now();
        let flooding =
            (phase == "flood").then(|| Load::start(fairlane.ingest, phase, flood, &books_of_flood));
        let load = Load::start(fairlane.ingest, phase, calm, &books_of_quiet);
        std::thread::sleep(Duration::from_secs(seconds));
        load.stop();
        if let Some(flooding) = flooding {
            flooding.stop();
        }
        let period = began..Instant::now();
        verify(&fairlane, "quiet", &quiet, &books_of_quiet);
        p99s.push(p99(&latencies(&quiet, &books_of_quiet, &period)));
    }
    let statuses = books_of_quiet.lock().unwrap().statuses.clone();
    assert!(
        statuses.keys().all(|status| *status == 200),
        "nobody is refused for what another does: {statuses:?}"
    );
    verify(&fairlane, "flooded", &flooded, &books_of_flood);
    let flooded = books_of_flood.lock().unwrap().acknowledged.len();
    println!(
        "a flood of {flooded} events beside {}: p99 {:?}, without it {:?}: ratio {:.2}",
        books_of_quiet.lock().unwrap().acknowledged.len(),
        p99s[1],
        p99s[0],
        p99s[1].as_secs_f64() / p99s[0].as_secs_f64()
    );
    balance_of_jobs(&fairlane);
}
