//! Senders: who carries a finished request to its service. A definition names one of them.
//!
//! ```text
//!   attempt -- FinalRequest --> Senders
//!                                 |- http             almost everything
//!                                 |- object_storage   S3, Google Cloud Storage, Azure, a directory
//!                                 |- postgres         rows into PostgreSQL
//!                                 '- kafka            records to Kafka, in a build with that feature
//!                                        |
//!                                        '--> Sent: an answer with a status as HTTP has it, or how it failed
//! ```
//!
//! What a service without HTTP says is told as the HTTP status that means the same: so rules of
//! responses, holds, the breaker, samples and metrics need to know nothing of senders.
//!
//! One for each shard, on its thread, without locks. All that is dialled goes through
//! [`crate::http::dial::Dialer`], which asks the egress guard.

use std::rc::Rc;
use std::time::Duration;

use catalog::{FinalRequest, Sender};
use model::DestinationId;
use tokio::time::Instant;

use crate::http::request::prepare;
use crate::http::send::{Client, Reuse, Sent};
use crate::options::Options;

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod object_storage;
mod peers;
pub mod postgres;

#[cfg(feature = "kafka")]
use kafka::Kafka;
use object_storage::ObjectStorage;
use postgres::Postgres;

/// Whether this build has a sender, and if not, what to do.
///
/// # Errors
/// It was built without it.
pub fn has(sender: Sender) -> Result<(), &'static str> {
    match sender {
        Sender::Kafka if !cfg!(feature = "kafka") => {
            Err("built without Kafka: build with --features kafka")
        }
        _ => Ok(()),
    }
}

/// All senders of one shard.
pub(crate) struct Senders {
    /// Also fetches tokens.
    pub(crate) http: Rc<Client>,
    objects: ObjectStorage,
    postgres: Postgres,
    #[cfg(feature = "kafka")]
    kafka: Kafka,
}

impl Senders {
    pub(crate) fn new(http: Client, options: &Options) -> Self {
        let http = Rc::new(http);
        Self {
            objects: ObjectStorage::new(Rc::clone(&http), &options.object_storage),
            postgres: Postgres::new(Rc::clone(&http), options.postgres.clone()),
            #[cfg(feature = "kafka")]
            kafka: Kafka::new(Rc::clone(&http), options.kafka.clone()),
            http,
        }
    }

    /// Sends one request. Cancel safe: dropping the future gives up what it holds.
    pub(crate) async fn send(
        &self,
        sender: Sender,
        destination: DestinationId,
        request: FinalRequest,
        reuse: Reuse,
        timeout: Duration,
    ) -> Sent {
        match sender {
            Sender::Http => {
                let FinalRequest {
                    method,
                    url,
                    headers,
                    body,
                    ..
                } = request;
                match prepare(&method, url, headers, body) {
                    Ok(prepared) => self.http.send(prepared, reuse, timeout).await,
                    Err(problem) => Sent::BadRequest(problem),
                }
            }
            // Its events never become requests.
            Sender::Blackhole => Sent::answer(200, ""),
            // Boxed, as the common attempt should not carry the room that the rare one needs.
            Sender::ObjectStorage => {
                Box::pin(self.objects.send(destination, request, timeout)).await
            }
            Sender::Postgres => {
                Box::pin(self.postgres.send(destination, request, reuse, timeout)).await
            }
            #[cfg(feature = "kafka")]
            Sender::Kafka => Box::pin(self.kafka.send(destination, request, timeout)).await,
            // Nothing with it gets past loading.
            #[cfg(not(feature = "kafka"))]
            Sender::Kafka => Sent::answer(501, has(sender).err().unwrap_or_default()),
        }
    }

    /// Closes what has been idle too long. To be called every few seconds.
    pub(crate) fn sweep(&self, now: Instant) {
        self.http.pool.sweep(now);
        self.objects.sweep(now);
        self.postgres.sweep(now);
        #[cfg(feature = "kafka")]
        self.kafka.sweep(now);
    }
}
