//! Where rows go, and as whom: a request's URL and options.

use model::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

/// PostgreSQL's own port.
const PORT: u16 = 5432;
/// Columns of a table, unless the options say otherwise; and at most: PostgreSQL's own limit is 1,600.
const COLUMNS_DEFAULT: usize = 500;
const COLUMNS_MAX: usize = 1_500;
/// Tables of a schema that are made, unless the options say otherwise; and at most.
const TABLES_DEFAULT: usize = 1_000;
const TABLES_MAX: usize = 10_000;

/// How far the connection is encrypted. The names are libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    /// Encrypted, but whoever answers is believed.
    Require,
    /// The certificate must be for this host, from an authority that is trusted.
    VerifyFull,
}

/// See the module. Two that are equal are served by the same connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) ssl_mode: SslMode,
    /// PEM.
    pub(super) ca_certificate: Option<String>,
    pub(super) columns_max: usize,
    pub(super) tables_max: usize,
}

impl Target {
    /// # Errors
    /// What is missing or cannot be: the settings are to be mended.
    pub(super) fn parse<'a>(
        url: &str,
        option: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let mut path = url.path_segments().into_iter().flatten().map(decoded);
        let (Some(database), Some(schema), None) = (path.next(), path.next(), path.next()) else {
            return Err("it must be postgres://host:port/database/schema".to_owned());
        };
        let (database, schema) = (database?, schema?);
        let host = url.host_str().unwrap_or_default();
        // As a URL writes an IPv6 address; of a scheme that is not known to it, the url crate leaves a
        // name as it is.
        let host = decoded(host)?;
        if host.is_empty() || database.is_empty() || !super::sql::is_name(&schema) {
            return Err(
                "host, database and schema must not be empty, nor the schema longer than 63 bytes"
                    .to_owned(),
            );
        }
        let user = option("user").unwrap_or_default();
        if user.is_empty() || user.contains('\0') || database.contains('\0') {
            return Err("it needs a user, and no NUL in user or database".to_owned());
        }
        let ssl_mode = match option("ssl_mode") {
            Some("disable") => SslMode::Disable,
            Some("require") => SslMode::Require,
            None | Some("verify-full") => SslMode::VerifyFull,
            Some(other) => {
                return Err(format!(
                    "ssl_mode {other:?} is not known: use disable, require or verify-full"
                ));
            }
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(PORT),
            database,
            schema,
            user: user.to_owned(),
            password: option("password").map(Secret::new),
            ssl_mode,
            ca_certificate: option("ca_certificate").map(str::to_owned),
            columns_max: limit(
                "columns_max",
                option("columns_max"),
                COLUMNS_DEFAULT,
                COLUMNS_MAX,
            )?,
            tables_max: limit(
                "tables_max",
                option("tables_max"),
                TABLES_DEFAULT,
                TABLES_MAX,
            )?,
        })
    }

    /// For messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(String::from)
        .map_err(|_| "it holds what is no UTF-8".to_owned())
}

fn limit(name: &str, text: Option<&str>, default: usize, max: usize) -> Result<usize, String> {
    let Some(text) = text else {
        return Ok(default);
    };
    match text.parse() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(format!("{name} must be 1 to {max}, not {text:?}")),
    }
}

#[cfg(test)]
mod tests;
