//! What an attempt asks a transformer besides its requests: tokens, and answers to look-ups that are
//! known.

use std::time::Instant;

use model::{Failure, Secret};

use super::{StepResponse, Transformer};
use crate::judge;
use crate::look_up::LookUpKey;
use crate::marks;
use crate::request::RequestPlan;
use crate::token::{
    GrantId, Token, TokenAnswer, TokenGrant, TokenRefused, TokenRequest, TokenSource,
};

impl Transformer {
    /// Whether the request needs a token that must be fetched.
    #[must_use]
    pub fn needs_token(&self, request: &RequestPlan) -> bool {
        let in_text = |text: &str| marks::indexes(text).contains(&marks::TOKEN);
        matches!(self.binding.token, TokenSource::Fetched(_))
            && (request.auth || request.texts().any(in_text))
    }

    /// Names what the token is asked with.
    ///
    /// # Errors
    /// There is nothing to ask with: what the operator must set.
    pub fn grant(&self) -> Result<GrantId, String> {
        self.token_grant().map(|grant| grant.id)
    }

    /// Whether an answer may bring another refresh token, which must then be kept.
    #[must_use]
    pub fn token_rotates(&self) -> bool {
        self.token_grant().is_ok_and(TokenGrant::rotates)
    }

    /// The request for a token. `refresh_token`: the one that the service gave last, if it gave one.
    ///
    /// # Errors
    /// As [`Transformer::grant`].
    pub fn token_request(
        &self,
        refresh_token: Option<&Secret>,
        now_unix_s: u64,
    ) -> Result<TokenRequest, String> {
        self.token_grant()?
            .request(&self.binding, refresh_token, now_unix_s)
    }

    /// Judges the answer to it.
    ///
    /// # Errors
    /// There is no token in it.
    pub fn judge_token(&self, answer: TokenAnswer<'_>) -> Result<Token, TokenRefused> {
        let grant = self.token_grant().map_err(|detail| TokenRefused {
            failure: Failure::Unauthorized,
            detail,
        })?;
        grant.judge(&self.definition, &self.binding, answer)
    }

    fn token_grant(&self) -> Result<&TokenGrant, String> {
        match &self.binding.token {
            TokenSource::Fetched(grant) => grant.as_ref().as_ref().map_err(ToString::to_string),
            TokenSource::None | TokenSource::Given(_) => Err("no token is fetched".to_owned()),
        }
    }

    /// The answer to a look-up that was kept, while it may be used.
    pub fn known(&mut self, key: &LookUpKey, now: Instant) -> Option<StepResponse> {
        self.look_ups.get(key, now)
    }

    /// Keeps the answer to a look-up, if it is one that the definition lets be kept.
    pub fn keep(&mut self, key: LookUpKey, answer: &StepResponse, now: Instant) {
        let (headers, body) = (&answer.headers, &answer.body);
        let keeps = match &self.definition.cache_when {
            Some(when) => {
                judge::Answer::new(answer.status, headers, body, 1).holds(&self.definition, when)
            }
            None => (200..300).contains(&answer.status),
        };
        if keeps {
            self.look_ups.put(key, answer, now);
        }
    }

    /// Forgets an answer that may have been wrong.
    pub fn forget(&mut self, key: &LookUpKey) {
        self.look_ups.remove(key);
    }
}
