//! What a sender other than HTTP needs beside the request: `[options]`, with values and secrets in
//! place.

use std::fmt;
use std::sync::Arc;

use model::Secret;

/// Names and values. Cheap to clone; two are equal where a sender would do the same by both, so that
/// a client that was made for one serves the other. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SenderOptions(Arc<[(String, Secret)]>);

impl SenderOptions {
    pub(crate) fn new(options: Vec<(String, Secret)>) -> Self {
        Self(options.into())
    }

    /// The value of one; never show it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// All that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.reveal()))
    }
}

impl fmt::Debug for SenderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}
