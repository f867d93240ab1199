//! The egress guard: which addresses Fairlane may dial.
//!
//! A user writes a URL, a name server answers with addresses, and either may be hostile. So it is
//! never the text of a host that is judged but the [`SocketAddr`] that is about to be dialled, and
//! after connecting the peer's address once more: no spelling of `127.0.0.1`, and no name server
//! that changes its mind, can get between the judgement and the connection.
//!
//! By default only global unicast addresses may be dialled, over TLS. An operator may allow ranges
//! of his own network (`allow`), for the whole installation and never for one tenant. The
//! addresses under which clouds hand out credentials need a second flag.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use catalog::limits::is_port_allowed;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What may be dialled. [`Default`]: global addresses over TLS, nothing else.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    /// Ranges that may be dialled although they are not global, also over plain HTTP.
    pub allow: Vec<IpNet>,
    /// Ranges that may not be dialled although they are global: one's own public addresses, say.
    pub deny: Vec<IpNet>,
    /// Plain HTTP to global addresses too. Default: false.
    pub allow_http: bool,
    /// The metadata addresses of clouds may be dialled where `allow` holds them. Default: false,
    /// as whoever reaches them gets the machine's credentials.
    pub allow_metadata: bool,
    /// Certificate authorities that are trusted besides the public ones: a PEM file.
    pub extra_ca_pem: Option<PathBuf>,
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "address {0} is not public ({1}); if it is meant, add its range to `egress_allow` under [delivery]"
    )]
    NotGlobal(IpAddr, &'static str),
    #[error("address {0} hands out a cloud machine's credentials")]
    Metadata(IpAddr),
    #[error("address {0} is denied by this installation")]
    Denied(IpAddr),
    #[error("port {0} is not allowed: use 80, 443, or 1024 and above")]
    Port(u16),
    #[error(
        "plain http to {0} is not allowed: use https, or set `egress_allow_http = true` under [delivery]"
    )]
    PlainHttp(IpAddr),
}

impl EgressPolicy {
    /// Judges the address that is about to be dialled, or that was.
    ///
    /// # Errors
    /// It may not be dialled: no bytes may be exchanged with it.
    pub fn judge(&self, address: SocketAddr, tls: bool) -> Result<(), Refusal> {
        let port = address.port();
        if !is_port_allowed(port) {
            return Err(Refusal::Port(port));
        }
        // ::ffff:127.0.0.1 is 127.0.0.1.
        let ip = address.ip().to_canonical();
        if is_metadata(ip) && !self.allow_metadata {
            return Err(Refusal::Metadata(ip));
        }
        if self.deny.iter().any(|range| range.contains(&ip)) {
            return Err(Refusal::Denied(ip));
        }
        if self.allow.iter().any(|range| range.contains(&ip)) {
            return Ok(());
        }
        if let Some(kind) = not_global(ip) {
            return Err(Refusal::NotGlobal(ip, kind));
        }
        if !tls && !self.allow_http {
            return Err(Refusal::PlainHttp(ip));
        }
        Ok(())
    }
}

/// Addresses at which clouds hand out credentials or steer a machine.
fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => METADATA_V6.contains(&ip),
    }
}

const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254), // AWS, GCP, Azure and most others
    Ipv4Addr::new(169, 254, 169, 253), // AWS name server
    Ipv4Addr::new(169, 254, 170, 2),   // AWS container credentials
    Ipv4Addr::new(169, 254, 170, 23),  // AWS pod identity
    Ipv4Addr::new(168, 63, 129, 16),   // Azure WireServer: a public address
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle
];

const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS pod identity
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // GCP
];

/// What kind of address it is, where it is not plain global unicast.
fn not_global(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => NOT_GLOBAL_V4
            .iter()
            .find(|(range, _)| range.contains(&ip))
            .map(|(_, kind)| *kind),
        IpAddr::V6(ip) => {
            if let Some((_, kind)) = NOT_GLOBAL_V6.iter().find(|(range, _)| range.contains(&ip)) {
                return Some(kind);
            }
            // An ISATAP interface id carries an IPv4 address under any prefix.
            if matches!(ip.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]) {
                return Some("ISATAP");
            }
            if !GLOBAL_V6.contains(&ip) {
                return Some("not global unicast");
            }
            None
        }
    }
}

/// The only part of IPv6 that is given out as global unicast. All else is denied, also what is
/// reserved today.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// IANA's special-purpose registry, multicast and the reserved rest.
const NOT_GLOBAL_V4: [(Ipv4Net, &str); 18] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 31, 196, 0, 24), "AS112"),
    (v4(192, 52, 193, 0, 24), "AMT"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(192, 175, 48, 0, 24), "AS112"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved or broadcast"),
];

/// Ranges that carry an IPv4 address inside (and would reach it through a translator), and
/// IANA's special-purpose registry.
const NOT_GLOBAL_V6: [(Ipv6Net, &str); 14] = [
    (v6(0, 0, 0, 8), "loopback, unspecified or IPv4-compatible"),
    (v6(0x64, 0xff9b, 0, 96), "NAT64"),
    (v6(0x64, 0xff9b, 1, 48), "NAT64"),
    (v6(0x100, 0, 0, 64), "discard"),
    (v6(0x2001, 0, 0, 32), "Teredo"),
    (v6(0x2001, 0, 0, 23), "protocol assignments"),
    (v6(0x2001, 0xdb8, 0, 32), "documentation"),
    (v6(0x2002, 0, 0, 16), "6to4"),
    (v6(0x3fff, 0, 0, 20), "documentation"),
    (v6(0x5f00, 0, 0, 16), "segment routing"),
    (v6(0xfc00, 0, 0, 7), "private"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests;
