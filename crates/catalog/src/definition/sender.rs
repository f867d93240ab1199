//! Senders: who carries a finished request, and what each of them takes.

/// Which of the few senders carries a destination's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    Http,
    /// Sends nothing, and everything is delivered.
    Blackhole,
    /// Puts each request's body as an object: S3, Google Cloud Storage, Azure, a local directory.
    ObjectStorage,
    /// Writes each request's body, a list of rows, to PostgreSQL.
    Postgres,
    /// Produces each request's body, a list of records, to a topic of Kafka.
    Kafka,
}

impl Sender {
    /// What a request's URL may begin with.
    pub(crate) const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["http", "https"],
            Self::Blackhole => &[],
            Self::ObjectStorage => &["s3", "gs", "az", "file"],
            Self::Postgres => &["postgres"],
            Self::Kafka => &["kafka"],
        }
    }

    /// The names that `[options]` may have.
    pub(crate) const fn option_names(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Blackhole => &[],
            Self::ObjectStorage => &[
                "aws_access_key_id",
                "aws_endpoint",
                "aws_path_style",
                "aws_region",
                "aws_secret_access_key",
                "aws_session_token",
                "azure_account",
                "azure_account_key",
                "azure_endpoint",
                "azure_sas_token",
                "directory",
                "google_service_account",
            ],
            Self::Postgres => &[
                "ca_certificate",
                "columns_max",
                "password",
                "ssl_mode",
                "tables_max",
                "user",
            ],
            Self::Kafka => &[
                "brokers",
                "ca_certificate",
                "client_certificate",
                "client_key",
                "compression",
                "password",
                "sasl_mechanism",
                "security_protocol",
                "username",
            ],
        }
    }

    /// Whether its requests can do without a program: an event's own bytes, at one place for all.
    pub(crate) const fn takes_events_as_they_are(self) -> bool {
        match self {
            Self::Http | Self::Blackhole => true,
            // Every event would overwrite the one before it.
            Self::ObjectStorage => false,
            // Neither rows nor records are events.
            Self::Postgres | Self::Kafka => false,
        }
    }
}
