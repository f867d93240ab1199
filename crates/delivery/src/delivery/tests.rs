//! The whole path: a real log, store and catalog, real sockets, receivers of every kind.

mod configuration;
mod dead_letters;
mod look_ups;
mod outcomes;
mod restart;
mod tokens;
mod world;
