//! A Google service account: its key file, and the signed claim that it asks for tokens with
//! (RFC 7523; <https://developers.google.com/identity/protocols/oauth2/service-account>).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;
use serde_json::json;

/// How long a claim holds: the longest that Google takes.
const CLAIM_S: u64 = 3_600;

/// What counts of a key file.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    #[serde(default = "token_uri")]
    token_uri: String,
}

fn token_uri() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

pub(super) struct ServiceAccount {
    file: KeyFile,
    key: KeyPair,
    scope: String,
}

impl ServiceAccount {
    /// # Errors
    /// What is wrong with the key file.
    pub(super) fn parse(text: &str, scope: &str) -> Result<Self, String> {
        let file: KeyFile = serde_json::from_str(text).map_err(|problem| {
            // The position is enough: the problem's own text may show a part of the file.
            format!(
                "the credentials are no JSON key file of a service account (line {}, column {}): \
                 paste the whole file",
                problem.line(),
                problem.column()
            )
        })?;
        let key = private_key(&file.private_key)?;
        Ok(Self {
            file,
            key,
            scope: scope.to_owned(),
        })
    }

    pub(super) fn token_uri(&self) -> &str {
        &self.file.token_uri
    }

    /// What tells one account and scope from another.
    pub(super) fn feed(&self, mut feed: impl FnMut(&str)) {
        feed(&self.file.client_email);
        feed(&self.file.private_key);
        feed(&self.scope);
    }

    pub(super) fn form(&self, now_unix_s: u64) -> Result<Vec<(String, String)>, String> {
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        Ok(vec![
            ("grant_type".to_owned(), grant.to_owned()),
            ("assertion".to_owned(), self.assertion(now_unix_s)?),
        ])
    }

    /// A JSON Web Token, signed with RS256.
    fn assertion(&self, now_unix_s: u64) -> Result<String, String> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(header)) = (&self.file.private_key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = json!({
            "iss": self.file.client_email,
            "scope": self.scope,
            "aud": self.file.token_uri,
            "iat": now_unix_s,
            "exp": now_unix_s.saturating_add(CLAIM_S),
        });
        let part = |tree: &serde_json::Value| URL_SAFE_NO_PAD.encode(tree.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        // The randomness only hides the key from who measures time: the signature has none in it.
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "the service account's key does not sign".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The key in a PKCS #8 PEM file.
fn private_key(pem: &str) -> Result<KeyPair, String> {
    let wrong = || {
        "private_key of the credentials is no RSA key in PKCS #8 PEM (BEGIN PRIVATE KEY): paste the \
         whole key file"
            .to_owned()
    };
    let encoded = pem
        .split_once("-----BEGIN PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
        .map(|(inside, _)| inside.split_ascii_whitespace().collect::<String>())
        .ok_or_else(wrong)?;
    let der = STANDARD.decode(encoded).map_err(|_| wrong())?;
    KeyPair::from_pkcs8(&der).map_err(|_| wrong())
}
