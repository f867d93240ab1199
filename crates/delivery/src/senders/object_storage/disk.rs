//! Objects as files below a directory.
//!
//! A disk may hang for minutes, a network's disk for ever. So each write has a thread of its own, never
//! one of those that others' reads need, and each destination only a few; a write that was given up
//! keeps its place until it has really ended, and its name: a later object of that name would otherwise
//! be replaced by the earlier one.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use catalog::gzip;
use model::{DestinationId, Failure};
use object_store::ObjectStoreExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::ObjectStorageOptions;
use crate::http::Failed;
use crate::http::send::Sent;

/// See the module.
pub(super) struct Disk {
    per_destination_max: usize,
    all: Arc<Semaphore>,
    destinations: RefCell<HashMap<DestinationId, Arc<Semaphore>>>,
    writing: Rc<RefCell<HashSet<(DestinationId, Path)>>>,
}

/// A write under way: its places and its name.
struct Writing {
    names: Rc<RefCell<HashSet<(DestinationId, Path)>>>,
    name: (DestinationId, Path),
    _permits: [OwnedSemaphorePermit; 2],
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.names.borrow_mut().remove(&self.name);
    }
}

impl Disk {
    pub(super) fn new(options: &ObjectStorageOptions) -> Self {
        Self {
            per_destination_max: options.disk_writes_per_destination_max.max(1),
            all: Arc::new(Semaphore::new(options.disk_writes_max.max(1))),
            destinations: RefCell::default(),
            writing: Rc::default(),
        }
    }

    /// Writes a file: whole and on the disk, or not at all.
    pub(super) async fn put(
        &self,
        destination: DestinationId,
        directory: &str,
        key: Path,
        body: Bytes,
        compress: bool,
    ) -> Sent {
        let writing = match self.begin(destination, &key).await {
            Ok(writing) => writing,
            Err(failed) => return Sent::Failed(failed),
        };
        let (end, ended) = oneshot::channel();
        let directory = directory.to_owned();
        let work = move || {
            let body = if compress { gzip(&body) } else { body };
            // Nobody listens any more where the attempt was given up.
            let _ = end.send(write(&directory, &key, body));
        };
        let thread = std::thread::Builder::new().name("object".to_owned());
        if let Err(error) = thread.spawn(work) {
            let detail = format!("no thread to write on: {error}");
            return Sent::Failed(Failed::new(Failure::Ours, detail));
        }
        // A task of its own: it outlives an attempt that does not wait.
        let task = tokio::task::spawn_local(async move {
            let ended = ended.await;
            drop(writing);
            ended
        });
        match task.await {
            Ok(Ok(Ok(()))) => Sent::answer(200, ""),
            Ok(Ok(Err(refused))) => Sent::answer(refused.status, refused.detail),
            Ok(Err(_)) | Err(_) => {
                Sent::Failed(Failed::new(Failure::Ours, "the write was cut off"))
            }
        }
    }

    /// # Errors
    /// An earlier write of that name has not ended.
    async fn begin(&self, destination: DestinationId, key: &Path) -> Result<Writing, Failed> {
        let of_destination = Arc::clone(
            self.destinations
                .borrow_mut()
                .entry(destination)
                .or_insert_with(|| Arc::new(Semaphore::new(self.per_destination_max))),
        );
        let closed = |_| Failed::new(Failure::Ours, "the shard is ending");
        // First its own: whoever waits for a place of all holds none that others need.
        let own = of_destination.acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&self.all)
            .acquire_owned()
            .await
            .map_err(closed)?;
        let name = (destination, key.clone());
        if !self.writing.borrow_mut().insert(name.clone()) {
            let failure = Failure::Unavailable {
                retry_after_s: None,
            };
            let detail = "an earlier write of the same object has not ended".to_owned();
            return Err(Failed::new(failure, detail));
        }
        Ok(Writing {
            names: Rc::clone(&self.writing),
            name,
            _permits: [own, all],
        })
    }

    pub(super) fn sweep(&self) {
        let is_used = |places: &Arc<Semaphore>| {
            Arc::strong_count(places) > 1 || places.available_permits() < self.per_destination_max
        };
        self.destinations
            .borrow_mut()
            .retain(|_, places| is_used(places));
    }
}

/// Why a disk did not take an object, as the status that means the same.
struct Refused {
    status: u16,
    detail: String,
}

/// May wait for the disk.
fn write(directory: &str, key: &Path, body: Bytes) -> Result<(), Refused> {
    let root = std::path::Path::new(directory);
    if !root.is_absolute() {
        return Err(Refused {
            status: 404,
            detail: format!("the directory {directory:?} is no absolute path"),
        });
    }
    fs::create_dir_all(root).map_err(|error| refused(&error, directory))?;
    let store = LocalFileSystem::new_with_prefix(root)
        .map_err(|error| told(&error, directory))?
        .with_fsync(true);
    // No runtime on this thread: the store works where it is called, and is ready at once.
    let put = pin!(store.put(key, body.into()));
    match put.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(_)) => Ok(()),
        Poll::Ready(Err(error)) => Err(told(&error, directory)),
        Poll::Pending => Err(Refused {
            status: 500,
            detail: "the write did not end where it began".to_owned(),
        }),
    }
}

fn told(error: &object_store::Error, directory: &str) -> Refused {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return refused(io, directory);
        }
        source = inner.source();
    }
    let status = match error {
        object_store::Error::InvalidPath { .. } => 400,
        _ => 503,
    };
    Refused {
        status,
        detail: error.to_string(),
    }
}

fn refused(error: &io::Error, directory: &str) -> Refused {
    let status = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => 403,
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => 404,
        ErrorKind::InvalidFilename => 400,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => 507,
        _ => 503,
    };
    Refused {
        status,
        detail: format!("writing below {directory}: {error}"),
    }
}
