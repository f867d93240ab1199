//! A signed URL: path and query, with the time among the parameters, and their HMAC as one more.

use model::Secret;

use super::HmacHash;
use crate::encode::component;
use crate::request::append_query;

/// What signs, and the names of the parameters.
#[derive(Debug)]
pub(crate) struct UrlHmac {
    pub(crate) hash: HmacHash,
    pub(crate) secret: Secret,
    /// Of the time in unix seconds; without it, none is sent.
    pub(crate) timestamp: Option<String>,
    pub(crate) signature: String,
}

impl UrlHmac {
    /// Adds both to a URL. What is signed is what is sent: it must be the last that changes it.
    pub(crate) fn sign(&self, url: &mut String, now_unix_s: u64) {
        if let Some(name) = &self.timestamp {
            append_query(url, &format!("{}={now_unix_s}", component(name)));
        }
        let signature = self
            .hash
            .hex(self.secret.reveal(), path_and_query(url).as_bytes());
        append_query(url, &format!("{}={signature}", component(&self.signature)));
    }
}

/// From the first `/` behind the host on.
fn path_and_query(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?'])
        .and_then(|at| rest.get(at..))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(timestamp: Option<&str>, url: &str) -> String {
        let mut url = url.to_owned();
        let signer = UrlHmac {
            hash: HmacHash::Sha1,
            secret: Secret::new("key"),
            timestamp: timestamp.map(str::to_owned),
            signature: "sign".to_owned(),
        };
        signer.sign(&mut url, 1_700_000_000);
        url
    }

    #[test]
    fn path_and_query_are_signed_with_the_time() {
        let made = signed(Some("time"), "https://a.example/db/batch/?x=1");
        let text = "/db/batch/?x=1&time=1700000000";
        let hmac = HmacHash::Sha1.hex("key", text.as_bytes());
        assert_eq!(made, format!("https://a.example{text}&sign={hmac}"));
        let made = signed(None, "https://a.example/db");
        let hmac = HmacHash::Sha1.hex("key", b"/db");
        assert_eq!(made, format!("https://a.example/db?sign={hmac}"));
    }
}
