//! A binding: what one destination's settings make of its definition. Rendered once, used for every
//! request.

use std::collections::BTreeMap;

use model::Secret;
use model::registry::CheckedSettings;
use url::Url;
use vrl::value::{ObjectMap, Value};

use crate::definition::{AuthSpec, Definition, Sender};
use crate::encode;
use crate::error::Error;
use crate::marks;
use crate::request::{Body, RequestPlan, check_header_value, header_name, strict_url};
use crate::signature::{HmacHash, SigningKeys};
use crate::template::Template;

/// Made by [`crate::Transformer::new`].
#[derive(Debug)]
pub(crate) struct Binding {
    /// `.settings` of programs.
    pub(crate) settings: Value,
    /// By the setting's index in the definition; `None` for one that is not set or is no secret.
    pub(crate) secrets: Vec<Option<Secret>>,
    hosts: Vec<HostRule>,
    pub(crate) method: String,
    /// Marked.
    pub(crate) url: Option<String>,
    /// Marked.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) auth: Vec<Auth>,
}

/// One auth with its secrets in place.
#[derive(Debug)]
pub(crate) enum Auth {
    Header {
        name: String,
        value: Secret,
    },
    Query {
        name: String,
        value: Secret,
    },
    /// Without keys nothing is signed, but the receiver still gets the stable id and the time.
    StandardWebhooks(Option<SigningKeys>),
    Hmac {
        header: String,
        prefix: String,
        hash: HmacHash,
        secret: Secret,
    },
}

#[derive(Debug, PartialEq, Eq)]
struct HostRule {
    scheme: String,
    /// Without the `*.`.
    host: String,
    subdomains: bool,
    port: u16,
}

impl Binding {
    /// # Errors
    /// Settings that do not make a usable request: an operator mends them.
    pub(crate) fn new(definition: &Definition, settings: &CheckedSettings) -> Result<Self, Error> {
        let secrets = definition
            .settings
            .iter()
            .map(|s| settings.secrets.get(&s.name).cloned());
        let mut binding = Self {
            settings: program_settings(definition, settings)?,
            secrets: secrets.collect(),
            hosts: Vec::new(),
            method: "POST".to_owned(),
            url: None,
            headers: Vec::new(),
            auth: Vec::new(),
        };
        if definition.sender == Sender::Blackhole {
            return Ok(binding);
        }
        let request = &definition.request;
        if let Some(method) = request.method.as_ref().and_then(|t| t.marked(settings)) {
            binding.method = method;
        }
        binding.url = request
            .url
            .as_ref()
            .and_then(|template| template.marked_url(settings));
        binding.headers = headers(definition, settings)?;
        binding.hosts = binding.host_rules(definition, settings)?;
        binding.auth = definition
            .auth
            .iter()
            .filter_map(|spec| auth(spec, settings).transpose())
            .collect::<Result<_, _>>()?;
        Ok(binding)
    }

    fn host_rules(
        &self,
        definition: &Definition,
        settings: &CheckedSettings,
    ) -> Result<Vec<HostRule>, Error> {
        if definition.hosts.is_empty() {
            let Some(url) = &self.url else {
                return Err(setting_error(
                    "url",
                    "the request's url needs a setting that is not set",
                ));
            };
            let url = strict_url(&self.reveal_lead(url)).map_err(|p| setting_error("url", &p))?;
            return Ok(vec![host_rule_of(&url)]);
        }
        let mut rules = Vec::new();
        for host in &definition.hosts {
            // An optional setting that is not set opens no host.
            let Some(text) = host.reveal(settings) else {
                continue;
            };
            rules.push(host_rule(&text).map_err(|problem| setting_error("hosts", &problem))?);
        }
        Ok(rules)
    }

    /// `url` with the mark at its beginning, if one is there, replaced by the secret: the setting is
    /// the URL itself.
    fn reveal_lead(&self, url: &str) -> String {
        if !marks::leads(url) {
            return url.to_owned();
        }
        let expanded = marks::expand(url, |index, leading| {
            if leading {
                self.secret(index).to_owned()
            } else {
                marks::mark(index)
            }
        });
        expanded.into_owned()
    }

    pub(crate) fn secret(&self, index: usize) -> &str {
        self.secrets
            .get(index)
            .and_then(Option::as_ref)
            .map_or("", Secret::reveal)
    }

    /// Checks where a request would go, and returns its URL as it will be sent, with its marks.
    ///
    /// # Errors
    /// It leaves the hosts of the definition, or is no URL.
    pub(crate) fn check_url(&self, text: &str) -> Result<String, String> {
        let leading = marks::leads(text);
        let mut url = strict_url(&self.reveal_lead(text))?;
        url.set_fragment(None);
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        let allowed = self
            .hosts
            .iter()
            .any(|rule| rule.scheme == url.scheme() && Some(rule.port) == port && rule.takes(host));
        if !allowed {
            return Err(format!(
                "{}://{} is none of the definition's hosts",
                url.scheme(),
                if marks::any(host) { "(a secret)" } else { host }
            ));
        }
        // A secret URL stays a mark until the request is finished.
        Ok(if leading { text.to_owned() } else { url.into() })
    }

    /// # Errors
    /// The request needs a secret that is not set.
    pub(crate) fn check_marks(&self, request: &RequestPlan) -> Result<(), String> {
        let headers = request.headers.iter().map(|(_, value)| value.as_str());
        let body = match &request.body {
            // An event cannot spell a mark, and is not searched for one.
            Body::Empty | Body::Event(_) | Body::Events(_) => "",
            body => std::str::from_utf8(body.bytes()).unwrap_or_default(),
        };
        for text in headers.chain([request.url.as_str(), body]) {
            if !marks::any(text) {
                continue;
            }
            for index in marks::indexes(text) {
                if self.secrets.get(index).is_none_or(Option::is_none) {
                    return Err("the request needs a secret that is not set".to_owned());
                }
            }
        }
        Ok(())
    }
}

impl HostRule {
    fn takes(&self, host: &str) -> bool {
        if !self.subdomains {
            return host == self.host;
        }
        host.strip_suffix(&self.host)
            .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
    }
}

fn host_rule(text: &str) -> Result<HostRule, String> {
    if text.contains("://") {
        return strict_url(text).map(|url| host_rule_of(&url));
    }
    let (subdomains, host) = match text.strip_prefix("*.") {
        Some(host) => (true, host),
        None => (false, text),
    };
    let url = strict_url(&format!("https://{host}"))?;
    // Whatever stands behind the host would be forgotten: refuse it instead.
    if url.path() != "/" || url.query().is_some() || host.contains(['/', '@']) {
        return Err(format!("{text:?} is no host"));
    }
    Ok(HostRule {
        subdomains,
        ..host_rule_of(&url)
    })
}

fn host_rule_of(url: &Url) -> HostRule {
    HostRule {
        scheme: url.scheme().to_owned(),
        host: url.host_str().unwrap_or_default().to_owned(),
        subdomains: false,
        port: url.port_or_known_default().unwrap_or(0),
    }
}

/// Non-secret values with null for those that are not set, and `has_<name>` for secrets.
fn program_settings(definition: &Definition, settings: &CheckedSettings) -> Result<Value, Error> {
    let mut all = ObjectMap::new();
    for spec in &definition.settings {
        if spec.secret {
            let set = settings.secrets.contains_key(&spec.name);
            all.insert(format!("has_{}", spec.name).into(), Value::Boolean(set));
            continue;
        }
        let value = match settings.values.get(&spec.name) {
            Some(value) => crate::json::from_tree(value)
                .map_err(|problem| setting_error(&spec.name, &problem))?,
            None => Value::Null,
        };
        all.insert(spec.name.as_str().into(), value);
    }
    Ok(Value::Object(all))
}

fn headers(
    definition: &Definition,
    settings: &CheckedSettings,
) -> Result<Vec<(String, String)>, Error> {
    let mut all = BTreeMap::new();
    for (name, template) in &definition.request.headers {
        if let Some(value) = template.marked(settings) {
            check_header_value(name, &value).map_err(|problem| setting_error(name, &problem))?;
            all.insert(name.clone(), value);
        }
    }
    let name = definition
        .request
        .headers_setting
        .as_deref()
        .unwrap_or_default();
    if let Some(serde_json::Value::Object(map)) = settings.values.get(name) {
        for (header, value) in map {
            let header = header_name(header).map_err(|problem| setting_error(name, &problem))?;
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            check_header_value(&header, &text).map_err(|problem| setting_error(name, &problem))?;
            all.insert(header, text);
        }
    }
    Ok(all.into_iter().collect())
}

/// `None` where a setting that it needs is not set.
fn auth(spec: &AuthSpec, settings: &CheckedSettings) -> Result<Option<Auth>, Error> {
    let reveal = |template: &Template| template.reveal(settings);
    let header = |name: &str, value: String| {
        check_header_value(name, &value).map_err(|problem| setting_error("auth", &problem))?;
        Ok(Some(Auth::Header {
            name: name.to_owned(),
            value: Secret::new(value),
        }))
    };
    match spec {
        AuthSpec::Bearer { token } => match reveal(token) {
            Some(token) => header("authorization", format!("Bearer {token}")),
            None => Ok(None),
        },
        AuthSpec::Basic { user, password } => match (reveal(user), reveal(password)) {
            (Some(user), Some(password)) => {
                use base64::Engine;
                let pair = format!("{user}:{password}");
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                header("authorization", format!("Basic {encoded}"))
            }
            _ => Ok(None),
        },
        AuthSpec::Header { name, value } => match reveal(value) {
            Some(value) => header(name, value),
            None => Ok(None),
        },
        AuthSpec::Query { name, value } => Ok(reveal(value).map(|value| Auth::Query {
            name: encode::component(name),
            value: Secret::new(value),
        })),
        AuthSpec::StandardWebhooks { secret } => reveal(secret)
            .map(|secret| SigningKeys::parse(&secret))
            .transpose()
            .map(|keys| Some(Auth::StandardWebhooks(keys)))
            .map_err(|problem| setting_error("auth", &problem)),
        AuthSpec::HmacSha1Hex { header, secret } => Ok(reveal(secret).map(|secret| Auth::Hmac {
            header: header.clone(),
            prefix: String::new(),
            hash: HmacHash::Sha1,
            secret: Secret::new(secret),
        })),
        AuthSpec::HmacSha256Hex {
            header,
            secret,
            prefix,
        } => Ok(reveal(secret).map(|secret| Auth::Hmac {
            header: header.clone(),
            prefix: prefix.clone(),
            hash: HmacHash::Sha256,
            secret: Secret::new(secret),
        })),
    }
}

fn setting_error(setting: &str, problem: &str) -> Error {
    Error::Settings(vec![crate::definition::settings::SettingProblem {
        setting: setting.to_owned(),
        problem: problem.to_owned(),
    }])
}
