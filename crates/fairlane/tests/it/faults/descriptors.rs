//! No file descriptors left: connections are refused, the log and deliveries go on.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::faults::books;
use crate::harness::{Fairlane, LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance, verify};

use super::failpoints::SMALL_LOG;

#[test]
fn a_flood_of_connections_leaves_descriptors_for_the_rest() {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .and("[ingest]\nconnections_per_ip_max = 4096\n")
        .prepare();
    let limited = "ulimit -n 300 && exec \"$0\" \"$@\"";
    fairlane.spawn_under(&["sh", "-c", limited], &[]);
    fairlane.wait_ready();
    let books = books();
    // These senders keep their connections.
    let load = Load::start(fairlane.ingest, "flood", Shape::BULKY, &books);
    wait_acknowledged(&books, 50);
    let flood: Vec<TcpStream> = (0..600)
        .filter_map(|_| {
            let wait = Duration::from_millis(500);
            TcpStream::connect_timeout(&fairlane.ingest, wait).ok()
        })
        .collect();
    let before = books.lock().unwrap().acknowledged.len();
    // Several segments: files are opened, renamed and removed meanwhile.
    wait_acknowledged(&books, before + 600);
    let descriptors = open_descriptors(&fairlane);
    drop(flood);
    let freed_at = Instant::now();
    let end = freed_at + Duration::from_secs(60);
    while fairlane.try_track("after-the-flood") != Some(200) {
        assert!(Instant::now() < end, "no new connections after the flood");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "{descriptors} of 300 descriptors open in the flood; new connections {:?} after it",
        freed_at.elapsed()
    );
    load.stop();
    books.lock().unwrap().tried.insert("after-the-flood".into());
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
    let said = fairlane.log();
    assert!(
        said.contains("limit of file descriptors is too low"),
        "it should say so:\n{said}"
    );
    assert!(
        !said.contains("Too many open files"),
        "somebody ran out:\n{said}"
    );
}

fn wait_acknowledged(books: &std::sync::Mutex<crate::verifier::Books>, at_least: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let acknowledged = books.lock().unwrap().acknowledged.len();
        if acknowledged >= at_least {
            return;
        }
        assert!(
            Instant::now() < end,
            "{acknowledged} of {at_least} acknowledged after 60 s"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn open_descriptors(fairlane: &Fairlane) -> usize {
    let list = std::fs::read_dir(format!("/proc/{}/fd", fairlane.pid())).unwrap();
    list.count()
}
