//! T18, T26, T27 and T29: answers that tell nothing, that are meant to harm, that point elsewhere,
//! or that ask for patience.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Message, Receiver, Reply};
use crate::verifier::{Load, Shape, balance, verify};

#[test]
fn a_request_without_an_answer_is_made_again_and_counted() {
    // One of ten is read whole and then dropped without a word.
    let receiver = Receiver::start(|n, _| match n % 10 {
        9 => Reply::Close,
        _ => Reply::Status(200),
    });
    let fairlane = Setup::default()
        .webhook_with(
            "hook",
            "web",
            &format!("url = \"{}\"", receiver.url()),
            "retry_delay_first = \"20ms\"",
        )
        .and(LOOPBACK)
        .start();
    let books = books();
    let load = Load::start(fairlane.ingest, "i", Shape::STEADY, &books);
    std::thread::sleep(Duration::from_secs(if is_long() { 30 } else { 1 }));
    load.stop();
    verify(&fairlane, "hook", &receiver, &books);
    let received = receiver.received();
    let unanswered = received.iter().filter(|one| one.status == 0).count();
    let events = books.lock().unwrap().acknowledged.len();
    assert!(unanswered > 10, "{unanswered} unanswered");
    // The receiver had each of them: every unanswered one is a duplicate, under the same id.
    assert_eq!(
        received.len() - events,
        unanswered,
        "repeats beside what had no answer"
    );
    let counted = |result: &str| fairlane.metric(&["attempts_total", &format!("\"{result}\"")]);
    let counted = counted("indeterminate").unwrap_or(0.0) + counted("resent").unwrap_or(0.0);
    assert_eq!(
        counted, unanswered as f64,
        "each is counted as one that may have arrived"
    );
    println!("{events} events, {unanswered} without an answer, as many repeats, all counted");
    balance(&fairlane);
}

/// How long each hostile answer was listened to: until the other side closed.
static LISTENED: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

fn until_closed(name: &'static str, mut act: impl FnMut() -> std::io::Result<()>) {
    let began = Instant::now();
    // A hostile server would go on for ever; the test gives it as long as a test may take.
    while began.elapsed() < Duration::from_secs(100) && act().is_ok() {}
    LISTENED.lock().unwrap().push((name, began.elapsed()));
}

/// Waits until the other side closes.
fn wait_closed(name: &'static str, mut socket: &TcpStream) {
    let mut rest = [0; 1_024];
    until_closed(name, || match socket.read(&mut rest)? {
        0 => Err(std::io::Error::other("closed")),
        _ => Ok(()),
    });
}

fn endless_body(socket: &mut &TcpStream) {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .ok();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    until_closed("endless body", || socket.write_all(chunk.as_bytes()));
}

fn body_of_ten_gigabytes(socket: &mut &TcpStream) {
    socket
        .write_all(b"HTTP/1.1 500 No\r\ncontent-length: 10000000000\r\n\r\n")
        .ok();
    let part = vec![b'x'; 1 << 16];
    until_closed("10 GB", || socket.write_all(&part));
}

fn dripping_body(socket: &mut &TcpStream) {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        .ok();
    until_closed("a byte at a time", || {
        std::thread::sleep(Duration::from_millis(200));
        socket.write_all(b"x")
    });
}

fn dripping_head(socket: &mut &TcpStream) {
    socket.write_all(b"HTTP/1.1 200 OK\r\n").ok();
    until_closed("a header at a time", || {
        std::thread::sleep(Duration::from_millis(200));
        socket.write_all(b"x-more: yes\r\n")
    });
}

fn header_of_a_megabyte(socket: &mut &TcpStream) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    socket.write_all(head.as_bytes()).ok();
    wait_closed("header of 1 MiB", socket);
}

fn bad_chunks(socket: &mut &TcpStream) {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx")
        .ok();
    wait_closed("bad chunks", socket);
}

/// 64 KiB of zeros would be 64 MiB, for who unpacks them.
fn gzip_bomb(socket: &mut &TcpStream) {
    let body = vec![0; 1 << 16];
    let head = format!(
        "HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok();
    // An answer like any other, for who does not unpack it.
    socket.write_all(&body).ok();
}

fn storm_of_100(socket: &mut &TcpStream) {
    let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    until_closed("storm of 100", || socket.write_all(storm.as_bytes()));
}

fn no_http(socket: &mut &TcpStream) {
    socket.write_all(&[0xff; 4_096]).ok();
    wait_closed("no HTTP", socket);
}

type Act = fn(&mut &TcpStream);

const HOSTILE: [(&str, Act); 9] = [
    ("endless", endless_body),
    ("huge", body_of_ten_gigabytes),
    ("dripping", dripping_body),
    ("dripping-head", dripping_head),
    ("header", header_of_a_megabyte),
    ("chunks", bad_chunks),
    ("bomb", gzip_bomb),
    ("storm", storm_of_100),
    ("noise", no_http),
];

#[test]
fn hostile_answers_cost_a_bounded_time_and_memory() {
    let timeout = if is_long() { 30 } else { 2 };
    let healthy = Receiver::ok();
    let mut setup = Setup::default()
        .webhook("healthy", &healthy.url())
        .and(LOOPBACK);
    let mut receivers = Vec::new();
    for (name, act) in HOSTILE {
        let receiver = Receiver::start(move |_, _| Reply::Act(act));
        let keys = format!("attempt_timeout = \"{timeout}s\"\nconcurrency_max = 8");
        let url = format!("url = \"{}\"", receiver.url());
        setup = setup.webhook_with(name, "web", &url, &keys);
        receivers.push((name, receiver));
    }
    let fairlane = setup.start();
    let resident = || {
        fairlane
            .metric(&["fairlane_resident_memory_bytes"])
            .unwrap()
    };
    let books = books();
    let before = resident();
    let load = Load::start(fairlane.ingest, "h", Shape::SINGLE, &books);
    let mut most = before;
    let ends = Instant::now() + Duration::from_secs(timeout + 2);
    while Instant::now() < ends {
        most = most.max(resident());
        std::thread::sleep(Duration::from_millis(50));
    }
    load.stop();
    verify(&fairlane, "healthy", &healthy, &books);
    for (name, receiver) in &receivers {
        assert!(receiver.count() > 0, "{name} was never tried");
        fairlane.wait_lane(name, "an attempt has ended", |lane| {
            lane["attempts"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        });
    }
    let listened = LISTENED.lock().unwrap().clone();
    let longest = listened.iter().max_by_key(|(_, time)| *time).unwrap();
    let grown = (most - before) / f64::from(1 << 20);
    println!(
        "{} hostile answers were listened to, the longest for {longest:?} (limit {timeout} s); \
         memory grew by {grown:.1} MiB at most",
        listened.len()
    );
    // Wide guards: an attempt that is not ended goes on for 100 s, an answer that is kept is 10 GB.
    assert!(longest.1 < Duration::from_secs(timeout + 20), "{longest:?}");
    let attempts_at_once = 8.0 * HOSTILE.len() as f64;
    assert!(grown < attempts_at_once + 32.0, "{grown} MiB");
    balance(&fairlane);
}

#[test]
fn a_redirect_is_never_followed() {
    let elsewhere = Receiver::ok();
    // The headers of a reply are constants: the place to go to is told by a leak, once a test.
    let target: &'static str = Box::leak(elsewhere.url().into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("location", target)]));
    let to_itself: &'static [(&str, &str)] = &[("location", "/hook")];
    let mut setup = Setup::default().and(LOOPBACK);
    let mut receivers = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        for (kind, headers) in [("away", headers), ("loop", to_itself)] {
            let receiver = Receiver::start(move |_, _| Reply::With(status, headers, ""));
            let name = format!("{kind}-{status}");
            let settings = format!(
                "url = \"{}\", headers = {{ x-key = \"a-key-of-ours\" }}",
                receiver.url()
            );
            setup = setup.webhook_with(&name, "web", &settings, "");
            receivers.push((name, receiver));
        }
    }
    let fairlane = setup.start();
    for n in 0..20 {
        fairlane.track(&format!("m-{n}"));
    }
    for (name, receiver) in &receivers {
        let lane = fairlane.wait_lane(name, "it is held", |lane| lane["state"] == "held");
        assert_eq!(lane["reason"], "configuration", "{lane}");
        assert_eq!(lane["pending"], 20, "nothing is lost by it");
        for one in receiver.received() {
            assert!(
                one.request.line.starts_with("POST /hook"),
                "{:?}",
                one.request
            );
        }
    }
    assert_eq!(
        elsewhere.count(),
        0,
        "somebody was sent elsewhere, and went"
    );
}

const PATIENCE: [(&str, &str); 7] = [
    ("second", "1"),
    ("hour", "3600"),
    ("century", "1000000000"),
    ("minus", "-1"),
    ("text", "later, please"),
    ("past", "Mon, 01 Jan 1990 00:00:00 GMT"),
    ("zero", "0"),
];

#[test]
fn retry_after_is_honoured_within_reason() {
    let healthy = Receiver::ok();
    let mut setup = Setup::default()
        .webhook("healthy", &healthy.url())
        .and(LOOPBACK);
    let mut receivers = Vec::new();
    for (name, value) in PATIENCE {
        let headers: &'static [(&str, &str)] = Box::leak(Box::new([("retry-after", value)]));
        let receiver = Receiver::start(move |_, _| Reply::With(429, headers, ""));
        setup = setup.webhook(name, &receiver.url());
        receivers.push((name, receiver));
    }
    let fairlane = setup.start();
    let books = books();
    let seconds = if is_long() { 60 } else { 3 };
    let load = Load::start(fairlane.ingest, "p", Shape::STEADY, &books);
    std::thread::sleep(Duration::from_secs(seconds));
    load.stop();
    verify(&fairlane, "healthy", &healthy, &books);
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as f64;
    for (name, receiver) in &receivers {
        let attempts = receiver.count();
        let lane = fairlane.lane(name);
        let next = lane["next_attempt_at"].as_f64().unwrap_or(now_ms);
        let wait_s = (next - now_ms) / 1_000.0;
        println!("{name}: {attempts} attempts in {seconds} s, the next in {wait_s:.0} s");
        assert_eq!(
            (&lane["delivered"], &lane["rejected"]),
            (&0.into(), &0.into())
        );
        // Its first attempts go out together; then there is a pause after each.
        assert!(
            attempts > 0 && attempts < 100 * seconds as usize,
            "{name}: a busy loop"
        );
        assert!(wait_s <= 3_600.0 * 1.1 + 1.0, "{name} waits for {wait_s} s");
    }
    let of = |name: &str| {
        receivers
            .iter()
            .find(|(one, _)| *one == name)
            .unwrap()
            .1
            .count()
    };
    assert!(
        of("hour") <= 4,
        "an hour is an hour: {} attempts",
        of("hour")
    );
    balance(&fairlane);
}

#[test]
fn an_early_answer_and_a_reset_are_a_failed_attempt() {
    // Answers before the request is read, and closes: what comes then is reset.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            socket
                .write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
                .ok();
        }
    });
    let healthy = Receiver::start(|_: usize, _: &Message| Reply::Status(200));
    let fairlane = Setup::default()
        .webhook("early", &url)
        .webhook("healthy", &healthy.url())
        .and(LOOPBACK)
        .start();
    for n in 0..20 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("healthy", "all delivered", |lane| lane["delivered"] == 20);
    let lane = fairlane.wait_lane("early", "it was tried", |lane| {
        !lane["last_error"].is_null()
    });
    assert_eq!(
        (&lane["delivered"], &lane["pending"]),
        (&0.into(), &20.into()),
        "{lane}"
    );
}
