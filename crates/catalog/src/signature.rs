//! Signatures: of bodies (Standard Webhooks, plain HMAC), of URLs, and of whole requests (AWS, OAuth 1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::encode::hex;

mod oauth1;
mod sigv4;
mod url_hmac;

pub(crate) use oauth1::{OAuth1, Signed};
pub(crate) use sigv4::SigV4;
pub(crate) use url_hmac::UrlHmac;

/// Names bytes by what they are.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// As the specification of Standard Webhooks asks for.
const KEY_BYTES_MIN: usize = 24;

/// The keys of Standard Webhooks: more than one while a secret is being rotated, and then every
/// request is signed with each.
pub(crate) struct SigningKeys(Vec<hmac::Key>);

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

impl SigningKeys {
    /// `whsec_<base64>`, or a text that is the key itself; several separated by spaces.
    ///
    /// # Errors
    /// What stands behind `whsec_` is no base64.
    pub(crate) fn parse(secret: &str) -> Result<Self, String> {
        let keys = secret
            .split_ascii_whitespace()
            .map(|one| match one.strip_prefix("whsec_") {
                Some(encoded) => match STANDARD.decode(encoded) {
                    Ok(bytes) if bytes.len() >= KEY_BYTES_MIN => {
                        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
                    }
                    Ok(_) => Err(format!(
                        "a signing secret has at least {KEY_BYTES_MIN} bytes as base64 behind \
                         whsec_: make one with `openssl rand -base64 24`"
                    )),
                    Err(_) => Err("a signing secret is whsec_ and base64 behind it".to_owned()),
                },
                None => Ok(hmac::Key::new(hmac::HMAC_SHA256, one.as_bytes())),
            });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("a signing secret must not be empty".to_owned());
        }
        Ok(Self(keys))
    }

    /// `v1,<base64>` for each key, over `id.timestamp.body`.
    pub(crate) fn sign(&self, id: &str, unix_s: u64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{unix_s}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HmacHash {
    /// For services that ask for nothing better, such as Segment's own webhooks.
    Sha1,
    Sha256,
}

impl HmacHash {
    /// Lower-case hex of the bytes' HMAC.
    pub(crate) fn hex(self, secret: &str, bytes: &[u8]) -> String {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(algorithm, secret.as_bytes());
        hex(hmac::sign(&key, bytes).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_webhooks_example_of_its_specification() {
        let keys = SigningKeys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = keys.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_twice() {
        let keys = SigningKeys::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA plain").unwrap();
        assert_eq!(keys.sign("id", 1, b"x").split(' ').count(), 2);
        assert!(SigningKeys::parse("whsec_!").is_err());
        assert!(SigningKeys::parse("whsec_AAAA").is_err(), "too short");
        assert!(SigningKeys::parse(" ").is_err());
    }

    #[test]
    fn hmac_vectors_of_rfc_2202_and_4231() {
        let text = b"what do ya want for nothing?";
        assert_eq!(
            HmacHash::Sha1.hex("Jefe", text),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            HmacHash::Sha256.hex("Jefe", text),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
