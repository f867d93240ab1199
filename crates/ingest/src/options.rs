//! Every limit of ingest, named, with its default.

use crate::Error;

/// What an operator may set. All limits are hard: beyond one, a request is refused, a connection
/// closed or an event discarded, always counted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that serve connections, each with a runtime of its own. Default: 2. Minimum: 1.
    pub threads: usize,
    /// Open connections in all; further ones are closed at once. Default: 4,096.
    pub connections_max: usize,
    /// Open connections of one address (IPv6: of one /64). Not applied behind a trusted proxy,
    /// which is one address for everybody. Default: 256.
    pub connections_per_ip_max: usize,
    /// Headers of one request; more are answered 431. Default: 100.
    pub headers_max: usize,
    /// Bytes of request line and headers; more are answered 431. Default: 32 KiB.
    pub header_bytes_max: usize,
    /// From a request's first byte to the end of its headers; then the connection is closed.
    /// Default: 10 s.
    pub header_timeout_ms: u64,
    /// How long a connection may stay open without a request. Default: 75 s.
    pub idle_timeout_ms: u64,
    /// From the end of the headers to the end of the body; then the connection is closed.
    /// Default: 30 s.
    pub body_timeout_ms: u64,
    /// How long a body may be slower than `body_rate_min_bytes_per_s`. Default: 5 s.
    pub body_grace_ms: u64,
    /// Slowest body, on average. Default: 1 KiB/s.
    pub body_rate_min_bytes_per_s: u64,
    /// Largest body, both as sent and decompressed; larger ones are answered 413. Default: 512 KiB.
    pub body_bytes_max: usize,
    /// How many times larger than what was sent a decompressed body may be. Default: 100.
    pub inflate_ratio_max: usize,
    /// Most that one request may put into the log after batch-level `context` and `integrations`
    /// were merged into each of its events: 500 KB in must not become gigabytes. Default: 4 MiB.
    pub merged_bytes_max: usize,
    /// Bytes of bodies received and not yet answered; beyond, 503. Default: 64 MiB.
    pub bytes_in_flight_max: usize,
    /// Keys of one JSON object. Default: 1,000.
    pub json_keys_max: usize,
    /// Requests a second of a source that has no limit of its own. Default: none.
    pub source_rate_limit_per_s: Option<u32>,
    /// Requests a second of one client address (IPv6: /64). Default: none.
    pub ip_rate_limit_per_s: Option<u32>,
    /// For how long a message id is remembered at least (at most twice as long), as far as
    /// `dedup_entries_max` allows. Default: 24 h.
    pub dedup_window_ms: u64,
    /// Message ids remembered at most; about 10 bytes each. Default: 3,670,016 (about 38 MB).
    pub dedup_entries_max: usize,
    /// When commits keep waiting longer than this, beside the time that the disk takes for two
    /// of them, requests are shed. Default: 100 ms.
    pub commit_wait_target_ms: u64,
    /// How long "keep" is. Default: 500 ms.
    pub commit_wait_interval_ms: u64,
    /// How many proxies in front are trusted to append to `X-Forwarded-For`: the client is that
    /// many entries from its end. 0: the header is ignored. Default: 0.
    pub trusted_proxies: usize,
    /// `host[:port]` that browsers are told to send to; `None`: the `Host` they asked.
    /// Default: none.
    pub public_host: Option<String>,
    /// Called on each of this part's threads several times a second: what one thread freed of
    /// another's memory only that one can give back. Default: nothing.
    pub on_tick: fn(),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 2,
            connections_max: 4_096,
            connections_per_ip_max: 256,
            headers_max: HEADERS_MAX_DEFAULT,
            header_bytes_max: 32 * 1024,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            body_timeout_ms: 30_000,
            body_grace_ms: 5_000,
            body_rate_min_bytes_per_s: 1_024,
            body_bytes_max: 512 * 1024,
            inflate_ratio_max: 100,
            merged_bytes_max: 4 * 1024 * 1024,
            bytes_in_flight_max: 64 * 1024 * 1024,
            json_keys_max: 1_000,
            source_rate_limit_per_s: None,
            ip_rate_limit_per_s: None,
            dedup_window_ms: 24 * 3_600_000,
            // 64 shards of two generations, each table exactly full at 7/8 of 32,768 places.
            dedup_entries_max: 64 * 2 * 28_672,
            commit_wait_target_ms: 100,
            commit_wait_interval_ms: 500,
            trusted_proxies: 0,
            public_host: None,
            on_tick: || {},
        }
    }
}

/// hyper keeps this many headers on its stack; any other number costs an allocation a request.
pub(crate) const HEADERS_MAX_DEFAULT: usize = 100;

impl Options {
    /// # Errors
    /// [`Error::Option`] names the setting that cannot work, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let at_least_one: [(&'static str, usize); 8] = [
            ("threads", self.threads),
            ("connections_max", self.connections_max),
            ("connections_per_ip_max", self.connections_per_ip_max),
            ("headers_max", self.headers_max),
            ("inflate_ratio_max", self.inflate_ratio_max),
            ("json_keys_max", self.json_keys_max),
            ("body_bytes_max", self.body_bytes_max),
            ("dedup_entries_max", self.dedup_entries_max),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(Error::Option {
                    name,
                    value,
                    must: "be at least 1",
                });
            }
        }
        if self.header_bytes_max < 1_024 {
            let value = self.header_bytes_max;
            return Err(Error::Option {
                name: "header_bytes_max",
                value,
                must: "be at least 1024",
            });
        }
        if self.bytes_in_flight_max < self.body_bytes_max {
            let value = self.bytes_in_flight_max;
            let must = "be at least body_bytes_max";
            return Err(Error::Option {
                name: "bytes_in_flight_max",
                value,
                must,
            });
        }
        if self.merged_bytes_max < 2 * model::limits::RECORD_BYTES_MAX {
            let value = self.merged_bytes_max;
            let must = "be at least twice the largest record (262144)";
            return Err(Error::Option {
                name: "merged_bytes_max",
                value,
                must,
            });
        }
        Ok(())
    }
}
