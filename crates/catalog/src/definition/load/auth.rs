//! `[auth]`: which keys belong to which kind, and what they say.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Loader, check_header};
use crate::definition::raw::{RawAuth, RawLogin};
use crate::definition::{AuthSpec, Grant, LoginBody, OAuth1Spec, SigV4Spec, TokenPlace, TokenSpec};
use crate::error::Error;
use crate::program::Role;
use crate::request::{check_header_value, check_method, header_name, http_url};
use crate::signature::HmacHash;
use crate::template::Template;

/// A kind of auth, the keys that it needs, and those that it may have.
pub(in crate::definition) type Kind = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

pub(in crate::definition) const KINDS: [Kind; 14] = [
    ("none", &[], &[]),
    ("bearer", &["token"], &[]),
    ("basic", &["user", "password"], &[]),
    ("header", &["name", "value"], &["prefix", "encoding"]),
    ("query", &["name", "value"], &[]),
    ("standard_webhooks", &["secret"], &[]),
    ("hmac_sha1_hex", &["header", "secret"], &[]),
    ("hmac_sha256_hex", &["header", "secret"], &["prefix"]),
    ("url_hmac", &["hash", "secret", "signature"], &["timestamp"]),
    (
        "oauth1",
        &["consumer_key", "consumer_secret", "token", "token_secret"],
        &[],
    ),
    (
        "aws_sigv4",
        &["access_key_id", "secret_access_key", "region", "service"],
        &["session_token"],
    ),
    (
        "oauth2",
        &["grant", "token_url", "client_id"],
        &[
            "client_secret",
            "refresh_token",
            "scope",
            "params",
            "client_auth",
            "access_token",
            "header",
            "prefix",
            "query",
            "optional",
        ],
    ),
    (
        "session",
        &["login"],
        &["access_token", "header", "prefix", "query", "optional"],
    ),
    (
        "google_service_account",
        &["credentials", "scope"],
        &["access_token", "header", "prefix", "query", "optional"],
    ),
];

/// Those whose token is fetched.
const TOKEN_KINDS: [&str; 3] = ["oauth2", "session", "google_service_account"];

/// Whether one of them has a token, so that programs may say `{{auth.token}}`.
pub(super) fn has_token(all: &[RawAuth]) -> bool {
    all.iter()
        .any(|auth| TOKEN_KINDS.contains(&auth.kind.as_str()))
}

impl Loader<'_> {
    /// `None` for kind "none".
    pub(super) fn auth(&self, index: usize, raw: &RawAuth) -> Result<Option<AuthSpec>, Error> {
        let keys = Keys {
            loader: self,
            raw,
            index,
        };
        keys.check()?;
        Ok(Some(match raw.kind.as_str() {
            "bearer" => AuthSpec::Bearer {
                token: keys.template("token")?,
            },
            "basic" => AuthSpec::Basic {
                user: keys.template("user")?,
                password: keys.template("password")?,
            },
            "header" => AuthSpec::Header {
                name: keys.header("name")?,
                value: keys.template("value")?,
                prefix: keys.prefix("")?,
                base64: keys.is_base64()?,
            },
            "query" => AuthSpec::Query {
                name: keys.text("name"),
                value: keys.template("value")?,
            },
            "standard_webhooks" => AuthSpec::StandardWebhooks {
                secret: keys.template("secret")?,
            },
            "hmac_sha1_hex" => AuthSpec::HmacSha1Hex {
                header: keys.header("header")?,
                secret: keys.template("secret")?,
            },
            "hmac_sha256_hex" => AuthSpec::HmacSha256Hex {
                header: keys.header("header")?,
                secret: keys.template("secret")?,
                prefix: keys.prefix("")?,
            },
            "aws_sigv4" => AuthSpec::AwsSigV4(SigV4Spec {
                access_key_id: keys.template("access_key_id")?,
                secret_access_key: keys.template("secret_access_key")?,
                session_token: keys.optional("session_token")?,
                region: keys.template("region")?,
                service: keys.template("service")?,
            }),
            "url_hmac" => AuthSpec::UrlHmac {
                hash: keys.hash()?,
                secret: keys.template("secret")?,
                timestamp: keys.get("timestamp").map(str::to_owned),
                signature: keys.text("signature"),
            },
            "oauth1" => AuthSpec::OAuth1(OAuth1Spec {
                consumer_key: keys.template("consumer_key")?,
                consumer_secret: keys.template("consumer_secret")?,
                token: keys.template("token")?,
                token_secret: keys.template("token_secret")?,
            }),
            "oauth2" => keys.token("Bearer ", keys.oauth2()?)?,
            "session" => keys.token("", keys.session()?)?,
            "google_service_account" => {
                let grant = Grant::GoogleServiceAccount {
                    credentials: keys.template("credentials")?,
                    scope: keys.text("scope"),
                };
                keys.token("Bearer ", grant)?
            }
            _ => return Ok(None),
        }))
    }

    /// # Errors
    /// There is more than one token: `{{auth.token}}` must say which it means.
    pub(super) fn check_tokens(&self, all: &[RawAuth]) -> Result<(), Error> {
        let fetched = |raw: &RawAuth| TOKEN_KINDS.contains(&raw.kind.as_str());
        let mut tokens = all.iter().enumerate().filter(|(_, raw)| fetched(raw));
        let Some((index, _)) = tokens.nth(1) else {
            return Ok(());
        };
        let problem = format!(
            "a definition has at most one [[auth]] of {}",
            TOKEN_KINDS.join(", ")
        );
        Err(self.error(&self.auth_span(index, &["kind"]), problem))
    }

    /// Where a value of the `index`th auth stands. Reads the file again, as serde gives no span inside a
    /// table that may be one of several.
    fn auth_span(&self, index: usize, path: &[&str]) -> Range<usize> {
        let found = DeTable::parse(self.text).ok().and_then(|file| {
            let auth = file.get_ref().get("auth")?;
            let mut at = match auth.get_ref() {
                DeValue::Array(all) => all.get(index)?,
                _ => auth,
            };
            for name in path {
                at = at.get_ref().get(*name)?;
            }
            Some(at.span())
        });
        found.unwrap_or_default()
    }
}

/// The keys of one `[auth]`.
struct Keys<'a> {
    loader: &'a Loader<'a>,
    raw: &'a RawAuth,
    /// Of several, which.
    index: usize,
}

impl Keys<'_> {
    fn error(&self, problem: String) -> Error {
        let span = self.loader.auth_span(self.index, &["kind"]);
        self.loader.error(&span, problem)
    }

    fn check(&self) -> Result<(), Error> {
        let kind = &self.raw.kind;
        let Some((_, needed, optional)) = KINDS.iter().find(|(known, ..)| known == kind) else {
            let kinds = KINDS.map(|(kind, ..)| kind).join(", ");
            return Err(self.error(format!("{kind:?} is no kind of auth: use one of {kinds}")));
        };
        let given = |key: &str| match key {
            "login" => self.raw.login.is_some(),
            "params" => self.raw.params.is_some(),
            "optional" => self.raw.optional.is_some(),
            key => self.raw.keys.contains_key(key),
        };
        let tables = ["login", "params", "optional"]
            .into_iter()
            .filter(|key| given(key));
        let mut keys = self.raw.keys.keys().map(String::as_str).chain(tables);
        if let Some(key) = keys.find(|key| !needed.contains(key) && !optional.contains(key)) {
            return Err(self.error(format!("[auth] kind = \"{kind}\" has no {key}")));
        }
        if let Some((key, _)) = self.raw.keys.iter().find(|(_, value)| !value.is_str()) {
            return Err(self.error(format!("[auth] {key} must be text, in quotes")));
        }
        match needed.iter().find(|key| !given(key)) {
            Some(key) => Err(self.error(format!("[auth] kind = \"{kind}\" needs {key}"))),
            None => Ok(()),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.raw.keys.get(key).and_then(toml::Value::as_str)
    }

    fn is_base64(&self) -> Result<bool, Error> {
        match self.get("encoding") {
            None => Ok(false),
            Some("base64") => Ok(true),
            Some(other) => {
                let problem = format!("encoding {other:?} is none: use base64, or leave it out");
                Err(self.error(problem))
            }
        }
    }

    fn hash(&self) -> Result<HmacHash, Error> {
        match self.get("hash") {
            Some("sha1") => Ok(HmacHash::Sha1),
            Some("sha256") => Ok(HmacHash::Sha256),
            other => {
                let other = other.unwrap_or_default();
                Err(self.error(format!("hash {other:?} is none: use sha1 or sha256")))
            }
        }
    }

    fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default().to_owned()
    }

    fn parse(&self, text: &str) -> Result<Template, Error> {
        Template::parse(text, self.loader.settings).map_err(|problem| self.error(problem))
    }

    fn template(&self, key: &str) -> Result<Template, Error> {
        self.parse(self.get(key).unwrap_or_default())
    }

    fn optional(&self, key: &str) -> Result<Option<Template>, Error> {
        self.get(key).map(|text| self.parse(text)).transpose()
    }

    fn header(&self, key: &str) -> Result<String, Error> {
        header_name(self.get(key).unwrap_or_default()).map_err(|problem| self.error(problem))
    }

    /// What stands in a header before its value.
    fn prefix(&self, default: &str) -> Result<String, Error> {
        let prefix = self.get("prefix").unwrap_or(default);
        check_header_value("prefix", prefix).map_err(|problem| self.error(problem))?;
        Ok(prefix.to_owned())
    }

    /// Where a token is asked for. What settings add is looked at when they are known.
    fn url(&self, text: &str) -> Result<Template, Error> {
        let url = self.parse(text)?;
        if let Some(text) = url.literal() {
            http_url(text).map_err(|problem| self.error(problem))?;
        }
        Ok(url)
    }

    /// An auth whose token `grant` fetches.
    fn token(&self, prefix: &str, grant: Grant) -> Result<AuthSpec, Error> {
        let place = match self.get("query") {
            Some(name) if self.get("header").or(self.get("prefix")).is_none() => {
                TokenPlace::Query {
                    name: name.to_owned(),
                }
            }
            Some(_) => {
                let problem = "[auth] has either query, or header and prefix";
                return Err(self.error(problem.to_owned()));
            }
            None => TokenPlace::Header {
                name: match self.get("header") {
                    Some(_) => self.header("header")?,
                    None => "authorization".to_owned(),
                },
                prefix: self.prefix(prefix)?,
            },
        };
        Ok(AuthSpec::Token(Box::new(TokenSpec {
            optional: self.raw.optional.unwrap_or(false),
            access_token: self.optional("access_token")?,
            place,
            grant,
        })))
    }

    fn oauth2(&self) -> Result<Grant, Error> {
        let refreshes = match self.get("grant") {
            Some("refresh_token") => true,
            Some("client_credentials") => false,
            other => {
                return Err(self.error(format!(
                    "grant {:?} is none: use refresh_token or client_credentials",
                    other.unwrap_or_default()
                )));
            }
        };
        if refreshes != self.get("refresh_token").is_some() {
            let problem = "refresh_token belongs to grant = \"refresh_token\", which needs it";
            return Err(self.error(problem.to_owned()));
        }
        let basic = match self.get("client_auth") {
            None | Some("body") => false,
            Some("basic") => true,
            Some(other) => {
                return Err(self.error(format!("client_auth {other:?} is none: use body or basic")));
            }
        };
        Ok(Grant::OAuth2 {
            token_url: self.url(self.get("token_url").unwrap_or_default())?,
            client_id: self.template("client_id")?,
            client_secret: self.optional("client_secret")?,
            refresh_token: self.optional("refresh_token")?,
            scope: self.optional("scope")?,
            params: self.pairs(self.raw.params.iter().flatten())?,
            basic,
        })
    }

    fn session(&self) -> Result<Grant, Error> {
        let Some(login) = &self.raw.login else {
            return Err(self.error("[auth] kind = \"session\" needs login".to_owned()));
        };
        let method = login.method.as_deref().unwrap_or("POST");
        check_method(method).map_err(|problem| self.error(problem))?;
        let mut headers = Vec::new();
        for (name, value) in &login.headers {
            let name = header_name(name).map_err(|problem| self.error(problem))?;
            let value = self.parse(value)?;
            check_header(&name, &value).map_err(|problem| self.error(problem))?;
            headers.push((name, value));
        }
        let place = self.loader.auth_span(self.index, &["login", "token"]);
        let token = Spanned::new(place, login.token.clone());
        Ok(Grant::Session {
            method: method.to_owned(),
            url: self.url(&login.url)?,
            headers,
            body: self.login_body(login)?,
            token: self.loader.inline(&token, Role::Token),
            expires_s: login.expires_s,
        })
    }

    fn login_body(&self, login: &RawLogin) -> Result<LoginBody, Error> {
        match (&login.form, &login.json) {
            (None, None) => Ok(LoginBody::None),
            (Some(form), None) => self.pairs(form.iter()).map(LoginBody::Form),
            (None, Some(json)) => {
                self.check_strings(json)?;
                Ok(LoginBody::Json(json.clone()))
            }
            (Some(_), Some(_)) => {
                Err(self.error("[auth.login] has either form or json".to_owned()))
            }
        }
    }

    fn pairs<'p>(
        &self,
        pairs: impl Iterator<Item = (&'p String, &'p String)>,
    ) -> Result<Vec<(String, Template)>, Error> {
        pairs
            .map(|(name, value)| Ok((name.clone(), self.parse(value)?)))
            .collect()
    }

    fn check_strings(&self, tree: &Value) -> Result<(), Error> {
        match tree {
            Value::String(text) => self.parse(text).map(|_| ()),
            Value::Array(items) => items.iter().try_for_each(|item| self.check_strings(item)),
            Value::Object(members) => members
                .values()
                .try_for_each(|value| self.check_strings(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }
}
