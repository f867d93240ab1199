//! Look-ups: answers to the requests of earlier steps that a program lets be used again.
//!
//! One lane's own, as its transformer is; bounded in number and bytes. The answer that is to go first
//! makes room for a new one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};

use crate::limits::{LOOK_UP_BYTES_MAX, LOOK_UPS_BYTES_MAX, LOOK_UPS_MAX};
use crate::request::RequestPlan;
use crate::transformer::StepResponse;

/// What a look-up asks: the same for two requests with the same method, URL, headers and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookUpKey {
    hash: [u8; 32],
    seconds: u32,
}

impl LookUpKey {
    pub(crate) fn of(request: &RequestPlan) -> Self {
        let mut context = Context::new(&SHA256);
        let mut feed = |bytes: &[u8]| {
            // With its length, so that no two lists of texts are one.
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        };
        feed(request.method.as_bytes());
        feed(request.url.as_bytes());
        for (name, value) in &request.headers {
            feed(name.as_bytes());
            feed(value.as_bytes());
        }
        feed(request.body.bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self {
            hash,
            seconds: request.cache_s,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct LookUps {
    kept: HashMap<LookUpKey, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    answer: StepResponse,
    bytes: usize,
    until: Instant,
}

impl LookUps {
    pub(crate) fn get(&mut self, key: &LookUpKey, now: Instant) -> Option<StepResponse> {
        let kept = self.kept.get(key)?;
        if now < kept.until {
            return Some(kept.answer.clone());
        }
        self.remove(key);
        None
    }

    pub(crate) fn put(&mut self, key: LookUpKey, answer: &StepResponse, now: Instant) {
        let headers = answer.headers.iter();
        let bytes = answer.body.len()
            + headers
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        if bytes > LOOK_UP_BYTES_MAX {
            return;
        }
        self.remove(&key);
        while self.kept.len() >= LOOK_UPS_MAX || self.bytes + bytes > LOOK_UPS_BYTES_MAX {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.until);
            let Some(first) = first.map(|(key, _)| *key) else {
                break;
            };
            self.remove(&first);
        }
        self.bytes += bytes;
        let kept = Kept {
            // A copy: a few bytes must not keep a connection's whole buffer alive.
            answer: StepResponse {
                body: answer.body.to_vec().into(),
                ..answer.clone()
            },
            bytes,
            until: now + Duration::from_secs(u64::from(key.seconds)),
        };
        self.kept.insert(key, kept);
    }

    pub(crate) fn remove(&mut self, key: &LookUpKey) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests;
