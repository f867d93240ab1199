//! Objects: the body of a request, put at the place that its URL names.
//!
//! ```text
//!   s3://bucket/key   gs://bucket/key   az://container/key        file:///key
//!        '----------------+------------------'                        |
//!              clients: a store, kept by destination               disk: a thread of its own
//!                         |                                           |
//!              service: our HTTP client, so the egress guard       synced, then renamed
//! ```
//!
//! Each object is one `PUT` and replaces what stood there. Nothing is tried twice here: the scheduler
//! does that.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use catalog::{FinalRequest, gzip};
use model::{DestinationId, Failure};
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutOptions};
use tokio::time::Instant;
use url::Url;

use crate::http::Failed;
use crate::http::send::{Client, Sent};

mod clients;
mod disk;
mod service;
#[cfg(test)]
mod tests;

use clients::{Bucket, Clients};
use disk::Disk;
use service::Put;

/// Limits of object storage.
#[derive(Clone, Debug)]
pub struct ObjectStorageOptions {
    /// Clients of buckets that one shard keeps; the one that was used longest ago makes room.
    /// Default: 256.
    pub clients_max: usize,
    /// A client that was not used for so long is given up. Default: 300,000.
    pub client_idle_ms_max: u64,
    /// Objects of one destination that one shard writes to a local directory at a time: others wait.
    /// Each is a thread, which a disk that hangs keeps. Default: 2.
    pub disk_writes_per_destination_max: usize,
    /// The same of all destinations of one shard. Default: 64.
    pub disk_writes_max: usize,
}

impl Default for ObjectStorageOptions {
    fn default() -> Self {
        Self {
            clients_max: 256,
            client_idle_ms_max: 300_000,
            disk_writes_per_destination_max: 2,
            disk_writes_max: 64,
        }
    }
}

/// One shard's sender of objects.
pub(crate) struct ObjectStorage {
    http: Rc<Client>,
    clients: Clients,
    disk: Disk,
}

/// Where an object goes.
struct Place {
    scheme: String,
    /// Or container; empty for a directory.
    bucket: String,
    key: Path,
}

impl ObjectStorage {
    pub(crate) fn new(http: Rc<Client>, options: &ObjectStorageOptions) -> Self {
        Self {
            http,
            clients: Clients::new(options),
            disk: Disk::new(options),
        }
    }

    /// Puts one object. Cancel safe, but what a disk has been given it may still write.
    pub(crate) async fn send(
        &self,
        destination: DestinationId,
        request: FinalRequest,
        timeout: Duration,
    ) -> Sent {
        let place = match Place::of(&request) {
            Ok(place) => place,
            Err(problem) => return Sent::answer(400, problem),
        };
        let deadline = Instant::now() + timeout;
        if place.scheme == "file" {
            let directory = request.options.get("directory").unwrap_or_default();
            let writing = self.disk.put(
                destination,
                directory,
                place.key,
                request.body,
                request.compress,
            );
            return match tokio::time::timeout_at(deadline, writing).await {
                Ok(sent) => sent,
                Err(_) => Sent::Failed(Failed::new(
                    Failure::Indeterminate,
                    format!("the disk did not write in {} ms", timeout.as_millis()),
                )),
            };
        }
        let kind = content_type(&request);
        let bucket = Bucket {
            scheme: place.scheme,
            name: place.bucket,
            options: request.options,
        };
        let store = match self.clients.get(destination, bucket) {
            Ok(store) => store,
            // A key that is none, an account that is missing: as if the service had refused it.
            Err(problem) => return Sent::answer(401, problem),
        };
        let body = match request.compress {
            true => match compressed(request.body).await {
                Ok(body) => body,
                Err(failed) => return Sent::Failed(failed),
            },
            false => request.body,
        };
        let options = PutOptions {
            attributes: Attributes::from_iter([(Attribute::ContentType, kind)]),
            ..PutOptions::default()
        };
        let put = Put::new(Rc::clone(&self.http), deadline);
        put.run(store.put_opts(&place.key, body.into(), options))
            .await
    }

    pub(crate) fn sweep(&self, now: Instant) {
        self.clients.sweep(now);
        self.disk.sweep();
    }
}

impl Place {
    /// # Errors
    /// No object can be put there.
    fn of(request: &FinalRequest) -> Result<Self, String> {
        if request.method != "PUT" {
            return Err(format!(
                "{} to object storage: an object is put, use PUT",
                request.method
            ));
        }
        let url =
            Url::parse(&request.url).map_err(|problem| format!("the url is none: {problem}"))?;
        if url.query().is_some() {
            return Err("the url of an object has no query".to_owned());
        }
        // A segment that is empty, `.` or `..` is refused here, however it was written.
        let key = Path::from_url_path(url.path()).map_err(|problem| problem.to_string())?;
        if key.as_ref().is_empty() {
            return Err("the url names no object: its path is the key".to_owned());
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            bucket: url.host_str().unwrap_or_default().to_owned(),
            key,
        })
    }
}

/// A compressed object is a file of its own kind, and not an encoding of another: a reader that asks
/// for `x.gz` gets what its name says.
fn content_type(request: &FinalRequest) -> String {
    if request.compress {
        return "application/gzip".to_owned();
    }
    let said = request.headers.iter();
    said.into_iter()
        .find(|(name, _)| name == "content-type")
        .map_or_else(
            || "application/octet-stream".to_owned(),
            |(_, kind)| kind.clone(),
        )
}

/// On another thread: it takes as long as a hundred turns of the shard.
async fn compressed(body: Bytes) -> Result<Bytes, Failed> {
    tokio::task::spawn_blocking(move || gzip(&body))
        .await
        .map_err(|_| Failed::new(Failure::Ours, "the body could not be compressed"))
}
