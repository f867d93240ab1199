//! Object storage, end to end: every event is in an object, whatever dies on the way.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

use crate::harness::{Fairlane, LOOPBACK, Setup};
use crate::peer::{Client, Message, call};
use crate::sdk::{installed, run};
use crate::verifier::{Books, Load, Shape};

/// So that a test need not wait for a minute.
const WAIT: &str = "batch_wait = \"100ms\"";

fn directory(name: &str, format: &str, directory: &Path) -> String {
    format!(
        "[[destinations]]\nname = \"{name}\"\ntype = \"local-directory\"\n\
         settings = {{ directory = {directory:?}, format = \"{format}\" }}\n\
         [[connections]]\nname = \"web-{name}\"\nsource = \"web\"\ndestination = \"{name}\"\n{WAIT}\n"
    )
}

/// All files below a directory that are whole.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().contains('#') {
            found.push(path);
        }
    }
    found
}

/// The messageIds of one object, in order.
fn ids(name: &str, bytes: Vec<u8>) -> Vec<String> {
    if name.ends_with(".parquet") {
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows = file.get_row_iter(None).unwrap().map(Result::unwrap);
        return rows
            .map(|row| {
                let cells: HashMap<_, _> = row.get_column_iter().collect();
                let text = |name: &str| match cells[&name.to_owned()] {
                    Field::Str(text) => text.clone(),
                    other => panic!("{name}: {other}"),
                };
                assert_eq!(text("type"), "track");
                assert!(matches!(
                    cells[&"received_at".to_owned()],
                    Field::TimestampMicros(_)
                ));
                let properties: serde_json::Value =
                    serde_json::from_str(&text("properties")).unwrap();
                let id = text("message_id");
                assert_eq!(properties["id"], id.as_str());
                id
            })
            .collect();
    }
    assert!(name.ends_with(".ndjson.gz"), "{name}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|event| {
            assert!(event["receivedAt"].is_string(), "{event}");
            event["messageId"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Every acknowledged event is in an object, nothing else is, and none twice in one. How many objects
/// hold each.
fn verify(objects: Vec<(String, Vec<u8>)>, books: &Mutex<Books>) -> HashMap<String, usize> {
    let mut held: HashMap<String, usize> = HashMap::new();
    let count = objects.len();
    for (name, bytes) in objects {
        let mut of_object = ids(&name, bytes);
        assert!(!of_object.is_empty(), "{name} is empty");
        let before = of_object.len();
        of_object.sort_unstable();
        of_object.dedup();
        assert_eq!(of_object.len(), before, "{name} holds an event twice");
        for id in of_object {
            *held.entry(id).or_default() += 1;
        }
    }
    let books = books.lock().unwrap();
    let lost = books
        .acknowledged
        .iter()
        .filter(|id| !held.contains_key(*id))
        .count();
    let phantom = held.keys().filter(|id| !books.tried.contains(*id)).count();
    let twice = held.values().filter(|n| **n > 1).count();
    println!(
        "{} events in {count} objects, {twice} of them in more than one",
        held.len()
    );
    assert_eq!((lost, phantom), (0, 0), "lost, phantom");
    held
}

fn read_all(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |path: PathBuf| {
        (
            path.to_string_lossy().into_owned(),
            fs::read(&path).unwrap(),
        )
    };
    files(dir).into_iter().map(read).collect()
}

fn pending(fairlane: &Fairlane, lane: &str) {
    fairlane.wait_lane(lane, "nothing is pending", |lane| lane["pending"] == 0);
}

#[test]
fn every_event_is_in_a_file_after_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (lines, rows) = (dir.path().join("lines"), dir.path().join("rows"));
    let mut fairlane = Setup::default()
        .and(&directory("lines", "ndjson", &lines))
        .and(&directory("rows", "parquet", &rows))
        .start();
    let books = Arc::new(Mutex::new(Books::default()));
    for cycle in 0..5_u64 {
        let load = Load::start(fairlane.ingest, &format!("c{cycle}"), Shape::STEADY, &books);
        // A batch waits 100 ms: before, while and after one is written.
        std::thread::sleep(Duration::from_millis(250 + 137 * (cycle * 3 % 5)));
        fairlane.kill();
        load.stop();
        fairlane.start();
    }
    assert!(books.lock().unwrap().acknowledged.len() > 100);
    for (lane, dir) in [("web-lines", &lines), ("web-rows", &rows)] {
        pending(&fairlane, lane);
        let held = verify(read_all(dir), &books);
        let lane = fairlane.lane(lane);
        assert_eq!(lane["rejected"], 0, "{lane}");
        assert_eq!(lane["delivered"], held.len(), "{lane}");
    }
    // A replay stores all of them once more, beside what is there.
    let before = files(&lines);
    fairlane.command(&["replay", "web-lines", "--from", "0"]);
    let replayed: Vec<_> = files(&lines)
        .into_iter()
        .filter(|file| !before.contains(file))
        .collect();
    assert!(
        replayed
            .iter()
            .all(|file| file.to_string_lossy().contains("-web-lines-replay-")),
        "{replayed:?}"
    );
    let replayed = replayed.into_iter().map(|file| {
        (
            file.to_string_lossy().into_owned(),
            fs::read(&file).unwrap(),
        )
    });
    let held = verify(replayed.collect(), &books);
    assert!(
        held.values().all(|n| *n == 1),
        "a replay that nobody disturbs stores each once"
    );
    // The place says where it is from.
    let file = &before[0];
    let place: Vec<_> = file
        .strip_prefix(&lines)
        .unwrap()
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    assert_eq!(
        (&*place[0], &*place[1]),
        ("events", "source=web"),
        "{place:?}"
    );
    assert!(
        place[2].starts_with("date=20") && place[3].starts_with("hour="),
        "{place:?}"
    );
}

#[test]
fn a_directory_that_may_not_be_written_holds_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "in the way").unwrap();
    let root = dir.path().join("file");
    let fairlane = Setup::default()
        .and(&directory("files", "ndjson", &root))
        .start();
    fairlane.track("m-1");
    fairlane.wait_lane("web-files", "held", |lane| {
        lane["state"] == "held" && lane.to_string().contains("File exists")
    });
    fs::remove_file(&root).unwrap();
    fairlane.management("POST", "/v1/lanes/web-files/resume", "");
    pending(&fairlane, "web-files");
    assert_eq!(files(&root).len(), 1);
}

/// An S3 that somebody else has written: moto, from PyPI.
struct Moto {
    process: Child,
    address: SocketAddr,
}

impl Moto {
    /// `Err` says why it cannot be had.
    fn start() -> Result<Self, String> {
        let venv = installed("moto");
        let python = venv.join("bin/python");
        if !venv.join("ready").exists() {
            println!("installing moto from PyPI into {}", venv.display());
            run(Command::new("python3").arg("-m").arg("venv").arg(&venv))?;
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet"])
                .arg("moto[s3,server]==5.2.5"))?;
            fs::write(venv.join("ready"), "").unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.unwrap();
        let process = Command::new(venv.join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let moto = Self { process, address };
        let end = Instant::now() + Duration::from_secs(60);
        while call(address, "GET", "/", "").is_err() {
            assert!(Instant::now() < end, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let made = owners(address, "PUT", "/events").unwrap();
        assert_eq!(made.status(), 200, "{made:?}");
        Ok(moto)
    }

    fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let list = owners(self.address, "GET", "/events?list-type=2").unwrap();
        let list = String::from_utf8(list.body).unwrap();
        let keys = list
            .split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split("</Key>").next());
        keys.map(|key| {
            let object = owners(self.address, "GET", &format!("/events/{key}")).unwrap();
            assert_eq!(object.status(), 200);
            (key.to_owned(), object.body)
        })
        .collect()
    }

    fn destination(&self, bucket: &str) -> String {
        format!(
            "[[destinations]]\nname = \"s3\"\ntype = \"aws-s3\"\n\
             settings = {{ access_key_id = \"AKID\", secret_access_key = \"secret\", bucket = \"{bucket}\", \
             endpoint = \"http://{}\" }}\n\
             [[connections]]\nname = \"web-s3\"\nsource = \"web\"\ndestination = \"s3\"\n{WAIT}\n",
            self.address
        )
    }
}

/// A request of the bucket's owner. Moto takes the owner's word for it.
fn owners(address: SocketAddr, method: &str, path: &str) -> std::io::Result<Message> {
    let signed = "AWS4-HMAC-SHA256 Credential=AKID/20261126/us-east-1/s3/aws4_request, \
                  SignedHeaders=host, Signature=00";
    let headers = [("connection", "close"), ("authorization", signed)];
    Client::connect(address)?.send(method, path, &headers, b"")
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn every_event_is_in_a_bucket() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(why) => return eprintln!("\n*** SKIPPED: S3: {why}\n"),
    };
    // Nothing on loopback is dialled unless somebody has allowed it.
    let mut fairlane = Setup::default().and(&moto.destination("events")).start();
    let books = Arc::new(Mutex::new(Books::default()));
    let load = Load::start(fairlane.ingest, "s3", Shape::STEADY, &books);
    std::thread::sleep(Duration::from_secs(1));
    load.stop();
    let lane = fairlane.wait_lane("web-s3", "blocked", |lane| {
        lane.to_string().contains("egress_allow")
    });
    assert_eq!(lane["delivered"], 0, "{lane:#}");
    assert!(moto.objects().is_empty());
    assert_eq!(fairlane.terminate(), 0);
    // Then it is; but there is no such bucket.
    Setup::default()
        .and(&moto.destination("other"))
        .and(LOOPBACK)
        .replace(&fairlane);
    fairlane.start();
    fairlane.management("POST", "/v1/lanes/web-s3/resume", "");
    let lane = fairlane.wait_lane("web-s3", "held", |lane| {
        lane["state"] == "held" && lane.to_string().contains("NoSuchBucket")
    });
    assert_eq!(lane["delivered"], 0, "{lane:#}");
    assert_eq!(fairlane.terminate(), 0);
    Setup::default()
        .and(&moto.destination("events"))
        .and(LOOPBACK)
        .replace(&fairlane);
    fairlane.start();
    fairlane.management("POST", "/v1/lanes/web-s3/resume", "");
    pending(&fairlane, "web-s3");
    let held = verify(moto.objects(), &books);
    assert_eq!(fairlane.lane("web-s3")["delivered"], held.len());
}
