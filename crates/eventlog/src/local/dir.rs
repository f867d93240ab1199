//! The log's directory: its lock, its names, and file descriptors kept in reserve.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::Offset;
use rustix::io::Errno;

use crate::error::Error;
use crate::guard::lock;

/// Held as long as the log is open; dropping it lets another process in.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    /// Open on the directory, to `fsync` its entries.
    entries: File,
    /// Never read: the lock goes with it.
    _lock: File,
    reserve: Mutex<Vec<File>>,
    reserve_max: usize,
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum FileKind {
    /// `<first offset>.seg`
    Segment(Offset),
    /// `<first offset>.idx`
    Index(Offset),
    /// `<first offset>.trimmed`: the index of the newest segment that retention removed.
    Trimmed(Offset),
    /// `<number>.spare`: a segment file ready for use.
    Spare(u64),
    /// `<number>.moved`: a segment whose name was wrong, on its way to the right one.
    Moved(u64),
    /// `<name>.tmp`: unfinished, of no worth.
    Unfinished,
}

impl FileKind {
    fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.split_once('.')?;
        let number = || {
            stem.parse::<u64>()
                .ok()
                .filter(|_| stem.len() == NAME_DIGITS)
        };
        match extension {
            "seg" => number().map(|first| Self::Segment(Offset(first))),
            "idx" => number().map(|first| Self::Index(Offset(first))),
            "trimmed" => number().map(|first| Self::Trimmed(Offset(first))),
            "spare" => number().map(Self::Spare),
            "moved" => number().map(Self::Moved),
            _ => name.ends_with(".tmp").then_some(Self::Unfinished),
        }
    }
}

/// A process that is just ending, or a child that is just being started, holds the lock for a
/// moment longer than its log is open.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const NAME_DIGITS: usize = 20;
const FILE_MODE: u32 = 0o600;

impl Dir {
    /// Makes the directory if only itself is missing, and locks it.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotADirectory`], [`Error::NotWritable`] say what to do.
    pub(crate) fn open(path: &Path, reserve_max: usize) -> Result<Self, Error> {
        // What customers do is nobody else's business on this machine.
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                // A directory whose own entry is not durable may vanish with all its segments.
                let synced = File::open(parent).and_then(|dir| dir.sync_all());
                synced.map_err(Error::io("sync", parent))?;
            }
            Err(_) if path.is_dir() => {}
            Err(_) if path.exists() => return Err(Error::NotADirectory(path.to_owned())),
            Err(source) => return Err(not_writable(path, source)),
        }
        let lock_path = path.join("LOCK");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(&lock_path);
        let lock = lock.map_err(|source| not_writable(path, source))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Err(Error::Locked(path.to_owned())),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("lock", &lock_path)(error));
                }
            }
        }
        let entries = File::open(path).map_err(Error::io("open", path))?;
        let path = path.to_owned();
        let dir = Self {
            path,
            entries,
            _lock: lock,
            reserve: Mutex::default(),
            reserve_max,
        };
        dir.refill_reserve();
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn segment_path(&self, first: Offset) -> PathBuf {
        self.path.join(format!("{:020}.seg", first.0))
    }

    pub(crate) fn index_path(&self, first: Offset) -> PathBuf {
        self.path.join(format!("{:020}.idx", first.0))
    }

    pub(crate) fn trimmed_path(&self, first: Offset) -> PathBuf {
        self.path.join(format!("{:020}.trimmed", first.0))
    }

    pub(crate) fn spare_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.spare"))
    }

    pub(crate) fn moved_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.moved"))
    }

    /// The log's files, in an order that depends on their names only.
    pub(crate) fn list(&self) -> Result<Vec<(FileKind, PathBuf)>, Error> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(Error::io("list", &self.path))? {
            let entry = entry.map_err(Error::io("list", &self.path))?;
            if let Some(kind) = entry.file_name().to_str().and_then(FileKind::parse) {
                files.push((kind, entry.path()));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Makes renames, new files and removals durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.entries.sync_all()
    }

    pub(crate) fn open_read(&self, path: &Path) -> io::Result<File> {
        self.with_reserve(|| File::open(path))
    }

    pub(crate) fn open_write(&self, path: &Path) -> io::Result<File> {
        self.with_reserve(|| OpenOptions::new().read(true).write(true).open(path))
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.with_reserve(|| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(FILE_MODE)
                .open(path)
        })
    }

    /// Bytes free for this user; `None` where the file system does not say.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.entries).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Takes back what an exhausted process made the log give up. Called now and then.
    pub(crate) fn refill_reserve(&self) {
        let mut reserve = lock(&self.reserve);
        while reserve.len() < self.reserve_max {
            let Ok(file) = self.entries.try_clone() else {
                return;
            };
            reserve.push(file);
        }
    }

    /// Opens a file; where no descriptor is left, gives up reserved ones for it.
    fn with_reserve(&self, open: impl Fn() -> io::Result<File>) -> io::Result<File> {
        loop {
            let error = match open() {
                Ok(file) => return Ok(file),
                Err(error) => error,
            };
            let none_left = matches!(
                error.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::MFILE | Errno::NFILE)
            );
            if !none_left || lock(&self.reserve).pop().is_none() {
                return Err(error);
            }
        }
    }
}

fn not_writable(path: &Path, source: io::Error) -> Error {
    Error::NotWritable {
        path: path.to_owned(),
        source,
    }
}
