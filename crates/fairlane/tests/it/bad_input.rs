//! What must not harm anything: hostile clients, wrong configurations, a damaged or occupied data
//! directory.

use std::fs;

use crate::harness::{BINARY, LOOPBACK, Setup, WRITE_KEY, run, track};
use crate::peer::{Client, Receiver, call};

#[test]
fn bad_requests_get_clear_answers_and_harm_nobody() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    let post = |body: &str| call(fairlane.ingest, "POST", "/v1/track", body).unwrap();

    let answer = post("{\"event\": ");
    assert_eq!(answer.status(), 400, "malformed: {answer:?}");
    assert!(answer.json()["error"]["message"].is_string(), "{answer:?}");
    let deep = format!(
        "{{\"properties\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(post(&deep).status(), 400, "too deep");
    let large = track("m-large").replace("\"n\":1", &format!("\"n\":\"{}\"", "x".repeat(40_000)));
    assert_eq!(post(&large).status(), 400, "an event over 32 KiB");
    let huge = call(fairlane.ingest, "POST", "/v1/batch", &"x".repeat(600_000));
    assert!(
        huge.is_err() || matches!(huge.unwrap().status(), 400 | 413),
        "a body over 512 KiB"
    );
    let unknown = track("m-unknown").replace(WRITE_KEY, "nobody");
    assert_eq!(
        post(&unknown).status(),
        200,
        "an unknown write key is not told apart"
    );
    let lying = Client::connect(fairlane.ingest).and_then(|mut client| {
        client.raw(b"POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n{}")?;
        client.answer()
    });
    assert!(
        lying.is_err() || lying.unwrap().status() == 400,
        "two lengths"
    );

    fairlane.track("m-good");
    fairlane.wait_lane("hook", "the good one is delivered", |lane| {
        lane["delivered"] == 1
    });
    assert_eq!(
        receiver.accepted_ids().into_keys().collect::<Vec<_>>(),
        ["m-good"]
    );
}

#[test]
fn a_gzip_bomb_is_refused() {
    use std::io::Write as _;
    let fairlane = Setup::default().start();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..64 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let answer = fairlane
        .client()
        .send("POST", "/v1/batch", &[("content-encoding", "gzip")], &bomb)
        .unwrap();
    assert!(matches!(answer.status(), 400 | 413), "{answer:?}");
}

/// Runs `fairlane check` on a configuration; what it says, and whether it refused.
fn check(setup: &Setup) -> (i32, String) {
    let dir = setup.write();
    let (code, out, err) = run(dir.path(), &["check", "--config", "fairlane.toml"], "");
    (code, out + &err)
}

#[test]
fn a_wrong_configuration_says_where_and_what_to_do() {
    let webhook = |settings: &str| {
        Setup::default().and(&format!(
            "[[destinations]]\nname = \"d\"\ntype = \"webhook\"\nsettings = {{ {settings} }}\n\
             [[connections]]\nsource = \"web\"\ndestination = \"d\"\n"
        ))
    };
    let (code, said) = check(&webhook("url = \"https://hooks.example/x\""));
    assert_eq!(code, 0, "{said}");

    for (setup, words) in [
        (
            webhook("uri = \"https://hooks.example/x\""),
            vec!["uri", "url"],
        ),
        (webhook(""), vec!["url", "required"]),
        (webhook("url = 7"), vec!["url"]),
        (
            Setup::default().and("[[destinations]]\nname = \"d\"\ntype = \"webhok\"\n"),
            vec!["webhok", "webhook"],
        ),
        (
            Setup::default().and("[[connections]]\nsource = \"wob\"\ndestination = \"d\"\n"),
            vec!["wob", "web"],
        ),
        (
            Setup::default().and("[delivery]\nshards = 0\n"),
            vec!["shards"],
        ),
        (Setup::default().and("[nonsense]\n"), vec!["nonsense"]),
        (Setup::default().and("a = [1,\n"), vec!["fairlane.toml:"]),
        (
            webhook("url = \"https://hooks.example/${FAIRLANE_TEST_UNSET}\""),
            vec!["FAIRLANE_TEST_UNSET", "fairlane.toml:"],
        ),
        (
            webhook("url = \"https://hooks.example/x\"").and("filter = '.event ='\n"),
            vec!["filter"],
        ),
    ] {
        let (code, said) = check(&setup);
        assert_ne!(
            code, 0,
            "accepted, though it should speak of {words:?}: {said}"
        );
        for word in words {
            assert!(said.contains(word), "does not mention {word:?}: {said}");
        }
    }
}

#[test]
fn a_taken_port_and_a_taken_directory_are_named() {
    let fairlane = Setup::default().start();
    let (code, _, err) = run(fairlane.dir.path(), &["serve"], "");
    assert_ne!(code, 0);
    assert!(err.contains("another process"), "{err}");

    let taken = Setup::default().write();
    let text = fs::read_to_string(taken.path().join("fairlane.toml")).unwrap();
    let text = text.replacen("127.0.0.1:0", &fairlane.ingest.to_string(), 1);
    fs::write(taken.path().join("fairlane.toml"), text).unwrap();
    let (code, _, err) = run(taken.path(), &["serve"], "");
    assert_ne!(code, 0);
    assert!(
        err.contains(&fairlane.ingest.to_string()) && err.contains("listen"),
        "{err}"
    );
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let dir = Setup::default().write();
    fs::write(dir.path().join("data"), "not a directory").unwrap();
    let (code, _, err) = run(dir.path(), &["serve"], "");
    assert_ne!(code, 0);
    assert!(err.contains("data"), "{err}");
}

#[test]
fn a_damaged_segment_is_quarantined_and_the_rest_is_served() {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..30 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("hook", "delivered", |lane| lane["delivered"] == 30);
    assert_eq!(fairlane.terminate(), 0);
    let segment = walk(&fairlane.data())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .find(|path| {
            fs::read(path)
                .unwrap()
                .windows(4)
                .any(|bytes| bytes == b"m-10")
        })
        .expect("a segment holds the events");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes
        .windows(6)
        .position(|bytes| bytes == b"\"m-10\"")
        .unwrap();
    bytes[place + 2] ^= 0x01;
    fs::write(&segment, bytes).unwrap();

    fairlane.start();
    let status = fairlane.status();
    assert_eq!(status["log"]["damaged_records"], 1, "{status}");
    fairlane.track("m-after");
    fairlane.wait_lane("hook", "the rest is served", |lane| lane["delivered"] == 31);
    let admin = format!("http://{}", fairlane.admin);
    let (_, out, err) = run(
        fairlane.dir.path(),
        &[
            "replay", "hook", "--from", "0", "--to", "30", "--admin", &admin,
        ],
        "",
    );
    let again = receiver
        .accepted_ids()
        .values()
        .filter(|n| **n == 2)
        .count();
    assert_eq!(
        again, 29,
        "all but the damaged one are still there: {out}{err}"
    );
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_transform_that_fails_on_an_event_rejects_that_event_alone() {
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .and(&format!(
            "[[destinations]]\nname = \"hook\"\ntype = \"webhook\"\nsettings = {{ url = \"{}\" }}\n\
             [[connections]]\nname = \"hook\"\nsource = \"web\"\ndestination = \"hook\"\n\
             transform = '.upper = upcase(string!(.properties.name))'\n",
            receiver.url()
        ))
        .and(LOOPBACK)
        .start();
    fairlane.track("m-without-name");
    let named = track("m-named").replace("\"n\":1", "\"name\":\"tea\"");
    assert_eq!(
        call(fairlane.ingest, "POST", "/v1/track", &named)
            .unwrap()
            .status(),
        200
    );
    let lane = fairlane.wait_lane("hook", "both ended", |lane| lane["pending"] == 0);
    assert_eq!(
        (&lane["rejected"], &lane["delivered"]),
        (&1.into(), &1.into()),
        "{lane}"
    );
    assert_eq!(receiver.received()[0].request.json()["upper"], "TEA");
}

#[test]
fn without_a_configuration_it_says_how_to_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run(dir.path(), &["serve"], "");
    assert_ne!(code, 0);
    assert!(
        err.contains("fairlane.toml") && err.contains("examples/fairlane.toml"),
        "{err}"
    );
    assert!(fs::metadata(BINARY).is_ok());
}

/// Resident memory of a process, in KiB.
fn rss_kib(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap()
}

#[test]
fn bodies_that_are_only_announced_take_no_memory() {
    let fairlane = Setup::default().start();
    fairlane.track("m-first");
    let before = rss_kib(fairlane.pid());
    let slow: Vec<_> = (0..250)
        .map(|_| {
            let mut client = fairlane.client();
            let head = "POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{";
            client.raw(head.as_bytes()).unwrap();
            client
        })
        .collect();
    // Every connection is served by now, or this one would not be.
    fairlane.track("m-second");
    let metrics = fairlane.management("GET", "/metrics", "").body;
    let metrics = String::from_utf8(metrics).unwrap();
    let open = metrics.lines().find_map(|line| {
        let count = line.strip_prefix("fairlane_ingest_connections ")?;
        count.parse::<usize>().ok()
    });
    assert!(open.is_some_and(|open| open >= slow.len()), "{open:?}");
    let more = rss_kib(fairlane.pid()) - before;
    assert!(
        more < 16 * 1024,
        "{} clients that announced 500 kB each took {more} KiB",
        slow.len()
    );
}
