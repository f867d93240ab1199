//! T42: a destination that refuses everything fills the dead letters up to their limit and no
//! further; the oldest go, which is said; nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Load, Shape, balance, verify};

const KIB: u64 = 1 << 10;

#[test]
fn a_flood_of_dead_letters_stays_within_its_limit() {
    let (refusing, healthy) = (Receiver::start(|_, _| Reply::Status(400)), Receiver::ok());
    let limit = if is_long() { 8 << 10 } else { 256 } * KIB;
    let fairlane = Setup::default()
        .webhook("refusing", &refusing.url())
        .webhook("healthy", &healthy.url())
        .and(&format!(
            "[delivery]\negress_allow = [\"127.0.0.0/8\"]\ndead_letters_bytes_max = {limit}\n"
        ))
        .start();
    let books = books();
    let load = Load::start(fairlane.ingest, "d", Shape::BULKY, &books);
    std::thread::sleep(Duration::from_secs(if is_long() { 60 } else { 2 }));
    load.stop();
    verify(&fairlane, "healthy", &healthy, &books);
    let events = books.lock().unwrap().acknowledged.len() as u64;
    fairlane.wait_lane("refusing", "all refused", |lane| lane["rejected"] == events);
    // Counted at once, and kept with the next commit.
    let end = Instant::now() + Duration::from_secs(60);
    let page = loop {
        let page = fairlane.management("GET", "/v1/dead-letters?limit=1", "");
        let page = page.json();
        let number = |key: &str| page["totals"][key].as_u64().unwrap();
        if number("letters") + number("evicted") == events {
            break page;
        }
        assert!(
            Instant::now() < end,
            "each is kept or given up, of {events}: {page}"
        );
        std::thread::sleep(Duration::from_millis(20));
    };
    let number = |key: &str| page["totals"][key].as_u64().unwrap();
    println!(
        "{events} refused: {} kept with {} of at most {limit} bytes, {} given up",
        number("letters"),
        number("bytes"),
        number("evicted")
    );
    assert_eq!(number("bytes_max"), limit);
    assert!(number("bytes") <= limit && number("letters") > 0, "{page}");
    assert!(number("evicted") > 0, "the flood was too small: {page}");
    // Oldest first: what is left are the last.
    assert_eq!(
        page["dead_letters"][0]["id"],
        number("evicted") + 1,
        "{page}"
    );
    // Announced: once in the log, in the metrics, and where they are listed.
    let announced = ["dead letters have reached their limit"];
    fairlane.wait_log_lines(&announced, 1);
    assert_eq!(fairlane.log_lines(&announced), 1);
    let evicted = fairlane.metric(&["fairlane_dead_letters_evicted_total"]);
    assert_eq!(evicted, Some(number("evicted") as f64));
    let listed = fairlane.command(&["dead-letters", "list", "--limit", "1"]);
    let words = format!("{} were given up", number("evicted"));
    assert!(listed.contains(&words), "{listed}");
    let statuses = books.lock().unwrap().statuses.clone();
    assert!(statuses.keys().all(|status| *status == 200), "{statuses:?}");
    balance(&fairlane);
}

#[test]
fn a_dead_letter_outlives_the_log() {
    let mended = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let mended = Arc::clone(&mended);
        move |_, request| {
            let refused = request.header("webhook-id") == Some("kept");
            let refused = refused && !mended.load(Ordering::Relaxed);
            Reply::Status(if refused { 400 } else { 200 })
        }
    });
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and("[log]\nsegment_bytes_max = \"512KiB\"\nretention_bytes_max = \"1MiB\"\n")
        .start();
    fairlane.track("kept");
    fairlane.wait_lane("hook", "it is refused", |lane| lane["rejected"] == 1);
    let books = books();
    let load = Load::start(fairlane.ingest, "d", Shape::BULKY, &books);
    let end = Instant::now() + Duration::from_secs(60);
    while fairlane.status()["log"]["first"] == 0 {
        assert!(Instant::now() < end, "the log keeps everything");
        std::thread::sleep(Duration::from_millis(20));
    }
    load.stop();
    mended.store(true, Ordering::Relaxed);
    let id =
        fairlane.management("GET", "/v1/dead-letters", "").json()["dead_letters"][0]["id"].clone();
    fairlane.command(&["dead-letters", "redeliver", &id.to_string()]);
    let received = receiver.wait_for("it comes again", |all| {
        all.iter()
            .any(|one| one.id() == "kept" && one.status == 200)
    });
    let bodies: Vec<&[u8]> = received
        .iter()
        .filter(|one| one.id() == "kept")
        .map(|one| one.request.body.as_slice())
        .collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(
        bodies[0], bodies[1],
        "to the byte, though the log has it no more"
    );
}
