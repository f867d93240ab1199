//! Sealing: a secret on disk is ciphertext that opens only with the key, and only in its place.
//!
//! ```text
//!   version u8 = 1 | nonce, 12 random bytes | ciphertext | tag, 16 bytes
//! ```
//!
//! ChaCha20-Poly1305. The place (kind, name, field) is the associated data, so that a ciphertext
//! that is moved to another row does not open there: nobody who can write the file but lacks the
//! key can make one destination send another's secret.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::Error;
use crate::key::Key;

const VERSION: u8 = 1;

/// Which value is sealed.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) field: &'a str,
}

impl Place<'_> {
    /// Lengths stand before the parts, so that no two places give the same bytes.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"fairlane".to_vec();
        for part in [self.kind, self.name, self.field] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

pub(crate) struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Sealer {
    pub(crate) fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.bytes())
            .expect("the algorithm's keys have 32 bytes, as ours have");
        Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        }
    }

    pub(crate) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| Error::NoRandomness)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        let aad = Aad::from(place.associated_data());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| Error::NoRandomness)?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// # Errors
    /// Not sealed with this key, for this place, or changed since.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.try_open(place, sealed)
            .ok_or_else(|| Error::Unsealable {
                kind: place.kind,
                name: place.name.to_owned(),
                field: place.field.to_owned(),
            })
    }

    fn try_open(&self, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        if version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let aad = Aad::from(place.associated_data());
        let plain_len = self.key.open_in_place(nonce, aad, &mut text).ok()?.len();
        text.truncate(plain_len);
        Some(text)
    }
}

#[cfg(test)]
mod tests;
