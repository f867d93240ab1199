//! Where records go, and as whom: a request's URL and options.

use model::Secret;
use url::Url;

/// Kafka's own port.
const PORT: u16 = 9092;
/// Brokers that are asked for the others.
const BROKERS_MAX: usize = 16;
/// Kafka's own limit of a topic's name.
const TOPIC_BYTES_MAX: usize = 249;

/// A host, a port.
pub(super) type Broker = (String, u16);

/// See the module. Two that are equal are served by the same producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// At least one.
    pub(super) brokers: Vec<Broker>,
    pub(super) topic: String,
    pub(super) tls: Option<Tls>,
    pub(super) login: Option<Login>,
    /// As librdkafka calls it.
    pub(super) compression: &'static str,
}

/// How the connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    /// PEM: trusted beside the public authorities.
    pub(super) ca_certificate: Option<String>,
    /// PEM: certificate and key by which brokers know us.
    pub(super) client: Option<(String, Secret)>,
}

/// As whom, by SASL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) mechanism: &'static str,
    pub(super) user: String,
    pub(super) password: Secret,
}

impl Target {
    /// # Errors
    /// What is missing or cannot be: the settings are to be mended.
    pub(super) fn parse<'a>(
        url: &str,
        option: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let topic = url.path().trim_start_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !topic.chars().all(is_plain) {
            return Err(format!(
                "topic {topic:?}: use 1 to {TOPIC_BYTES_MAX} letters, digits, '.', '_' and '-'"
            ));
        }
        let host = url.host_str().unwrap_or_default();
        let mut brokers = vec![(host.to_owned(), url.port().unwrap_or(PORT))];
        for text in option("brokers").unwrap_or_default().split(',') {
            let text = text.trim();
            if !text.is_empty() {
                let broker = broker(text)?;
                if !brokers.contains(&broker) {
                    brokers.push(broker);
                }
            }
        }
        if host.is_empty() || brokers.len() > BROKERS_MAX {
            return Err(format!(
                "name 1 to {BROKERS_MAX} brokers: the others are found"
            ));
        }
        let (encrypted, logs_in) = match option("security_protocol") {
            None | Some("plaintext") => (false, false),
            Some("ssl") => (true, false),
            Some("sasl_plaintext") => (false, true),
            Some("sasl_ssl") => (true, true),
            Some(other) => {
                return Err(format!(
                    "security_protocol {other:?} is not known: use plaintext, ssl, sasl_plaintext \
                     or sasl_ssl"
                ));
            }
        };
        let compression = match option("compression") {
            None | Some("zstd") => "zstd",
            Some("lz4") => "lz4",
            Some("gzip") => "gzip",
            Some("snappy") => "snappy",
            Some("none") => "none",
            Some(other) => {
                return Err(format!(
                    "compression {other:?} is not known: use zstd, lz4, gzip, snappy or none"
                ));
            }
        };
        Ok(Self {
            brokers,
            topic: topic.to_owned(),
            tls: encrypted.then(|| tls(&option)).transpose()?,
            login: logs_in.then(|| login(&option)).transpose()?,
            compression,
        })
    }
}

fn tls<'a>(option: &impl Fn(&str) -> Option<&'a str>) -> Result<Tls, String> {
    // Its lines may come as one, with `\n` between them: secrets do.
    let given = |name: &str| {
        let text = option(name).filter(|text| !text.trim().is_empty())?;
        Some(text.replace(r"\n", "\n"))
    };
    let client = match (given("client_certificate"), given("client_key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, Secret::new(key))),
        _ => return Err("client_certificate and client_key belong together".to_owned()),
    };
    Ok(Tls {
        ca_certificate: given("ca_certificate"),
        client,
    })
}

fn login<'a>(option: &impl Fn(&str) -> Option<&'a str>) -> Result<Login, String> {
    let mechanism = match option("sasl_mechanism") {
        None | Some("PLAIN") => "PLAIN",
        Some("SCRAM-SHA-256") => "SCRAM-SHA-256",
        Some("SCRAM-SHA-512") => "SCRAM-SHA-512",
        Some(other) => {
            return Err(format!(
                "sasl_mechanism {other:?} is not known: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
            ));
        }
    };
    let (Some(user), Some(password)) = (option("username"), option("password")) else {
        return Err("to log in needs username and password".to_owned());
    };
    Ok(Login {
        mechanism,
        user: user.to_owned(),
        password: Secret::new(password),
    })
}

fn broker(text: &str) -> Result<Broker, String> {
    let wrong = || format!("broker {text:?} is none: write host:port");
    let url = Url::parse(&format!("kafka://{text}")).map_err(|_| wrong())?;
    let bare = url.username().is_empty() && url.path().is_empty() && url.query().is_none();
    match url.host_str() {
        Some(host) if bare && !host.is_empty() => Ok((host.to_owned(), url.port().unwrap_or(PORT))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn parse(url: &str, options: &[(&str, &'static str)]) -> Result<Target, String> {
        Target::parse(url, |name| {
            let mut options = options.iter();
            options
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn brokers_are_named_once() {
        let target = parse("kafka://a/events", &[("brokers", "a:9092, b, [::1]:9093")]).unwrap();
        let expected = [("a", 9092), ("b", 9092), ("[::1]", 9093)];
        assert_eq!(
            target.brokers,
            expected.map(|(host, port)| (host.to_owned(), port))
        );
        assert_eq!(target.topic, "events");
        assert_eq!(target.compression, "zstd");
    }

    #[test]
    fn what_cannot_be_is_told_with_what_can() {
        for (url, options, problem) in [
            ("kafka://a", &[][..], "topic"),
            ("kafka://a/x/y", &[], "topic"),
            ("kafka://a/x%20y", &[], "topic"),
            ("kafka://a/x", &[("brokers", "a/b")], "write host:port"),
            ("kafka://a/x", &[("brokers", "u@b:1")], "write host:port"),
            (
                "kafka://a/x",
                &[("security_protocol", "tls")],
                "plaintext, ssl, sasl_plaintext or sasl_ssl",
            ),
            (
                "kafka://a/x",
                &[
                    ("security_protocol", "sasl_ssl"),
                    ("sasl_mechanism", "GSSAPI"),
                ],
                "use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            ),
            (
                "kafka://a/x",
                &[("security_protocol", "ssl"), ("client_key", "k")],
                "belong together",
            ),
            (
                "kafka://a/x",
                &[("security_protocol", "sasl_plaintext")],
                "username and password",
            ),
            ("kafka://a/x", &[("compression", "brotli")], "use zstd"),
        ] {
            let error = parse(url, options).unwrap_err();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
