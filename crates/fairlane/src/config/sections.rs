//! The sections that stand once: their fields, their defaults, and what must hold between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use delivery::Queues;
use ipnet::IpNet;
use model::{Policy, Secret};

use super::reader::Section;

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSection {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub admin_token: Option<Secret>,
    pub data_dir: PathBuf,
    /// `None`: by the number of cores.
    pub threads: Option<u64>,
    /// `None`: by the number of cores.
    pub shards: Option<u64>,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9080)),
            admin_token: None,
            data_dir: PathBuf::from("./fairlane-data"),
            threads: None,
            shards: None,
        }
    }
}

impl ServerSection {
    pub(super) fn read(&mut self, section: &mut Section<'_, '_, '_>) {
        section.address("listen", &mut self.listen);
        section.address("admin_listen", &mut self.admin_listen);
        section.secret("admin_token", &mut self.admin_token);
        section.path("data_dir", &mut self.data_dir);
        self.threads = section.count_if_set("threads");
        self.shards = section.count_if_set("shards");
        let same = self.listen == self.admin_listen && self.listen.port() != 0;
        section.refuse_if(
            same,
            "admin_listen",
            "the same as listen: give it another port",
        );
        let bytes = self.admin_token.as_ref().map(|token| token.reveal().len());
        let min = admin::access::TOKEN_BYTES_MIN;
        section.refuse_if(
            bytes.is_some_and(|bytes| bytes < min),
            "admin_token",
            format!(
                "shorter than {min} bytes: use a random one, such as that of `openssl rand -hex 32`"
            ),
        );
        let open = !self.admin_listen.ip().to_canonical().is_loopback();
        section.refuse_if(
            open && section.node("admin_token").is_none(),
            "admin_listen",
            "other machines can reach this address: set admin_token, or listen on 127.0.0.1",
        );
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    pub segment_bytes_max: u64,
    pub retention_age_ms: u64,
    pub retention_bytes_max: u64,
    pub commit_queue_bytes_max: u64,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 * MIB,
            retention_age_ms: 7 * DAY_MS,
            retention_bytes_max: 64 * 1_024 * MIB,
            commit_queue_bytes_max: 64 * MIB,
        }
    }
}

impl LogSection {
    pub(super) fn read(&mut self, section: &mut Section<'_, '_, '_>) {
        section.bytes("segment_bytes_max", &mut self.segment_bytes_max);
        section.duration("retention_age", &mut self.retention_age_ms);
        section.bytes("retention_bytes_max", &mut self.retention_bytes_max);
        section.bytes("commit_queue_bytes_max", &mut self.commit_queue_bytes_max);
        section.refuse_if(
            self.retention_bytes_max < 2 * self.segment_bytes_max,
            "retention_bytes_max",
            "less than two segments: raise it, or lower segment_bytes_max",
        );
    }
}

/// `[ingest]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestSection {
    pub body_bytes_max: u64,
    pub bytes_in_flight_max: u64,
    pub connections_max: u64,
    pub connections_per_ip_max: u64,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub source_rate_limit_per_s: Option<u32>,
    pub ip_rate_limit_per_s: Option<u32>,
    pub dedup_window_ms: u64,
    pub dedup_entries_max: u64,
    pub trusted_proxies: u64,
    pub public_host: Option<String>,
}

impl Default for IngestSection {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * 1_024,
            bytes_in_flight_max: 64 * MIB,
            connections_max: 4_096,
            connections_per_ip_max: 256,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            source_rate_limit_per_s: None,
            ip_rate_limit_per_s: None,
            dedup_window_ms: DAY_MS,
            dedup_entries_max: 3_670_016,
            trusted_proxies: 0,
            public_host: None,
        }
    }
}

impl IngestSection {
    pub(super) fn read(&mut self, section: &mut Section<'_, '_, '_>) {
        section.bytes("body_bytes_max", &mut self.body_bytes_max);
        section.bytes("bytes_in_flight_max", &mut self.bytes_in_flight_max);
        section.count("connections_max", &mut self.connections_max);
        section.count("connections_per_ip_max", &mut self.connections_per_ip_max);
        section.duration("header_timeout", &mut self.header_timeout_ms);
        section.duration("body_timeout", &mut self.body_timeout_ms);
        section.duration("idle_timeout", &mut self.idle_timeout_ms);
        self.source_rate_limit_per_s = section.count_u32_if_set("source_rate_limit_per_s");
        self.ip_rate_limit_per_s = section.count_u32_if_set("ip_rate_limit_per_s");
        section.duration("dedup_window", &mut self.dedup_window_ms);
        section.count("dedup_entries_max", &mut self.dedup_entries_max);
        section.count("trusted_proxies", &mut self.trusted_proxies);
        self.public_host = section.text("public_host");
        section.refuse_if(
            self.bytes_in_flight_max < self.body_bytes_max,
            "bytes_in_flight_max",
            "less than body_bytes_max: raise it, or no request of that size would ever get in",
        );
        let host = self.public_host.as_deref().unwrap_or("any.example");
        let authority = host
            .parse::<http::uri::Authority>()
            .is_ok_and(|host| !host.as_str().contains('@'));
        section.refuse_if(
            !authority,
            "public_host",
            "write a host with or without a port, such as \"events.example.com\", without https://",
        );
    }
}

/// `[delivery]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliverySection {
    pub in_flight_max: u64,
    pub in_flight_bytes_max: u64,
    pub reserved_percent: u64,
    pub group_percent: u64,
    pub quantum_bytes: u64,
    pub stagger_max_ms: u64,
    pub idle_after_ms: u64,
    /// Of every connection that does not say its own.
    pub policy: Policy,
    pub queues: Queues,
    pub queue_jobs_max: u64,
    pub queue_in_flight_max: u64,
    pub dead_letters_bytes_max: u64,
    pub drain_timeout_ms: u64,
    pub egress_allow: Vec<IpNet>,
    pub egress_allow_http: bool,
    pub extra_ca: Option<PathBuf>,
}

impl Default for DeliverySection {
    fn default() -> Self {
        Self {
            in_flight_max: 2_048,
            in_flight_bytes_max: 64 * MIB,
            reserved_percent: 25,
            group_percent: 50,
            quantum_bytes: 64 * 1024,
            stagger_max_ms: 5_000,
            idle_after_ms: 60_000,
            policy: Policy::default(),
            queues: Queues::Connection,
            queue_jobs_max: 10_000,
            queue_in_flight_max: 256,
            dead_letters_bytes_max: 1_024 * MIB,
            drain_timeout_ms: 25_000,
            egress_allow: Vec::new(),
            egress_allow_http: false,
            extra_ca: None,
        }
    }
}

impl DeliverySection {
    pub(super) fn read(&mut self, section: &mut Section<'_, '_, '_>) {
        section.count("in_flight_max", &mut self.in_flight_max);
        section.bytes("in_flight_bytes_max", &mut self.in_flight_bytes_max);
        section.count("reserved_percent", &mut self.reserved_percent);
        section.count("group_percent", &mut self.group_percent);
        section.bytes("quantum", &mut self.quantum_bytes);
        section.duration("stagger_max", &mut self.stagger_max_ms);
        section.duration("idle_after", &mut self.idle_after_ms);
        self.policy = section.policy();
        section.check_policy(&self.policy, &Policy::default());
        self.queues = match section.choice_if_set("queues").as_deref() {
            Some("shared") => Queues::Shared,
            Some("destination") => Queues::Destination,
            _ => Queues::Connection,
        };
        section.count("queue_jobs_max", &mut self.queue_jobs_max);
        section.count("queue_in_flight_max", &mut self.queue_in_flight_max);
        section.bytes("dead_letters_bytes_max", &mut self.dead_letters_bytes_max);
        section.duration("drain_timeout", &mut self.drain_timeout_ms);
        section.networks("egress_allow", &mut self.egress_allow);
        section.boolean("egress_allow_http", &mut self.egress_allow_http);
        self.extra_ca = section.path_if_set("extra_ca");
    }
}

/// `[catalog]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CatalogSection {
    /// As written: relative to the configuration file.
    pub overlay_dir: Option<PathBuf>,
}

impl CatalogSection {
    pub(super) fn read(&mut self, section: &mut Section<'_, '_, '_>) {
        self.overlay_dir = section.path_if_set("overlay_dir");
    }
}

const MIB: u64 = 1 << 20;
const DAY_MS: u64 = 86_400_000;
