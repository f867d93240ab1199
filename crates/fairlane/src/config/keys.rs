//! The list of everything that may be set: names, types, ranges, defaults and meanings.

use Kind::{
    Address, Boolean, Bytes, Choice, Code, Count, Duration, Networks, Path, Rate, Secret, Table,
    Text, Texts,
};
use catalog::limits::BATCH_WAIT_MS_MAX;

/// One key of one section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "the tests hold code and example to it")
    )]
    pub default: Default,
    #[cfg_attr(not(test), allow(dead_code, reason = "the reference is made from it"))]
    pub help: &'static str,
}

/// What stands for a key that is not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// It must be set.
    Required,
    /// This, in TOML.
    Value(&'static str),
    /// In words.
    None(&'static str),
    /// What the key of the same name in `[delivery]` says.
    OfDelivery,
}

/// Least requests a second: about one an hour. What would be slower is a slip of the pen, and looks
/// like a lane that stands still.
pub const RATE_PER_S_MIN: f64 = 0.0003;

/// What a key takes. Ranges are inclusive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Text,
    /// A text that is never shown.
    Secret,
    /// IP address and port.
    Address,
    Path,
    Boolean,
    /// `"30s"`; the range in milliseconds.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// `"64MiB"`, or an integer.
    Bytes {
        min: u64,
        max: u64,
    },
    Count {
        min: u64,
        max: u64,
    },
    /// A number of at least [`RATE_PER_S_MIN`].
    Rate,
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of address ranges.
    Networks,
    Table,
    /// VRL. Nothing is put in for `${..}`: a program never sees the environment or a secret.
    Code,
}

/// The sections that stand once, with their meaning. Their keys can be overridden by variables.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "server",
        "The process: where it listens and where its data is.",
    ),
    ("log", "The event log."),
    ("ingest", "Limits of what comes in."),
    ("delivery", "Limits of what goes out, and where to."),
    (
        "catalog",
        "Where destinations are defined, beside those in the binary.",
    ),
];

/// The sections that stand once for each thing.
pub const LISTS: &[(&str, &str)] = &[
    (
        "sources",
        "Where events come from: one write key, one stream of events.",
    ),
    (
        "destinations",
        "Where events go: a definition of the catalog with its settings.",
    ),
    (
        "connections",
        "Which source's events go to which destination.",
    ),
];

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: Default,
    help: &'static str,
) -> Key {
    Key {
        section,
        name,
        kind,
        default,
        help,
    }
}

/// A key of [`POLICY`], as `[delivery]` has it.
const fn policy(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Key {
    key("delivery", name, kind, default, help)
}

const fn is(value: &'static str) -> Default {
    Default::Value(value)
}

const fn none(words: &'static str) -> Default {
    Default::None(words)
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const TIMEOUT: Kind = Duration {
    min_ms: 10,
    max_ms: 10 * MINUTE,
};
const PER_SECOND: Kind = Count {
    min: 1,
    max: 1_000_000,
};
const QUEUES: Kind = Choice(&["connection", "destination", "shared"]);
const ORDERINGS: Kind = Choice(&["none", "key"]);
const CONNECTIONS: Kind = Count {
    min: 1,
    max: 1_000_000,
};

/// Every key but those of [`POLICY`], in the order of the reference.
#[rustfmt::skip] // One key, three lines: the table is read as a table.
const KEYS: &[Key] = &[
    key("server", "listen", Address, is("\"127.0.0.1:8080\""),
        "Where events come in. `0.0.0.0:8080` for all of the machine's addresses."),
    key("server", "admin_listen", Address, is("\"127.0.0.1:9080\""),
        "Where the management API and the metrics are. Another address than this machine's own \
         needs `admin_token`."),
    key("server", "admin_token", Secret, none("only this machine may use the management API"),
        "Bearer token of the management API, at least 16 bytes. Better `${ADMIN_TOKEN}` than in \
         the file."),
    key("server", "data_dir", Path, is("\"./fairlane-data\""),
        "The directory of the log, the store and the key that seals secrets, relative to the \
         configuration file."),
    key("server", "threads", Count { min: 1, max: 256 }, none("by the number of cores"),
        "Threads that take events in."),
    key("server", "shards", Count { min: 1, max: 256 }, none("by the number of cores"),
        "Threads that deliver. Lanes are divided among them."),

    key("log", "segment_bytes_max", Bytes { min: 512 * KIB, max: GIB }, is("\"64MiB\""),
        "Size of one segment file."),
    key("log", "retention_age", Duration { min_ms: MINUTE, max_ms: 3_650 * DAY }, is("\"7d\""),
        "Events are kept this long for replays. After it they are removed even if they are not \
         delivered."),
    key("log", "retention_bytes_max", Bytes { min: MIB, max: 1_024 * TIB }, is("\"64GiB\""),
        "Over this, or when the disk is full before, delivered events are removed, oldest first; \
         when none is left to remove, clients are answered 503 and delivery goes on. At least two \
         segments."),
    key("log", "commit_queue_bytes_max", Bytes { min: MIB, max: 16 * GIB }, is("\"64MiB\""),
        "Events that wait to become durable. Over it clients are answered 503."),

    key("ingest", "body_bytes_max", Bytes { min: KIB, max: 64 * MIB }, is("\"512KiB\""),
        "Largest request body, both as sent and decompressed."),
    key("ingest", "bytes_in_flight_max", Bytes { min: MIB, max: 64 * GIB }, is("\"64MiB\""),
        "Bodies received and not yet answered. Over it clients are answered 503. At least \
         `body_bytes_max`."),
    key("ingest", "connections_max", CONNECTIONS, is("4096"),
        "Open connections; more are closed at once. At most half of the file descriptors that the \
         system allows (`ulimit -n`): the start warns where that is less than this."),
    key("ingest", "connections_per_ip_max", CONNECTIONS, is("256"),
        "Open connections of one address. Not applied where `trusted_proxies` is set."),
    key("ingest", "header_timeout", TIMEOUT, is("\"10s\""),
        "Time for a request's head."),
    key("ingest", "body_timeout", TIMEOUT, is("\"30s\""),
        "Time for a request's body."),
    key("ingest", "idle_timeout", TIMEOUT, is("\"75s\""),
        "How long a connection may stay open without a request."),
    key("ingest", "source_rate_limit_per_s", PER_SECOND, none("no limit"),
        "Requests a second of a source that has no limit of its own. Over it: 429."),
    key("ingest", "ip_rate_limit_per_s", PER_SECOND, none("no limit"),
        "Requests a second of one address. Over it: 429."),
    key("ingest", "dedup_window", Duration { min_ms: SECOND, max_ms: 30 * DAY }, is("\"24h\""),
        "An event whose messageId was seen within this time is dropped."),
    key("ingest", "dedup_entries_max", Count { min: 1, max: 1_000_000_000 }, is("3670016"),
        "MessageIds remembered, about 10 bytes each. With more events than this in the window, \
         the oldest ids are forgotten early."),
    key("ingest", "trusted_proxies", Count { min: 0, max: 16 }, is("0"),
        "Proxies in front that add to `X-Forwarded-For`. 0: the header is not believed."),
    key("ingest", "public_host", Text, none("the host that the browser asked"),
        "`host[:port]` that browsers are told to send events to."),

    key("delivery", "in_flight_max", Count { min: 1, max: 65_536 }, is("2048"),
        "Requests at once to all destinations. At most a quarter of the file descriptors that the \
         system allows (`ulimit -n`): the start warns where that is less than this."),
    key("delivery", "in_flight_bytes_max", Bytes { min: MIB, max: 64 * GIB }, is("\"64MiB\""),
        "Events being sent."),
    key("delivery", "reserved_percent", Count { min: 0, max: 90 }, is("25"),
        "Part of `in_flight_max` that only lanes with nothing in flight may use: no lane takes the \
         last slot from another."),
    key("delivery", "group_percent", Count { min: 1, max: 100 }, is("50"),
        "Part of `in_flight_max` that one source's connections may use while others wait."),
    key("delivery", "quantum", Bytes { min: KIB, max: 64 * MIB }, is("\"64KiB\""),
        "What a lane may start in its turn: lanes share by bytes, in deficit round robin."),
    key("delivery", "stagger_max", Duration { min_ms: 0, max_ms: 60 * MINUTE }, is("\"5s\""),
        "After a restart lanes begin at random within this time."),
    key("delivery", "idle_after", Duration { min_ms: 0, max_ms: 60 * MINUTE }, is("\"1m\""),
        "A lane with nothing to do for so long forgets what it learned of its destination."),
    key("delivery", "queues", QUEUES, is("\"connection\""),
        "Which connections share a queue: each has its own (a lane). `\"destination\"` and \
         `\"shared\"` make all connections to a destination, or all there are, share one, which is \
         there to be compared with lanes, and for nothing else: see \
         docs/concepts/three-architectures.md."),
    key("delivery", "queue_jobs_max", Count { min: 1, max: 1_000_000 }, is("10000"),
        "Jobs of one shared queue (on each shard) that may be sent or wait for a retry."),
    key("delivery", "queue_in_flight_max", Count { min: 1, max: 65_536 }, is("256"),
        "Requests at once of one shared queue (on each shard)."),
    key("delivery", "dead_letters_bytes_max", Bytes { min: 64 * KIB, max: 1_024 * GIB },
        is("\"1GiB\""),
        "All dead letters together, events and answers. Over it the oldest are given up, counted \
         and announced."),
    key("delivery", "drain_timeout", Duration { min_ms: 0, max_ms: 10 * MINUTE }, is("\"25s\""),
        "On SIGTERM: how long attempts in flight may take to finish."),
    key("delivery", "egress_allow", Networks, is("[]"),
        "Private address ranges that destinations may be in, such as `\"10.0.0.0/8\"`. Without it \
         only public addresses are reached. Of ports, only 80, 443, and 1024 and above are dialled."),
    key("delivery", "egress_allow_http", Boolean, is("false"),
        "Whether `http://` to public addresses is allowed, or only `https://`. Addresses in \
         `egress_allow` may be reached by either."),
    key("delivery", "extra_ca", Path, none("the public authorities"),
        "PEM file of certificate authorities to trust beside the public ones, relative to the \
         configuration file."),

    key("catalog", "overlay_dir", Path, none("the catalog in the binary"),
        "A directory of definitions, one folder each, that are added to those in the binary or \
         replace them. Relative to the configuration file."),

    key("sources", "name", Text, Default::Required,
        "1 to 64 of `a-z 0-9 _ - . :`. It is what events are stored under: a renamed source is a \
         new one."),
    key("sources", "write_key", Text, none("one of `write_key` and `write_keys` is needed"),
        "The key that clients send. Public: it can only add events to this source."),
    key("sources", "write_keys", Texts, none("one of `write_key` and `write_keys` is needed"),
        "More than one, while a key is being changed."),
    key("sources", "enabled", Boolean, is("true"),
        "If false, clients are still answered 200, and their events are counted and discarded."),
    key("sources", "rate_limit_per_s", PER_SECOND, none("`source_rate_limit_per_s` of [ingest]"),
        "Requests a second. Over it: 429."),

    key("destinations", "name", Text, Default::Required,
        "1 to 64 of `a-z 0-9 _ - . :`."),
    key("destinations", "type", Text, Default::Required,
        "The id of its definition: `fairlane destination list` shows all."),
    key("destinations", "enabled", Boolean, is("true"),
        "If false, its connections wait; nothing is lost until `retention_age`."),
    key("destinations", "settings", Table, is("{}"),
        "What the definition asks for: `fairlane destination show <id>` tells it."),

    key("connections", "source", Text, Default::Required,
        "A source's name."),
    key("connections", "destination", Text, Default::Required,
        "A destination's name."),
    key("connections", "name", Text, none("`source:destination`"),
        "1 to 64 of `a-z 0-9 _ - . :`. What is settled is stored under it: a renamed connection \
         begins anew."),
    key("connections", "enabled", Boolean, is("true"),
        "If false, its events wait; nothing is lost until `retention_age`."),
    key("connections", "filter", Code, none("every event"),
        "VRL that is true for events of this connection."),
    key("connections", "filter_file", Path, none("see `filter`"),
        "The same from a file, relative to the configuration file."),
    key("connections", "transform", Code, none("the event as it came"),
        "VRL that changes the event before the definition sees it."),
    key("connections", "transform_file", Path, none("see `transform`"),
        "The same from a file, relative to the configuration file."),
    key("connections", "ordering_key", Code, none("the userId, else the anonymousId"),
        "VRL that gives an event's key, such as `.properties.account_id`. Null or empty: the event \
         waits for no other. Only with `ordering = \"key\"`."),
];

/// The keys of a delivery policy: in `[delivery]` for every connection, in a connection for itself.
#[rustfmt::skip]
const POLICY: &[Key] = &[
    policy("attempt_timeout", TIMEOUT, is("\"30s\""),
        "Time for one attempt, from connecting to the end of the answer."),
    policy("concurrency_max", Count { min: 1, max: 10_000 }, is("64"),
        "Requests at once to one destination. How many of them are used adapts to what it bears."),
    policy("concurrency_init", Count { min: 1, max: 10_000 }, is("4"),
        "Requests at once with which a lane begins, before it knows what its destination bears."),
    policy("rate_limit_per_s", Rate, none("what the definition says"),
        "Requests a second."),
    policy("batch_events_max", Count { min: 1, max: 10_000 }, none("what the definition says"),
        "Events of one request, where the definition batches; at most what it says."),
    policy("batch_bytes_max", Bytes { min: 1, max: GIB }, none("what the definition says"),
        "Bytes of one request's entries, where the definition batches; at most what it says."),
    policy("batch_wait", Duration { min_ms: 0, max_ms: BATCH_WAIT_MS_MAX },
        none("what the definition says"),
        "The longest that an event waits for company, where the definition batches."),
    policy("retry_expiry", Duration { min_ms: SECOND, max_ms: 365 * DAY },
        none("what the definition says: 72 h for webhooks, PostgreSQL, Kafka and object storage, 4 h for \
              others"),
        "An event that keeps failing on its own becomes a dead letter after this time, and at \
         least `retry_attempts_min` attempts. Time in which its destination is down does not \
         count."),
    policy("retry_attempts_min", Count { min: 1, max: 1_000 }, is("5"),
        "Attempts before an event may expire."),
    policy("retry_delay_first", Duration { min_ms: 1, max_ms: DAY }, is("\"2s\""),
        "Longest wait before the first retry; each further one is three times that. The wait is \
         drawn between a tenth of it and all of it."),
    policy("retry_delay_max", Duration { min_ms: 1, max_ms: DAY }, is("\"30m\""),
        "Longest wait between two attempts of one event."),
    policy("retry_percent", Count { min: 1, max: 99 }, is("20"),
        "Part of the attempts that are retries while first attempts wait."),
    policy("recent_percent", Count { min: 0, max: 99 }, is("80"),
        "Of a lane that is behind, the part of its first attempts for what came within \
         `recent_age`: new events need not wait for the backlog. 0: always the oldest first."),
    policy("recent_age", Duration { min_ms: SECOND, max_ms: DAY }, is("\"1m\""),
        "What came within this is recent; a lane whose next event is older is behind."),
    policy("poison_failures", Count { min: 1, max: 200 }, is("5"),
        "An event that fails so often while nine of ten others succeed becomes a dead letter at \
         once."),
    policy("window_jobs_max", Count { min: 1, max: 10_000 }, is("10000"),
        "Jobs of one lane that may be sent, wait for a retry or have ended out of order. At least \
         `batch_events_max`."),
    policy("window_bytes_max", Bytes { min: 1, max: GIB }, is("\"32MiB\""),
        "Bytes of those that have not ended."),
    policy("breaker_window", Duration { min_ms: SECOND, max_ms: 60 * MINUTE }, is("\"30s\""),
        "The breaker's memory: when half of the attempts within it fail, the lane stops and \
         probes."),
    policy("probe_delay_max", Duration { min_ms: SECOND, max_ms: 60 * MINUTE }, is("\"1m\""),
        "Longest wait between two probes of a destination that fails."),
    policy("hold_probe", Duration { min_ms: SECOND, max_ms: DAY }, is("\"5m\""),
        "Wait between two probes of a held lane (credentials, configuration, TLS, unknown host)."),
    policy("ordering", ORDERINGS, is("\"none\""),
        "`\"key\"`: events of one key strictly one after the other, each when the one before it \
         has ended. A failing key holds up only itself."),
];

/// Names that people bring from elsewhere, and what they are here.
pub(super) const ALSO_KNOWN_AS: &[(&str, &str)] = &[
    ("from", "source"),
    ("to", "destination"),
    ("id", "name"),
    ("key", "write_key"),
    ("definition", "type"),
    ("source", "sources"),
    ("destination", "destinations"),
    ("connection", "connections"),
];

/// Every key there is.
pub fn all() -> impl Iterator<Item = Key> + Clone {
    let of_a_connection = |key: &Key| Key {
        section: "connections",
        default: Default::OfDelivery,
        ..*key
    };
    KEYS.iter()
        .copied()
        .chain(POLICY.iter().copied())
        .chain(POLICY.iter().map(of_a_connection))
}

/// The keys of one section.
pub fn of(section: &str) -> impl Iterator<Item = Key> + Clone + use<'_> {
    all().filter(move |key| key.section == section)
}
