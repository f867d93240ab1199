//! Ingest as clients see it: real sockets, a real event log.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod durability;
mod endpoints;
mod hostile;
mod support;
