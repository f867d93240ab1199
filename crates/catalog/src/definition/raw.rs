//! `destination.toml` as it is written: the shapes that serde reads. `docs/reference/destination.md`
//! says what each key means.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::settings::SettingType;
use super::{Encoding, Payload, Sender, Verdict};
use crate::status::StatusSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefinition {
    pub(super) name: String,
    pub(super) category: String,
    #[serde(default)]
    pub(super) docs: String,
    #[serde(default = "http")]
    pub(super) sender: Sender,
    pub(super) events: Option<Vec<Spanned<String>>>,
    #[serde(default = "program")]
    pub(super) payload: Payload,
    #[serde(default = "json")]
    pub(super) body: Encoding,
    #[serde(default)]
    pub(super) gzip: bool,
    #[serde(default)]
    pub(super) retry_expiry: RetryExpiry,
    pub(super) rate_limit_per_s: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) hosts: Vec<Spanned<String>>,
    pub(super) steps: Option<Vec<Spanned<String>>>,
    pub(super) steps_accept: Option<Spanned<StatusSet>>,
    pub(super) cache_when: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) auth: OneOrMany,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, Spanned<RawSetting>>,
    #[serde(default)]
    pub(super) options: BTreeMap<String, Spanned<String>>,
    pub(super) request: Option<Spanned<RawRequest>>,
    pub(super) batch: Option<Spanned<RawBatch>>,
    #[serde(default)]
    pub(super) response: Vec<Spanned<RawResponse>>,
    #[serde(default)]
    pub(super) partial: Vec<Spanned<RawPartial>>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum RetryExpiry {
    #[default]
    Analytics,
    Webhook,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSetting {
    #[serde(rename = "type")]
    pub(super) kind: SettingType,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) secret: bool,
    pub(super) default: Option<serde_json::Value>,
    pub(super) choices: Option<Vec<String>>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) help: String,
}

/// Which keys belong to the kind is checked afterwards, so that a wrong one is named with its line.
#[derive(Deserialize)]
pub(super) struct RawAuth {
    pub(super) kind: String,
    pub(super) login: Option<RawLogin>,
    pub(super) params: Option<BTreeMap<String, String>>,
    pub(super) optional: Option<bool>,
    #[serde(flatten)]
    pub(super) keys: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) method: Option<String>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) form: Option<BTreeMap<String, String>>,
    pub(super) json: Option<serde_json::Value>,
    pub(super) token: String,
    #[serde(default = "an_hour")]
    pub(super) expires_s: u64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) headers_setting: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBatch {
    pub(super) events_max: u32,
    pub(super) events_setting: Option<String>,
    pub(super) bytes_max: u64,
    pub(super) wait_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResponse {
    pub(super) status: Option<StatusSet>,
    pub(super) when: Option<Spanned<String>>,
    pub(super) result: Verdict,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPartial {
    pub(super) status: Option<StatusSet>,
    pub(super) failed: Spanned<String>,
    #[serde(default = "refused")]
    pub(super) result: Verdict,
    #[serde(default = "delivered")]
    pub(super) rest: Verdict,
}

fn http() -> Sender {
    Sender::Http
}

fn program() -> Payload {
    Payload::Program
}

fn json() -> Encoding {
    Encoding::Json
}

fn an_hour() -> u64 {
    3_600
}

fn refused() -> Verdict {
    Verdict::Refused
}

fn delivered() -> Verdict {
    Verdict::Delivered
}

/// `[auth]` or `[[auth]]`. Not an untagged enum: those swallow the reason of an error.
#[derive(Default)]
pub(super) struct OneOrMany(pub(super) Vec<RawAuth>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an [auth] table, or several [[auth]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
        RawAuth::deserialize(MapAccessDeserializer::new(map)).map(|auth| OneOrMany(vec![auth]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }
}
