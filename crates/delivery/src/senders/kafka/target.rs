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
    /// As librdkafka calls it.
    pub(super) security_protocol: &'static str,
    /// User and password, for SASL PLAIN.
    pub(super) login: Option<(String, Secret)>,
    /// As librdkafka calls it.
    pub(super) compression: &'static str,
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
        let security_protocol = match option("security_protocol") {
            None | Some("plaintext") => "plaintext",
            Some("sasl_plaintext") => "sasl_plaintext",
            Some(other) => {
                return Err(format!(
                    "security_protocol {other:?} is not known: use plaintext or sasl_plaintext"
                ));
            }
        };
        if let Some(other) = option("sasl_mechanism").filter(|name| *name != "PLAIN") {
            return Err(format!("sasl_mechanism {other:?} is not known: use PLAIN"));
        }
        let login = match (security_protocol, option("username"), option("password")) {
            ("plaintext", ..) => None,
            (_, Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password))),
            _ => return Err("sasl_plaintext needs username and password".to_owned()),
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
            security_protocol,
            login,
            compression,
        })
    }
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
                &[("security_protocol", "ssl")],
                "plaintext or sasl_plaintext",
            ),
            (
                "kafka://a/x",
                &[("sasl_mechanism", "SCRAM-SHA-512")],
                "use PLAIN",
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
