//! The event log from outside: real files, real crashes, real damage.

// A helper of a test may fail it as the test itself may.
#![allow(clippy::unwrap_used)]

mod conformance;
mod crash;
mod damage;
mod disk_full;
mod failpoints;
mod golden;
mod local;
mod speed;
mod support;
