//! The commands that talk to a running Fairlane, or need none.

pub mod dead_letters;
pub mod destination;
pub mod lanes;
pub mod replay;
pub mod secret;
pub mod send;
pub mod vet;
