//! What `destinations/` defines: load, check, transform, judge responses, run cases.
//!
//! ```text
//!  destinations/<id>/            Catalog                         Transformer (one per lane)
//!  destination.toml  --load-->   Definition  --+ settings -->    event bytes
//!  *.vrl                            |          + filter             | integrations, filter,
//!  cases/*.json                  programs      + transform          | transform, event types
//!                            (vet, compile once,                    v
//!                             shared by Arc)                     program, under guard
//!                                                                   |
//!     response --judge--> JobResult              Entry --batch--> RequestPlan --finish--> FinalRequest
//!                                                                (placeholders)  (secrets, auth, gzip)
//! ```
//!
//! Pure: no sockets, no clock that decides, and no files but the definitions. Only this crate knows
//! VRL, and no other crate sees a program's value.
//!
//! Read [`catalog`] and [`definition`] first, then [`transformer`] and [`request`]; `program` holds
//! the guards (`vet` before a program is compiled, `guard` while it runs); [`judge`] and [`cases`]
//! stand apart.
//!
//! Threads: a program runs on its caller's thread, which must have a stack of at least
//! [`STACK_BYTES_MIN`]; compiling brings its own. The limit of live bytes works only where the
//! process' global allocator is an [`alloc::CountingAllocator`].

pub mod alloc;
pub mod binding;
pub mod cases;
pub mod catalog;
mod columns;
pub mod compare;
pub mod definition;
mod encode;
pub mod error;
mod events;
pub mod finish;
mod json;
pub mod judge;
pub mod limits;
pub mod look_up;
mod marks;
pub mod options;
pub mod order_key;
pub mod origin;
pub mod pages;
pub mod play;
mod program;
pub mod request;
mod signature;
pub mod status;
pub mod struck;
mod template;
pub mod token;
pub mod transformer;

pub use cases::{
    Blessed, CaseReport, EventCase, Recording, bless, event_cases, example_settings, record,
    result_text, run_cases, unblessed_cases,
};
pub use catalog::Catalog;
pub use definition::settings::{SettingProblem, SettingSpec, SettingType};
pub use definition::{BatchLimits, Definition, Sender};
pub use error::Error;
pub use finish::{FinalRequest, Stamp, gzip};
pub use json::compact;
pub use judge::Judged;
pub use limits::STACK_BYTES_MIN;
pub use look_up::LookUpKey;
pub use model::registry::CheckedSettings;
pub use options::SenderOptions;
pub use order_key::OrderKey;
pub use origin::Origin;
pub use play::{Outcome, Refused, parse_answers, play, play_line, play_line_at};
pub use program::{Compiled, check_filter, check_ordering_key, check_transform, thread_time, vet};
pub use request::{Body, RequestPlan};
pub use token::{GrantId, Token, TokenAnswer, TokenRefused, TokenRequest};
pub use transformer::{Entry, Planned, StepResponse, StepState, Transformer};

// The tests hold programs to their limit of live bytes, which needs the counting allocator.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: alloc::CountingAllocator<std::alloc::System> =
    alloc::CountingAllocator::new(std::alloc::System);
