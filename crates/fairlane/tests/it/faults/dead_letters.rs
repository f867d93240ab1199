//! T42: a destination that refuses everything fills the dead letters up to their limit and no
//! further; the oldest go, which is said; nobody else notices.

use std::time::Duration;

use crate::faults::{books, is_long};
use crate::harness::Setup;
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
    let page = fairlane
        .management("GET", "/v1/dead-letters?limit=1", "")
        .json();
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
    assert_eq!(
        number("letters") + number("evicted"),
        events,
        "each is kept or given up"
    );
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
