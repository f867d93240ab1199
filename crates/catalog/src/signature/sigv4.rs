//! AWS Signature Version 4, as headers
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use chrono::{DateTime, Utc};
use model::Secret;
use percent_encoding::percent_decode_str;
use ring::hmac;

use super::sha256_hex;
use crate::encode::{component, hex};

/// Whose signature it is, and for what.
#[derive(Debug)]
pub(crate) struct SigV4 {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    /// Of temporary credentials.
    pub(crate) session_token: Option<Secret>,
    pub(crate) region: String,
    pub(crate) service: String,
}

impl SigV4 {
    /// The headers that sign a request. `headers` are all that it has but `host`, with lower-case
    /// names; each of them is signed.
    pub(crate) fn sign(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
        now_unix_s: u64,
    ) -> Vec<(String, String)> {
        let time = i64::try_from(now_unix_s).unwrap_or_default();
        let time: DateTime<Utc> = DateTime::from_timestamp(time, 0).unwrap_or_default();
        let stamp = time.format("%Y%m%dT%H%M%SZ").to_string();
        let day = time.format("%Y%m%d").to_string();
        let hash = sha256_hex(body);
        let (authority, path, query) = split(url);

        let mut added = vec![("x-amz-date".to_owned(), stamp.clone())];
        if self.service == "s3" {
            added.push(("x-amz-content-sha256".to_owned(), hash.clone()));
        }
        if let Some(token) = &self.session_token {
            added.push(("x-amz-security-token".to_owned(), token.reveal().to_owned()));
        }
        let host = [("host".to_owned(), authority.to_owned())];
        let signed = headers.iter().chain(&added).chain(&host);
        let (lines, names) = canonical_headers(signed);
        let request = [
            method,
            &self.canonical_path(path),
            &canonical_query(query),
            &lines,
            &names,
            &hash,
        ]
        .join("\n");
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            sha256_hex(request.as_bytes())
        );
        let signature = hex(self.key(&day).sign_text(&text).as_ref());
        let id = &self.access_key_id;
        added.push((
            "authorization".to_owned(),
            format!(
                "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, \
                 Signature={signature}"
            ),
        ));
        added
    }

    /// The key of one day, region and service.
    fn key(&self, day: &str) -> Chain {
        let secret = format!("AWS4{}", self.secret_access_key.reveal());
        Chain::of(secret.as_bytes())
            .then(day)
            .then(&self.region)
            .then(&self.service)
            .then("aws4_request")
    }

    /// Every service but S3 encodes the path as it is sent once more, without empty segments.
    fn canonical_path(&self, path: &str) -> String {
        if self.service == "s3" && !path.is_empty() {
            return path.to_owned();
        }
        let mut canonical = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            canonical.push('/');
            canonical.push_str(&component(segment));
        }
        if canonical.is_empty() || path.ends_with('/') {
            canonical.push('/');
        }
        canonical
    }
}

/// A key that is made of another's signature.
struct Chain(hmac::Key);

impl Chain {
    fn of(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn then(&self, text: &str) -> Self {
        Self::of(self.sign_text(text).as_ref())
    }

    fn sign_text(&self, text: &str) -> hmac::Tag {
        hmac::sign(&self.0, text.as_bytes())
    }
}

/// Authority, path and query of a URL, as they go over the wire.
fn split(url: &str) -> (&str, &str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let at = place.find('/').unwrap_or(place.len());
    let (authority, path) = place.split_at(at);
    (authority, path, query)
}

/// By name, then by value, each percent-encoded the one way.
fn canonical_query(query: &str) -> String {
    let plain = |text: &str| component(&percent_decode_str(text).decode_utf8_lossy());
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (plain(name), plain(value))
        })
        .collect();
    pairs.sort_unstable();
    let joined = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    joined.collect::<Vec<_>>().join("&")
}

/// The headers' lines, each with its line break, and their names.
fn canonical_headers<'a>(headers: impl Iterator<Item = &'a (String, String)>) -> (String, String) {
    let mut sorted: Vec<(&str, String)> = headers
        .map(|(name, value)| {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            (name.as_str(), words.join(" "))
        })
        .collect();
    // Values of one name stay in their order.
    sorted.sort_by_key(|(name, _)| *name);
    let mut merged: Vec<(&str, String)> = Vec::with_capacity(sorted.len());
    for (name, value) in sorted {
        match merged.last_mut() {
            Some((last, values)) if *last == name => {
                values.push(',');
                values.push_str(&value);
            }
            _ => merged.push((name, value)),
        }
    }
    let lines = merged
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"));
    let names: Vec<&str> = merged.iter().map(|(name, _)| *name).collect();
    (lines.collect(), names.join(";"))
}

#[cfg(test)]
mod tests;
