//! `[auth]`: which keys belong to which kind.

use std::ops::Range;

use super::Loader;
use crate::definition::AuthSpec;
use crate::definition::raw::RawAuth;
use crate::error::Error;
use crate::request::header_name;
use crate::template::Template;

/// The keys of every kind. All are required but `prefix`.
const KINDS: [(&str, &[&str]); 8] = [
    ("none", &[]),
    ("bearer", &["token"]),
    ("basic", &["user", "password"]),
    ("header", &["name", "value"]),
    ("query", &["name", "value"]),
    ("standard_webhooks", &["secret"]),
    ("hmac_sha1_hex", &["header", "secret"]),
    ("hmac_sha256_hex", &["header", "secret", "prefix"]),
];

impl Loader<'_> {
    /// `None` for kind "none".
    pub(super) fn auth(&self, raw: &RawAuth) -> Result<Option<AuthSpec>, Error> {
        // serde gives no span inside a table that may be one of several: find the line by its kind.
        let at = self.text.find(&format!("\"{}\"", raw.kind)).unwrap_or(0);
        let span = at..at;
        self.check_keys(raw, &span)?;
        let template = |text: &Option<String>| -> Result<Template, Error> {
            self.template(&span, text.as_deref().unwrap_or_default())
        };
        let header = |text: &Option<String>| {
            header_name(text.as_deref().unwrap_or_default())
                .map_err(|problem| self.error(&span, problem))
        };
        Ok(Some(match raw.kind.as_str() {
            "bearer" => AuthSpec::Bearer {
                token: template(&raw.token)?,
            },
            "basic" => AuthSpec::Basic {
                user: template(&raw.user)?,
                password: template(&raw.password)?,
            },
            "header" => AuthSpec::Header {
                name: header(&raw.name)?,
                value: template(&raw.value)?,
            },
            "query" => AuthSpec::Query {
                name: raw.name.clone().unwrap_or_default(),
                value: template(&raw.value)?,
            },
            "standard_webhooks" => AuthSpec::StandardWebhooks {
                secret: template(&raw.secret)?,
            },
            "hmac_sha1_hex" => AuthSpec::HmacSha1Hex {
                header: header(&raw.header)?,
                secret: template(&raw.secret)?,
            },
            "hmac_sha256_hex" => AuthSpec::HmacSha256Hex {
                header: header(&raw.header)?,
                secret: template(&raw.secret)?,
                prefix: raw.prefix.clone().unwrap_or_default(),
            },
            _ => return Ok(None),
        }))
    }

    fn check_keys(&self, raw: &RawAuth, span: &Range<usize>) -> Result<(), Error> {
        let Some((kind, keys)) = KINDS.iter().find(|(kind, _)| *kind == raw.kind) else {
            let kinds = KINDS.map(|(kind, _)| kind).join(", ");
            let problem = format!("{:?} is no kind of auth: use one of {kinds}", raw.kind);
            return Err(self.error(span, problem));
        };
        for (key, present) in given(raw) {
            let known = keys.contains(&key);
            if present && !known {
                return Err(self.error(span, format!("[auth] kind = \"{kind}\" has no {key}")));
            }
            if known && !present && key != "prefix" {
                return Err(self.error(span, format!("[auth] kind = \"{kind}\" needs {key}")));
            }
        }
        Ok(())
    }
}

fn given(raw: &RawAuth) -> [(&'static str, bool); 8] {
    [
        ("token", raw.token.is_some()),
        ("user", raw.user.is_some()),
        ("password", raw.password.is_some()),
        ("name", raw.name.is_some()),
        ("value", raw.value.is_some()),
        ("header", raw.header.is_some()),
        ("secret", raw.secret.is_some()),
        ("prefix", raw.prefix.is_some()),
    ]
}
