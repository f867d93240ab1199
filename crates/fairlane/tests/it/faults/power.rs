//! The power is cut: what was not made durable is gone. A file system of its own is shut down under
//! load without writing anything back, and mounted again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::faults::{books, skipped};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance, verify};

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more reaches the disk.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// An ext4 in a file. Unmounted when dropped.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn make() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(96 << 20).unwrap();
        std::fs::create_dir(dir.path().join("mounted")).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self { dir };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.dir.path().join("image");
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(image).arg(self.mounted());
        run(&mut mount)
    }

    fn mounted(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    fn cut_power(&self) -> Result<(), String> {
        let mut python = Command::new("python3");
        run(python.args(["-c", CUT]).arg(self.mounted()))
    }

    fn unmount(path: &Path) -> Result<(), String> {
        run(Command::new("umount").arg(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Self::unmount(&self.mounted()).ok();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let Output { status, stderr, .. } = command
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(format!("{shown}: {status}: {said}"))
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let disk = match Disk::make() {
        Ok(disk) => disk,
        Err(why) => return skipped("a power cut", &why),
    };
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and("[log]\nsegment_bytes_max = \"2MiB\"\n")
        .data_dir(&disk.mounted().join("data"))
        .start();
    let books = books();
    for cut in 0..3 {
        let load = Load::start(fairlane.ingest, &format!("p{cut}"), Shape::BULKY, &books);
        std::thread::sleep(Duration::from_millis(400 + 170 * cut));
        if let Err(why) = disk.cut_power() {
            load.stop();
            return skipped("a power cut", &why);
        }
        // Its next commit fails, which is how it learns.
        let status = fairlane.wait_end();
        assert_eq!(status.code(), Some(4), "{}", fairlane.log());
        load.stop();
        Disk::unmount(&disk.mounted()).unwrap();
        disk.mount().unwrap();
        fairlane.start();
        let log = fairlane.status()["log"].clone();
        assert_eq!(log["damaged_records"], 0, "no false alarm: {log}");
    }
    let repeated = verify(&fairlane, "hook", &receiver, &books);
    println!("3 power cuts, {repeated} repeated");
    balance(&fairlane);
}
