//! Names into addresses: hickory, with the machine's own configuration.
//!
//! Every lookup is bounded: in time, in how long an answer (or a "no such host") is believed, and
//! in how many addresses of it are used. An answer is never trusted to be harmless: the egress
//! guard judges each address before it is dialled.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use model::Failure;

use super::Failed;

/// Limits of name lookups.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// Name servers to ask; empty means those of `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
    /// One lookup, all retries included. Default: 5,000.
    pub timeout_ms: u64,
    /// An answer is believed at least this long, whatever its TTL says. Default: 1,000.
    pub positive_ttl_ms_min: u64,
    /// An answer is believed at most this long. Default: 300,000.
    pub positive_ttl_ms_max: u64,
    /// How long "no such host" is believed. Default: 30,000.
    pub negative_ttl_ms: u64,
    /// Addresses of one answer that are used. Default: 16.
    pub addresses_max: usize,
    /// Answers kept, per shard. Default: 1,024.
    pub answers_max: u64,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            timeout_ms: 5_000,
            positive_ttl_ms_min: 1_000,
            positive_ttl_ms_max: 300_000,
            negative_ttl_ms: 30_000,
            addresses_max: 16,
            answers_max: 1_024,
        }
    }
}

/// One shard's resolver. Lives on the shard's runtime.
pub struct Resolver {
    /// Without a usable configuration, literal addresses still work: the reason is shown on the
    /// lanes that need a name.
    inner: Result<TokioResolver, String>,
    timeout: Duration,
    addresses_max: usize,
}

impl Resolver {
    #[must_use]
    pub fn new(options: &ResolverOptions) -> Self {
        Self {
            inner: build(options).map_err(|error| error.to_string()),
            timeout: Duration::from_millis(options.timeout_ms),
            addresses_max: options.addresses_max,
        }
    }

    /// The addresses of `host`, IPv6 and IPv4 in turn, at most `addresses_max`, at least one.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Failure::NoSuchHost`] where the name has no address, [`Failure::Dns`] where that could
    /// not be learned just now.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Failed> {
        let resolver = self.inner.as_ref().map_err(|reason| {
            let detail = format!("no name server is configured on this machine: {reason}");
            Failed::new(Failure::Dns, detail)
        })?;
        match tokio::time::timeout(self.timeout, resolver.lookup_ip(host)).await {
            Err(_) => {
                let waited = self.timeout.as_millis();
                let detail = format!("name {host:?} was not answered within {waited} ms");
                Err(Failed::new(Failure::Dns, detail))
            }
            Ok(Err(error)) => {
                let class = class(&error);
                let detail = match class {
                    Failure::NoSuchHost => format!("there is no host {host:?}"),
                    _ => format!("name {host:?}: {error}"),
                };
                Err(Failed::new(class, detail))
            }
            Ok(Ok(answer)) => {
                let addresses = interleave(answer.iter(), self.addresses_max);
                if addresses.is_empty() {
                    let detail = format!("name {host:?} has no address");
                    return Err(Failed::new(Failure::Dns, detail));
                }
                Ok(addresses)
            }
        }
    }
}

fn build(options: &ResolverOptions) -> Result<TokioResolver, NetError> {
    let mut builder = if options.name_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = options.name_servers.iter().map(|address| {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![
                at_port(ConnectionConfig::udp()),
                at_port(ConnectionConfig::tcp()),
            ];
            NameServerConfig::new(address.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    bound(builder.options_mut(), options);
    builder.build()
}

fn bound(opts: &mut ResolverOpts, options: &ResolverOptions) {
    opts.timeout = Duration::from_millis(options.timeout_ms / 2);
    opts.attempts = 2;
    opts.cache_size = options.answers_max;
    opts.use_hosts_file = ResolveHosts::Always;
    opts.positive_min_ttl = Some(Duration::from_millis(options.positive_ttl_ms_min));
    opts.positive_max_ttl = Some(Duration::from_millis(options.positive_ttl_ms_max));
    opts.negative_min_ttl = Some(Duration::from_millis(options.negative_ttl_ms));
    opts.negative_max_ttl = Some(Duration::from_millis(options.negative_ttl_ms));
}

fn class(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if none.response_code == ResponseCode::NXDomain =>
        {
            Failure::NoSuchHost
        }
        // An empty answer is none of that: it may be the one of two questions that was answered.
        _ => Failure::Dns,
    }
}

/// IPv6 and IPv4 in turn, so that a machine without one of them loses one try and not all.
fn interleave(addresses: impl Iterator<Item = IpAddr>, max: usize) -> Vec<IpAddr> {
    let (mut v6, mut v4) = (Vec::new(), Vec::new());
    // An answer may hold a thousand addresses: look at no more than could be used.
    for address in addresses.take(max.saturating_mul(4)) {
        if address.is_ipv6() {
            v6.push(address)
        } else {
            v4.push(address)
        }
    }
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut mixed = Vec::with_capacity(max);
    while mixed.len() < max {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            break;
        }
        mixed.extend(pair.into_iter().flatten());
    }
    mixed.truncate(max);
    mixed
}

#[cfg(test)]
pub(crate) mod tests;
