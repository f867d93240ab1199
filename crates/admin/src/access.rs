//! Who may use the management API.
//!
//! - With a token: whoever sends it.
//! - Without one: only peers on this machine, and only under a name of this machine. The latter
//!   stops a web page whose own host name was made to resolve to 127.0.0.1 (DNS rebinding): its
//!   requests come from this machine, but carry the page's host.
//! - Writes are refused when a browser says that another site asks for them.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header};
use model::Secret;
use ring::digest::{Digest, SHA256, digest};

use crate::{Error, Refusal};

/// Shorter tokens can be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

/// Whether a route asks who is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// For probes: tells nothing but whether the process lives.
    Open,
    Guarded,
}

/// The rule in force.
pub struct Guard {
    /// The token's hash. Comparing hashes takes the same time wherever the tokens differ as far as
    /// a guesser can tell: who does not know the token cannot choose how its hash begins.
    token: Option<Digest>,
}

impl Guard {
    /// # Errors
    /// The token is too short, or `listening_on` lets other machines in without a token.
    pub fn new(token: Option<&Secret>, listening_on: SocketAddr) -> Result<Self, Error> {
        match token {
            Some(token) if token.reveal().len() < TOKEN_BYTES_MIN => Err(Error::WeakToken {
                min: TOKEN_BYTES_MIN,
            }),
            None if !is_loopback(listening_on.ip()) => Err(Error::OpenToTheNetwork(listening_on)),
            token => Ok(Self {
                token: token.map(|text| digest(&SHA256, text.reveal().as_bytes())),
            }),
        }
    }

    /// # Errors
    /// The answer for a peer that may not.
    pub fn check(
        &self,
        access: Access,
        peer: IpAddr,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if access == Access::Open {
            return Ok(());
        }
        match &self.token {
            Some(token) => check_token(token, headers)?,
            None => check_local(peer, headers)?,
        }
        if method == Method::GET || method == Method::HEAD {
            return Ok(());
        }
        check_same_site(headers)
    }
}

fn check_token(token: &Digest, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
    });
    let refuse = |code, message: &str| Err(Refusal::new(StatusCode::UNAUTHORIZED, code, message));
    match given {
        None => refuse(
            "token_missing",
            "send the header `Authorization: Bearer <admin_token>` (admin_token of [server] in \
             fairlane.toml)",
        ),
        Some(given) if digest(&SHA256, given).as_ref() != token.as_ref() => refuse(
            "token_wrong",
            "this is not the admin_token of [server] in fairlane.toml; a write key is no token",
        ),
        Some(_) => Ok(()),
    }
}

fn check_local(peer: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(StatusCode::FORBIDDEN, code, message));
    if !is_loopback(peer) {
        return refuse(
            "not_local",
            "without a token only this machine is served: set admin_token under [server]",
        );
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !is_local_name(host) {
        return refuse(
            "wrong_host",
            "without a token only requests to localhost or 127.0.0.1 are served: use one of them, \
             or set admin_token under [server]",
        );
    }
    Ok(())
}

/// A browser sends `Sec-Fetch-Site` or, if it is old, at least `Origin`; other clients send
/// neither.
fn check_same_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &header::HeaderValue| value.to_str())
    };
    let same_site = match text("sec-fetch-site") {
        None => true,
        Some(site) => matches!(site, Ok("same-origin" | "none")),
    };
    let same_origin = match (text("origin"), text("host")) {
        (None, _) => true,
        (Some(Ok(origin)), Some(Ok(host))) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority == host),
        _ => false,
    };
    if same_site && same_origin {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "another site's page may not change anything here: use the command line or curl",
    ))
}

fn is_local_name(host: &str) -> bool {
    // The `url` crate reads authorities as browsers do, so that no spelling means one thing to a
    // browser and another to us.
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    if !url.username().is_empty() || url.password().is_some() || url.path() != "/" {
        return false;
    }
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => is_loopback(address.into()),
        Some(url::Host::Ipv6(address)) => is_loopback(address.into()),
        None => false,
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
