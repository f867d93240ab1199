//! The integration tests: the real binary, real sockets, real kills. One binary, so that it links
//! once.
//!
//! [`peer`], [`harness`] and [`verifier`] share no code with the product: what they count is independent.

#![allow(clippy::unwrap_used)] // A test that meets an error should end there.

mod bad_input;
mod cli;
mod crash;
mod delivery;
mod destination;
mod faults;
mod harness;
mod house;
mod isolation;
#[cfg(feature = "kafka")]
mod kafka;
mod objects;
mod peer;
mod postgres;
mod sdk;
mod steering;
mod verifier;
