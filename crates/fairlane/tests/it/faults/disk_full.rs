//! A disk without room, by the configured limit and for real, on a small file system of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::faults::failpoints::SMALL_LOG;
use crate::faults::{books, fill, skipped, steer};
use crate::harness::{Fairlane, LOOPBACK, Setup, run};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Books, Load, Shape, balance, verify};

/// A small file system in memory. Unmounted when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, loudly, where mounting is not allowed.
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                skipped("a disk that is really full", &why);
                None
            }
            Err(error) => {
                skipped("a disk that is really full", &error.to_string());
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status();
        assert!(done.unwrap().success());
    }

    /// Takes all the space that is left.
    fn stuff(&self) {
        let mut ballast = File::create(self.path().join("ballast")).unwrap();
        let page = [7; 4_096];
        while ballast.write_all(&page).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

/// Sends until it is taken again, and says after how long.
fn recovered(fairlane: &Fairlane, id: &str, books: &Mutex<Books>) -> Duration {
    books.lock().unwrap().tried.insert(id.to_owned());
    let began = Instant::now();
    while fairlane.try_track(id) != Some(200) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "events are still refused after 60 s:\n{}",
            fairlane.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    books.lock().unwrap().acknowledged.insert(id.to_owned());
    began.elapsed()
}

#[test]
fn at_its_byte_limit_the_log_refuses_until_something_is_settled() {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .start();
    let books = books();
    steer(&fairlane, "hook", "hold");
    fill(&fairlane, "fill", &books);
    assert_eq!(receiver.count(), 0, "the lane is held");
    // A full log is no reason not to start.
    fairlane.kill();
    fairlane.start();
    fill(&fairlane, "again", &books);

    steer(&fairlane, "hook", "resume");
    fairlane.wait_lane("hook", "the backlog is delivered", |lane| {
        lane["pending"] == 0
    });
    let after = recovered(&fairlane, "recovered", &books);
    println!("taken again {after:?} after the backlog was delivered");
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
}

#[test]
fn on_a_full_disk_events_are_refused_and_deliveries_go_on() {
    let Some(disk) = Disk::mount("size=22m") else {
        return;
    };
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and("[log]\nsegment_bytes_max = \"512KiB\"\n")
        .data_dir(&disk.path().join("data"))
        .start();
    let books = books();
    steer(&fairlane, "hook", "hold");
    fill(&fairlane, "fill", &books);
    // Now the store finds no room either.
    disk.stuff();
    steer(&fairlane, "hook", "resume");
    receiver.wait_for("all that was accepted is delivered", |all| {
        all.len() >= books.lock().unwrap().acknowledged.len()
    });
    assert!(!fairlane.has_ended(), "{}", fairlane.log());

    fs::remove_file(disk.path().join("ballast")).unwrap();
    disk.remount("size=32m");
    let after = recovered(&fairlane, "recovered", &books);
    println!("taken again {after:?} after there was room");
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);

    // Killed while full, and started while still full: it runs, or says that there is no room.
    steer(&fairlane, "hook", "hold");
    fill(&fairlane, "fill-again", &books);
    disk.stuff();
    fairlane.kill();
    fairlane.spawn(&[]);
    let end = Instant::now() + Duration::from_secs(20);
    while !fairlane.has_ended() && !fairlane.log().contains("management at") {
        assert!(Instant::now() < end, "neither runs nor ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    if fairlane.has_ended() {
        let code = fairlane.wait_end().code();
        let said = fairlane.log();
        println!("on a full disk it ends: {said}");
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("space") || said.contains("full"),
            "it should say that the disk is full: {said}"
        );
    } else {
        fairlane.kill();
    }
    fs::remove_file(disk.path().join("ballast")).unwrap();
    disk.remount("size=64m");
    fairlane.start();
    steer(&fairlane, "hook", "resume");
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
}

#[test]
fn a_full_disk_keeps_the_history_short_and_goes_on() {
    let Some(disk) = Disk::mount("size=22m") else {
        return;
    };
    let receiver = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and("[log]\nsegment_bytes_max = \"512KiB\"\n")
        .data_dir(&disk.path().join("data"))
        .start();
    let books = books();
    let load = Load::start(fairlane.ingest, "long", Shape::BULKY, &books);
    let end = Instant::now() + Duration::from_secs(60);
    // More than the log may take of the disk: 16 MiB are left for the store.
    while books.lock().unwrap().acknowledged.len() * Shape::BULKY.padding_bytes < 12 << 20 {
        assert!(
            Instant::now() < end,
            "settled events should make room for new ones: {:?}\n{}",
            books.lock().unwrap().statuses,
            fairlane.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    load.stop();
    println!(
        "12 MiB through a disk with room for 6: {:?}",
        books.lock().unwrap().statuses
    );
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
}

#[test]
fn a_read_only_disk_is_refused() {
    let Some(disk) = Disk::mount("size=8m") else {
        return;
    };
    disk.remount("ro");
    let data = disk.path().join("data");
    let dir = Setup::default().data_dir(&data).write();
    let (code, _, said) = run(dir.path(), &["serve"], "");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&data.display().to_string()) && said.contains("data_dir"),
        "{said}"
    );

    // One that was used before, and is read-only now.
    disk.remount("rw");
    let mut fairlane = Setup::default().data_dir(&data).start();
    fairlane.track("before");
    assert_eq!(fairlane.terminate(), 0);
    disk.remount("ro");
    let (code, _, said) = run(fairlane.dir.path(), &["serve"], "");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&data.display().to_string()) && said.to_lowercase().contains("read-only"),
        "{said}"
    );
}

/// The disk that is full may be the one that the process' own log is on; or whoever read it has ended.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let receiver = Receiver::ok();
    let failing = Receiver::start(|_, _| Reply::Status(401));
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .webhook("failing", &failing.url())
        .and(LOOPBACK)
        .prepare();
    fairlane.spawn_under(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"], &[]);
    fairlane.wait_ready();
    fairlane.track("first");
    // This would be told.
    fairlane.wait_lane("failing", "it is held", |lane| lane["state"] == "held");
    fairlane.track("second");
    receiver.wait_for("both", |received| received.len() == 2);
    let books = fairlane.status();
    assert_eq!(books["balance"]["connections"], 2, "{books}");
    assert_eq!(fairlane.terminate(), 0);
}
