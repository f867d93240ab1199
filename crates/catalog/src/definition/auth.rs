//! `[auth]` as a definition says it: kinds, with templates in place of an operator's values.

use serde_json::Value;

use crate::program::Source;
use crate::signature::HmacHash;
use crate::template::Template;

/// One auth kind.
#[derive(Debug)]
pub(crate) enum AuthSpec {
    Bearer {
        token: Template,
    },
    Basic {
        user: Template,
        password: Template,
    },
    /// The prefix, then the value: as it is, or in base64.
    Header {
        name: String,
        value: Template,
        prefix: String,
        base64: bool,
    },
    Query {
        name: String,
        value: Template,
    },
    StandardWebhooks {
        secret: Template,
    },
    HmacSha1Hex {
        header: String,
        secret: Template,
    },
    HmacSha256Hex {
        header: String,
        secret: Template,
        prefix: String,
    },
    UrlHmac {
        hash: HmacHash,
        secret: Template,
        timestamp: Option<String>,
        signature: String,
    },
    OAuth1(OAuth1Spec),
    AwsSigV4(SigV4Spec),
    /// At most one of a definition.
    Token(Box<TokenSpec>),
}

impl AuthSpec {
    pub(crate) fn token(&self) -> Option<&TokenSpec> {
        match self {
            Self::Token(spec) => Some(spec),
            _ => None,
        }
    }

    /// The program that finds the token in the answer to a log-in.
    pub(crate) fn program(&self) -> Option<&Source> {
        match &self.token()?.grant {
            Grant::Session { token, .. } => Some(token),
            Grant::OAuth2 { .. } | Grant::GoogleServiceAccount { .. } => None,
        }
    }
}

/// Whose AWS signature it is, and for what.
#[derive(Debug)]
pub(crate) struct SigV4Spec {
    pub(crate) access_key_id: Template,
    pub(crate) secret_access_key: Template,
    pub(crate) session_token: Option<Template>,
    pub(crate) region: Template,
    pub(crate) service: Template,
}

/// Who signs by OAuth 1.0a, and for whom.
#[derive(Debug)]
pub(crate) struct OAuth1Spec {
    pub(crate) consumer_key: Template,
    pub(crate) consumer_secret: Template,
    pub(crate) token: Template,
    pub(crate) token_secret: Template,
}

/// A token that one request gets and many use.
#[derive(Debug)]
pub(crate) struct TokenSpec {
    /// Where nothing is set that a token is got with, none is needed.
    pub(crate) optional: bool,
    /// Where it is set, nothing is fetched.
    pub(crate) access_token: Option<Template>,
    pub(crate) place: TokenPlace,
    pub(crate) grant: Grant,
}

/// Where a token goes in each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenPlace {
    Header { name: String, prefix: String },
    Query { name: String },
}

/// How a token is asked for.
#[derive(Debug)]
pub(crate) enum Grant {
    OAuth2 {
        token_url: Template,
        client_id: Template,
        client_secret: Option<Template>,
        /// Without it: client credentials.
        refresh_token: Option<Template>,
        scope: Option<Template>,
        /// What a service wants besides.
        params: Vec<(String, Template)>,
        /// The client's id and secret go into a header, not into the body.
        basic: bool,
    },
    Session {
        method: String,
        url: Template,
        headers: Vec<(String, Template)>,
        body: LoginBody,
        /// The token of an answer.
        token: Source,
        expires_s: u64,
    },
    GoogleServiceAccount {
        credentials: Template,
        scope: String,
    },
}

/// What a log-in sends.
#[derive(Debug)]
pub(crate) enum LoginBody {
    None,
    Form(Vec<(String, Template)>),
    /// Its strings are templates.
    Json(Value),
}
