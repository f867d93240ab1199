//! What a request's headers say of its sender: the write key and the address.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Standard alphabet, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The write key in `Authorization`: the user name of Basic, or a Bearer token, which may be a
/// write key itself. `None` where the header is absent or says nothing that could be one.
pub(crate) fn header_key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut decoded = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
    // Some clients leave the colon out.
    if let Some(colon) = decoded.find(':') {
        decoded.truncate(colon);
    }
    (!decoded.is_empty()).then_some(decoded)
}

/// The client's address: the peer, or what the outermost of `trusted_proxies` saw.
///
/// Every proxy appends the address that it was called from, so only the last `trusted_proxies`
/// entries of `X-Forwarded-For` were written by somebody we trust.
pub(crate) fn client_ip(peer: SocketAddr, headers: &HeaderMap, trusted_proxies: usize) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if trusted_proxies == 0 {
        return peer;
    }
    let mut entries: Vec<&str> = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        entries.extend(value.to_str().unwrap_or_default().split(','));
    }
    let entry = entries
        .len()
        .checked_sub(trusted_proxies)
        .and_then(|index| entries.get(index));
    entry.and_then(|text| parse_ip(text.trim())).unwrap_or(peer)
}

/// An address, also as `1.2.3.4:567` and `[::1]:567`.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|with| with.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
