//! Connections that read. A reader never waits for the writer, nor the writer for a reader.

use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};

use crate::error::Error;

pub(crate) struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        assert!(!connections.is_empty(), "nobody could ever read");
        Self {
            idle: Mutex::new(connections),
            returned: Condvar::new(),
        }
    }

    /// Runs `look` on one unchanging state of the database; waits while all readers are busy.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut borrowed = self.borrow();
        let connection = borrowed
            .connection
            .as_mut()
            .expect("a borrowed reader is there until it is dropped");
        let tx = connection.transaction()?;
        look(&tx)
    }

    fn borrow(&self) -> Borrowed<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = idle.pop() {
                return Borrowed {
                    readers: self,
                    connection: Some(connection),
                };
            }
            idle = self
                .returned
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Comes back when it is dropped, after a panic too.
struct Borrowed<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut idle = self
            .readers
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
        drop(idle);
        self.readers.returned.notify_one();
    }
}
