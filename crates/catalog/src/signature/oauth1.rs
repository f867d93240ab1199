//! OAuth 1.0a: a request signed with HMAC-SHA1 (RFC 5849).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use ring::hmac;

use super::sha256_hex;
use crate::encode::component;

/// Who signs, and for whom.
#[derive(Debug)]
pub(crate) struct OAuth1 {
    pub(crate) consumer_key: String,
    pub(crate) consumer_secret: Secret,
    pub(crate) token: String,
    pub(crate) token_secret: Secret,
}

/// What is signed of a request.
#[derive(Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// The body, where it is a form; empty otherwise.
    pub(crate) form: &'a str,
}

impl OAuth1 {
    /// The value of the `authorization` header. `id` and `body` make the nonce, which must be another
    /// for every request of one second: what is sent is all that tells them apart, and a repetition
    /// within the second is the only one that is refused.
    pub(crate) fn sign(
        &self,
        request: Signed<'_>,
        id: &str,
        body: &[u8],
        now_unix_s: u64,
    ) -> String {
        let url = request.url;
        let nonce = sha256_hex(format!("{id}\n{url}\n{}", sha256_hex(body)).as_bytes());
        let nonce = nonce.get(..32).unwrap_or_default();
        let time = now_unix_s.to_string();
        let mut parameters = vec![
            ("oauth_consumer_key", self.consumer_key.as_str()),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &time),
            ("oauth_token", &self.token),
            ("oauth_version", "1.0"),
        ];
        let signature = self.signature(request, &parameters);
        parameters.insert(2, ("oauth_signature", &signature));
        let written = parameters
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", component(value)));
        format!("OAuth {}", written.collect::<Vec<_>>().join(", "))
    }

    fn signature(&self, request: Signed<'_>, oauth: &[(&str, &str)]) -> String {
        let key = format!(
            "{}&{}",
            component(self.consumer_secret.reveal()),
            component(self.token_secret.reveal())
        );
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let text = base_string(request, oauth);
        STANDARD.encode(hmac::sign(&key, text.as_bytes()))
    }
}

/// Method, URL and all parameters (section 3.4.1).
fn base_string(request: Signed<'_>, oauth: &[(&str, &str)]) -> String {
    let (place, query) = match request.url.split_once('?') {
        Some((place, query)) => (place, query.split('#').next().unwrap_or_default()),
        None => (request.url, ""),
    };
    let given = url::form_urlencoded::parse(query.as_bytes())
        .chain(url::form_urlencoded::parse(request.form.as_bytes()));
    let mut pairs: Vec<(String, String)> = given
        .map(|(name, value)| (component(&name), component(&value)))
        .chain(
            oauth
                .iter()
                .map(|(name, value)| (component(name), component(value))),
        )
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // A URL that was checked has a host in lower case, and no standard port.
    format!(
        "{}&{}&{}",
        request.method.to_ascii_uppercase(),
        component(place),
        component(&pairs.join("&"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_string_of_rfc_5849() {
        let request = Signed {
            method: "POST",
            url: "http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b",
            form: "c2&a3=2+q",
        };
        let oauth = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ];
        assert_eq!(
            base_string(request, &oauth),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D\
             %253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce\
             %3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201\
             %26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    #[test]
    fn the_signature_of_rfc_5849() {
        let photos = OAuth1 {
            consumer_key: "dpf43f3p2l4k3l03".to_owned(),
            consumer_secret: Secret::new("kd94hf93k423kf44"),
            token: "nnch734d00sl2jdk".to_owned(),
            token_secret: Secret::new("pfkkdhi9sl3r4s00"),
        };
        let request = Signed {
            method: "GET",
            url: "http://photos.example.net/photos?file=vacation.jpg&size=original",
            form: "",
        };
        let oauth = [
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ];
        assert_eq!(
            photos.signature(request, &oauth),
            "MdpQcU8iPSUjWoN/UDMsK2sui9I="
        );
        let (first, again) = (
            photos.sign(request, "m-1", b"", 137_131_202),
            photos.sign(request, "m-2", b"", 137_131_202),
        );
        assert!(first.starts_with("OAuth oauth_consumer_key=\"dpf43f3p2l4k3l03\", oauth_nonce=\""));
        assert_ne!(first, again, "each has a nonce of its own");
    }
}
