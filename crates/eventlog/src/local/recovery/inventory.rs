//! What files there are, and what they really are: a segment is known by its header, not by its
//! name, so files whose names were swapped are served all the same.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Offset;

use crate::error::Error;
use crate::local::dir::{Dir, FileKind};
use crate::local::index_file::IndexHead;
use crate::local::segment::{FORMAT_VERSION, HeaderFound, SegmentHeader, Spare};
use crate::options::Options;
use crate::record::SegmentKey;
use crate::report::DamagedRange;

/// The files of a log, in order and under their right names.
#[derive(Debug)]
pub(super) struct Inventory {
    /// Ascending by first offset, no two alike.
    pub segments: Vec<Found>,
    pub spares: Vec<Spare>,
    pub spare_number_next: u64,
    pub epoch_max: u64,
    /// Where retention has cut the log off.
    pub trimmed_end: Offset,
    /// The end of the newest segment of which only the index is left.
    pub lost_end: Offset,
    /// Segments that nothing can be read of; they were put aside as `*.quarantined`.
    pub unreadable: Vec<DamagedRange>,
}

/// A segment file whose header, or whose index, tells what it is.
#[derive(Debug)]
pub(super) struct Found {
    pub key: SegmentKey,
    pub path: PathBuf,
    /// Size of the file, now and when it was made.
    pub bytes: u64,
    pub bytes_made: u64,
    recycled: bool,
    /// Both copies of its header are damaged.
    headless: bool,
}

impl Found {
    /// The file, for reading and writing. Not kept open: a log of many segments has more than a
    /// process may have files.
    pub(super) fn open(&self, dir: &Dir) -> Result<Arc<File>, Error> {
        let file = dir.open_write(&self.path);
        Ok(Arc::new(file.map_err(Error::io("open", &self.path))?))
    }

    pub(super) fn header(&self) -> SegmentHeader {
        SegmentHeader {
            key: self.key,
            bytes: self.bytes_made,
            recycled: self.recycled,
        }
    }
}

/// # Errors
/// [`Error::TooNew`] before anything was changed.
pub(super) fn take(dir: &Dir, options: &Options) -> Result<Inventory, Error> {
    let files = dir.list()?;
    let mut inventory = Inventory {
        segments: Vec::new(),
        spares: Vec::new(),
        spare_number_next: 0,
        epoch_max: 0,
        trimmed_end: Offset::ZERO,
        lost_end: Offset::ZERO,
        unreadable: Vec::new(),
    };
    let mut unreadable = Vec::new();
    for (kind, path) in &files {
        if let FileKind::Segment(_) | FileKind::Moved(_) = kind {
            match identify(dir, *kind, path)? {
                Some(found) => inventory.segments.push(found),
                None => unreadable.push((*kind, path)),
            }
        }
    }
    for (kind, path) in unreadable {
        let bytes = 0..std::fs::metadata(path)
            .map_err(Error::io("read", path))?
            .len();
        put_aside(path)?;
        if let FileKind::Segment(named) = kind {
            inventory.unreadable.push(DamagedRange {
                segment: named,
                offsets: named..named,
                bytes,
            });
        }
    }
    for found in inventory.segments.iter().filter(|found| found.headless) {
        let file = found.open(dir)?;
        let written = found.header().write(&file).and_then(|()| file.sync_all());
        written.map_err(Error::io("write the header of", &found.path))?;
    }
    inventory.mend_names(dir)?;
    for (kind, path) in &files {
        match kind {
            FileKind::Unfinished => remove(path)?,
            FileKind::Spare(number) => inventory.take_spare(dir, options, *number, path)?,
            FileKind::Trimmed(_) => inventory.take_trimmed(dir, path)?,
            FileKind::Segment(_) | FileKind::Index(_) | FileKind::Moved(_) => {}
        }
    }
    inventory.drop_trimmed(dir, &files)?;
    dir.sync().map_err(Error::io("sync", dir.path()))?;
    let epochs = inventory.segments.iter().map(|segment| segment.key.epoch);
    inventory.epoch_max = epochs.max().unwrap_or(0).max(inventory.epoch_max);
    Ok(inventory)
}

/// `None` where neither the file's header nor an index tells its epoch.
fn identify(dir: &Dir, kind: FileKind, path: &Path) -> Result<Option<Found>, Error> {
    // For writing too: whoever may only read learns it before anything is changed.
    let file = dir.open_write(path).map_err(Error::io("open", path))?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let read = SegmentHeader::read(&file).map_err(Error::io("read", path))?;
    let headless = read == HeaderFound::Damaged;
    let header = match read {
        HeaderFound::Good(header) => Some(header),
        HeaderFound::Newer { version } => {
            let (path, version_max) = (path.to_owned(), FORMAT_VERSION);
            return Err(Error::TooNew {
                path,
                version,
                version_max,
            });
        }
        HeaderFound::Damaged => match kind {
            FileKind::Segment(named) => {
                read_head(dir, &dir.index_path(named))?.map(|head| SegmentHeader {
                    key: head.key,
                    bytes,
                    recycled: true,
                })
            }
            _ => None,
        },
    };
    let path = path.to_owned();
    Ok(header.map(
        |SegmentHeader {
             key,
             bytes: bytes_made,
             recycled,
         }| {
            Found {
                key,
                path,
                bytes,
                bytes_made,
                recycled,
                headless,
            }
        },
    ))
}

impl Inventory {
    /// Gives every segment the name that its header says, by way of names that nothing else has.
    fn mend_names(&mut self, dir: &Dir) -> Result<(), Error> {
        self.segments.sort_by_key(|segment| segment.key.first);
        let (right, wrong): (Vec<_>, Vec<_>) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|segment| segment.path == dir.segment_path(segment.key.first));
        self.segments = right;
        let mut taken: HashSet<_> = self
            .segments
            .iter()
            .map(|segment| segment.key.first)
            .collect();
        let mut moved = Vec::new();
        for segment in wrong {
            tracing::warn!(file = %segment.path.display(), first = %segment.key.first,
                "a segment has another one's name: renaming it");
            if !taken.insert(segment.key.first) {
                put_aside(&segment.path)?;
                continue;
            }
            let path = dir.moved_path(segment.key.first.0);
            rename(&segment.path, &path)?;
            moved.push(Found { path, ..segment });
        }
        for segment in moved {
            let path = dir.segment_path(segment.key.first);
            rename(&segment.path, &path)?;
            self.segments.push(Found { path, ..segment });
        }
        self.segments.sort_by_key(|segment| segment.key.first);
        Ok(())
    }

    fn take_spare(
        &mut self,
        dir: &Dir,
        options: &Options,
        number: u64,
        path: &Path,
    ) -> Result<(), Error> {
        self.spare_number_next = self.spare_number_next.max(number.saturating_add(1));
        let file = dir.open_write(path).map_err(Error::io("open", path))?;
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let header = SegmentHeader::read(&file).map_err(Error::io("read", path))?;
        if let HeaderFound::Good(header) = header {
            self.epoch_max = self.epoch_max.max(header.key.epoch);
        }
        let recycled = header != HeaderFound::Damaged;
        let enough = self.spares.len() >= options.reserved_segments;
        if bytes != options.segment_bytes_max || enough {
            return remove(path);
        }
        let path = path.to_owned();
        self.spares.push(Spare {
            path,
            file: Arc::new(file),
            bytes,
            recycled,
        });
        Ok(())
    }

    fn take_trimmed(&mut self, dir: &Dir, path: &Path) -> Result<(), Error> {
        if let Some(head) = read_head(dir, path)? {
            self.trimmed_end = self.trimmed_end.max(head.end());
        }
        Ok(())
    }

    /// Ends what a trim had begun, and finds indexes whose segments are lost.
    fn drop_trimmed(&mut self, dir: &Dir, files: &[(FileKind, PathBuf)]) -> Result<(), Error> {
        let below = |first: Offset| first < self.trimmed_end;
        let newest = files.iter().filter_map(|(kind, _)| match kind {
            FileKind::Trimmed(first) => Some(*first),
            _ => None,
        });
        let newest = newest.max();
        for segment in self
            .segments
            .iter()
            .filter(|segment| below(segment.key.first))
        {
            remove(&segment.path)?;
        }
        for (kind, path) in files {
            match kind {
                FileKind::Index(first) if below(*first) => remove(path)?,
                FileKind::Trimmed(first) if Some(*first) != newest => remove(path)?,
                _ => {}
            }
        }
        let trimmed_end = self.trimmed_end;
        self.segments
            .retain(|segment| segment.key.first >= trimmed_end);
        for (kind, path) in files {
            let FileKind::Index(first) = kind else {
                continue;
            };
            let alone = self
                .segments
                .iter()
                .all(|segment| segment.key.first != *first);
            if *first >= trimmed_end
                && alone
                && let Some(head) = read_head(dir, path)?
            {
                self.lost_end = self.lost_end.max(head.end());
            }
        }
        Ok(())
    }
}

fn read_head(dir: &Dir, path: &Path) -> Result<Option<IndexHead>, Error> {
    match dir.open_read(path) {
        Ok(file) => IndexHead::read(&file).map_err(Error::io("read", path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

/// Keeps a file for whoever wants to look into it, where the log does not.
fn put_aside(path: &Path) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".quarantined");
    rename(path, Path::new(&aside))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::io("rename", from))
}

fn remove(path: &Path) -> Result<(), Error> {
    std::fs::remove_file(path).map_err(Error::io("remove", path))
}
