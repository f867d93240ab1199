//! Tokens that are fetched: what to send for one, and what an answer gives.
//!
//! ```text
//! settings --new--> TokenGrant --request--> (sent by who owns sockets) --judge--> Token
//!                        '-- id: what two destinations with the same grant have in common
//! ```
//!
//! Nothing here is sent or kept: delivery fetches tokens, shares them, and gives each to
//! [`crate::Transformer::finish`].

use model::{Failure, Secret};
use serde_json::Value;

use crate::binding::Binding;
use crate::definition::settings::SettingProblem;
use crate::definition::{AuthSpec, Definition};
use crate::encode;
use crate::finish::FinalRequest;
use crate::judge;
use crate::limits::TOKEN_BYTES_MAX;
use crate::limits::{TOKEN_ERROR_BYTES_MAX, TOKEN_LIFETIME_S_DEFAULT, TOKEN_LIFETIME_S_MAX};
use crate::request::RequestPlan;
use crate::struck;

mod google;
mod grant;

pub(crate) use grant::TokenGrant;

/// In OAuth 2: a kind of grant, what it exchanges, and what an answer may change.
const REFRESH_TOKEN: &str = "refresh_token";

/// Names what a token is asked with: the same for two destinations with the same settings, another
/// as soon as any of them changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantId([u8; 32]);

impl GrantId {
    /// Its first half in hex: a name that stays the same.
    #[must_use]
    pub fn name(&self) -> String {
        encode::hex(self.0.get(..16).unwrap_or_default())
    }
}

/// A request for a token.
pub struct TokenRequest {
    /// Method and URL, for [`RequestPlan::request_line`]: no secrets in it.
    pub plan: RequestPlan,
    pub request: FinalRequest,
}

/// The answer to it.
#[derive(Clone, Copy)]
pub struct TokenAnswer<'a> {
    pub status: u16,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    /// The one that the request was made with.
    pub refresh_token: Option<&'a Secret>,
    /// When it came.
    pub now_unix_s: u64,
}

/// What an answer gave.
#[derive(Debug, Clone)]
pub struct Token {
    pub value: Secret,
    /// From when the answer came.
    pub lifetime_s: u64,
    /// The one to refresh with from now on, where the service has changed it.
    pub refresh_token: Option<Secret>,
}

/// An answer without a token: how the jobs that need one failed, and why. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefused {
    pub failure: Failure,
    pub detail: String,
}

/// Where a destination's token comes from.
#[derive(Debug)]
pub(crate) enum TokenSource {
    /// No auth of the definition has one.
    None,
    /// The operator has set it.
    Given(Secret),
    /// Without a usable grant, programs and cases still run, but nothing can be sent.
    Fetched(Box<Result<TokenGrant, SettingProblem>>),
}

impl TokenSource {
    /// The token that needs no fetching.
    pub(crate) fn given(&self) -> Option<&Secret> {
        match self {
            Self::Given(token) => Some(token),
            Self::None | Self::Fetched(_) => None,
        }
    }
}

impl TokenGrant {
    /// `text` without any of the destination's secrets: a service may repeat what it was sent.
    fn strike(&self, text: &str, binding: &Binding, refresh_token: Option<&Secret>) -> String {
        let secrets = binding.secrets.iter().flatten().chain(refresh_token);
        let headers = self.secret_headers().flat_map(struck::header_forms);
        let mut forms: Vec<String> = secrets
            .flat_map(|secret| struck::forms(secret.reveal()))
            .chain(headers)
            .collect();
        struck::longest_first(&mut forms);
        struck::out_of(text.to_owned(), forms.iter().map(String::as_str))
    }

    /// Judges the answer to [`TokenGrant::request`].
    pub(crate) fn judge(
        &self,
        definition: &Definition,
        binding: &Binding,
        answer: TokenAnswer<'_>,
    ) -> Result<Token, TokenRefused> {
        let TokenAnswer {
            status,
            headers,
            body,
            ..
        } = answer;
        let tree: Value = serde_json::from_slice(body).unwrap_or_default();
        let refused = |failure: Failure, why: &str| {
            let said = error_text(&tree, status, body);
            let colon = if said.is_empty() { "" } else { ": " };
            let detail = format!("no token, {why}{colon}{said}");
            TokenRefused {
                failure,
                detail: self.strike(&detail, binding, answer.refresh_token),
            }
        };
        if !(200..300).contains(&status) {
            let retry_after_s = judge::retry_after_s(headers, answer.now_unix_s);
            let failure = match status {
                408 | 423 | 425 => Failure::TryAgain,
                429 => Failure::RateLimited { retry_after_s },
                400..=499 => Failure::Unauthorized,
                500..=599 => Failure::Unavailable { retry_after_s },
                _ => Failure::Redirect,
            };
            return Err(refused(failure, &format!("answer {status}")));
        }
        let found = match definition.auth.iter().find_map(AuthSpec::program) {
            Some(program) => judge::Answer::new(status, headers, body, 1)
                .resolve(definition, program)
                .and_then(|value| Some(value.to_str()?.to_owned())),
            None => string(&tree, "access_token"),
        };
        let found = found.ok_or("no text in the token's place".to_owned());
        let value = match found.and_then(usable) {
            Ok(value) => value,
            Err(problem) => {
                let why = format!("answer {status} has {problem}");
                return Err(refused(Failure::Unauthorized, &why));
            }
        };
        let lifetime_s = self.expires_s.or_else(|| seconds(tree.get("expires_in")?));
        Ok(Token {
            value: Secret::new(value),
            lifetime_s: lifetime_s
                .unwrap_or(TOKEN_LIFETIME_S_DEFAULT)
                .min(TOKEN_LIFETIME_S_MAX),
            refresh_token: string(&tree, REFRESH_TOKEN)
                .and_then(|token| usable(token).ok())
                .filter(|_| self.rotates())
                .map(Secret::new),
        })
    }
}

/// What a token endpoint says is wrong: RFC 6749's members where it has them, else, of a refusal,
/// the beginning of what it said. Nothing of an answer that may hold a token.
fn error_text(tree: &Value, status: u16, body: &[u8]) -> String {
    let said: Vec<String> = ["error", "error_description"]
        .iter()
        .filter_map(|name| string(tree, name))
        .collect();
    let holds_token = ["access_token", REFRESH_TOKEN, "id_token"]
        .iter()
        .any(|name| tree.get(name).is_some());
    let said = if !said.is_empty() || holds_token || (200..300).contains(&status) {
        said.join(": ")
    } else {
        String::from_utf8_lossy(body).trim().to_owned()
    };
    crate::error::shorten(&said, TOKEN_ERROR_BYTES_MAX).to_owned()
}

fn string(tree: &Value, name: &str) -> Option<String> {
    tree.get(name)?.as_str().map(str::to_owned)
}

/// Some services write the number as a text.
fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

/// A token that a header can hold.
fn usable(token: String) -> Result<String, String> {
    let bytes = token.len();
    if !(1..=TOKEN_BYTES_MAX).contains(&bytes) {
        let problem = format!("a token of {bytes} bytes: it may have 1 to {TOKEN_BYTES_MAX}");
        return Err(problem);
    }
    if token.chars().any(char::is_control) {
        return Err("a token with a control character in it".to_owned());
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
