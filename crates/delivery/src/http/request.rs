//! A request as hyper wants it, made of the strings that a definition produced.
//!
//! Everything here is untrusted: an event's data may have reached the URL and the headers. What
//! is not a plain request is refused, never repaired.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;
use url::Host;

/// Why a request cannot be sent: it is the definition's or the event's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("the url of the request is not valid: {0}")]
    Url(String),
    #[error("the url of the request must begin with https:// or http://")]
    Scheme,
    #[error("the url of the request must not hold a user name or password")]
    UserInfo,
    #[error("the method of the request is not valid")]
    Method,
    #[error("header {0:?} of the request is not valid")]
    Header(String),
    #[error("header {0:?} of the request is set by fairlane alone")]
    OwnHeader(String),
}

/// Where a request goes, as it was written. Two spellings of one place are two places: that costs
/// a connection and can never mix up two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub tls: bool,
    /// `host` or `host:port` as written in the URL.
    pub authority: http::uri::Authority,
}

impl Place {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority
            .port_u16()
            .unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The host in its one canonical form: `0x7f.1` is the address 127.0.0.1.
    ///
    /// # Errors
    /// It is neither a name nor an address.
    pub fn host(&self) -> Result<Host, BadRequest> {
        Host::parse(self.authority.host()).map_err(|error| BadRequest::Url(error.to_string()))
    }
}

/// The address that a host literally is, if it is no name.
#[must_use]
pub fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ipv4(ip) => Some(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => Some(IpAddr::V6(*ip)),
        Host::Domain(_) => None,
    }
}

/// A request ready to be sent to a [`Place`].
pub struct Prepared {
    pub place: Place,
    pub request: Request<Full<Bytes>>,
}

/// Makes a request of what a definition produced.
///
/// # Errors
/// It is no request that may be sent.
pub fn prepare(
    method: &str,
    url: String,
    headers: Vec<(String, String)>,
    body: Bytes,
) -> Result<Prepared, BadRequest> {
    let uri = parse_url(url)?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(BadRequest::Scheme),
    };
    let parts = uri.into_parts();
    let authority = parts
        .authority
        .ok_or_else(|| BadRequest::Url("it has no host".to_owned()))?;
    if authority.as_str().contains('@') {
        return Err(BadRequest::UserInfo);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadRequest::Method)?;
    if method == Method::CONNECT {
        return Err(BadRequest::Method);
    }
    let is_bare = body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&method);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = match parts.path_and_query {
        Some(path) => Uri::from(path),
        None => Uri::from_static("/"),
    };
    place_headers(request.headers_mut(), &authority, headers)?;
    if is_bare {
        // Some servers answer 411 to one that does not say that nothing follows.
        let nothing = HeaderValue::from_static("0");
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, nothing);
    }
    Ok(Prepared {
        place: Place { tls, authority },
        request,
    })
}

/// The common URL is parsed without copying; what that strict parser refuses (a name in another
/// script, say) is brought into its canonical form first.
fn parse_url(url: String) -> Result<Uri, BadRequest> {
    let shared = Bytes::from(url);
    if let Ok(uri) = Uri::from_maybe_shared(shared.clone()) {
        return Ok(uri);
    }
    let text = std::str::from_utf8(&shared).map_err(|_| BadRequest::Url("not text".to_owned()))?;
    let canonical = url::Url::parse(text).map_err(|error| BadRequest::Url(error.to_string()))?;
    Uri::try_from(canonical.as_str()).map_err(|error| BadRequest::Url(error.to_string()))
}

fn place_headers(
    map: &mut HeaderMap,
    authority: &http::uri::Authority,
    headers: Vec<(String, String)>,
) -> Result<(), BadRequest> {
    map.reserve(headers.len() + 2);
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| BadRequest::Url("its host is no header".to_owned()))?;
    map.insert(header::HOST, host);
    for (name, value) in headers {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(BadRequest::Header(name));
        };
        if is_own(&header) {
            return Err(BadRequest::OwnHeader(name));
        }
        // Refuses CR, LF and NUL: event data cannot add a header or end the head.
        let value = HeaderValue::try_from(value).map_err(|_| BadRequest::Header(name))?;
        map.append(header, value);
    }
    if !map.contains_key(header::USER_AGENT) {
        map.insert(header::USER_AGENT, HeaderValue::from_static("Fairlane"));
    }
    Ok(())
}

/// Headers that frame the message or steer the connection: one of these from outside would be
/// request smuggling.
fn is_own(name: &HeaderName) -> bool {
    const OWN: [HeaderName; 9] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::EXPECT,
        header::TE,
        header::TRAILER,
        header::PROXY_AUTHORIZATION,
    ];
    OWN.contains(name)
}

#[cfg(test)]
mod tests;
