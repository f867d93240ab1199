//! Talks to a running Fairlane: its management API, and its ingest for `fairlane send`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cli::AdminArgs;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The management API of a running Fairlane.
pub struct AdminClient {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl AdminClient {
    pub fn new(args: &AdminArgs) -> Self {
        Self {
            agent: agent(),
            base: args.admin.trim_end_matches('/').to_owned(),
            token: args.token.clone(),
        }
    }

    /// # Errors
    /// Nobody answers there, or the answer is a refusal; the text says what to do.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answer(request.call())
    }

    /// # Errors
    /// As [`AdminClient::get`].
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answer(request.send_json(body))
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let mut answer = answer.with_context(|| {
            format!(
                "no answer from {}: is `fairlane serve` running there? (--admin names another place)",
                self.base
            )
        })?;
        let status = answer.status();
        let value: Value = answer
            .body_mut()
            .read_json()
            .with_context(|| format!("{} sent no JSON", self.base))?;
        if status.is_success() {
            return Ok(value);
        }
        let said = value["error"]["message"]
            .as_str()
            .unwrap_or("no reason given");
        bail!("{said} ({status})")
    }
}

/// Posts a body to ingest as a tracking client would; returns status and answer.
///
/// # Errors
/// Nobody answers there.
pub fn post_events(url: &str, write_key: &str, body: &str) -> anyhow::Result<(u16, String)> {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(format!("{write_key}:"));
    let mut answer = agent()
        .post(format!("{}/v1/batch", url.trim_end_matches('/')))
        .header("authorization", format!("Basic {key}"))
        .content_type("application/json")
        .send(body)
        .with_context(|| nobody(url))?;
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    Ok((answer.status().as_u16(), text))
}

/// Whether a source has this write key, as the settings that SDKs ask for tell.
///
/// # Errors
/// Nobody answers there.
pub fn knows_write_key(url: &str, write_key: &str) -> anyhow::Result<bool> {
    let url = url.trim_end_matches('/');
    let answer = agent()
        .get(format!("{url}/v1/projects/{write_key}/settings"))
        .call()
        .with_context(|| nobody(url))?;
    Ok(answer.status() != 404)
}

fn nobody(url: &str) -> String {
    format!("no answer from {url}: is `fairlane serve` running there? (--url names another place)")
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into()
}
