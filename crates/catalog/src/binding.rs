//! A binding: what one destination's settings make of its definition. Rendered once, used for every
//! request.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::Secret;
use model::registry::CheckedSettings;
use url::Url;
use vrl::value::{ObjectMap, Value};

use crate::definition::{
    AuthSpec, Definition, OAuth1Spec, Sender, SigV4Spec, TokenPlace, TokenSpec,
};
use crate::encode;
use crate::error::Error;
use crate::limits::is_port_allowed;
use crate::marks;
use crate::options::SenderOptions;
use crate::request::{RequestPlan, check_header_value, header_name, strict_url};
use crate::signature::{HmacHash, OAuth1, SigV4, SigningKeys, UrlHmac};
use crate::template::Template;
use crate::token::{TokenGrant, TokenSource};

/// Made by [`crate::Transformer::new`].
#[derive(Debug)]
pub(crate) struct Binding {
    /// `.settings` of programs.
    pub(crate) settings: Value,
    /// By the setting's index in the definition; `None` for one that is not set or is no secret.
    pub(crate) secrets: Vec<Option<Secret>>,
    hosts: Vec<HostRule>,
    /// The first URL that was allowed: most definitions know no other, and need no second look.
    allowed: OnceLock<Box<Allowed>>,
    /// What the sender needs beside the request.
    pub(crate) options: SenderOptions,
    pub(crate) method: String,
    /// Marked.
    pub(crate) url: Option<String>,
    /// Marked.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) auth: Vec<Auth>,
    pub(crate) token: TokenSource,
}

#[derive(Debug)]
struct Allowed {
    asked: String,
    sent: String,
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
    UrlHmac(UrlHmac),
    OAuth1(OAuth1),
    AwsSigV4(SigV4),
    /// The token of the binding's [`TokenSource`], or one that was fetched.
    Token(TokenPlace),
}

impl Auth {
    /// What goes over the wire as it is, and must not be shown.
    pub(crate) fn value(&self) -> Option<&Secret> {
        match self {
            Self::Header { value, .. } | Self::Query { value, .. } => Some(value),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct HostRule {
    scheme: String,
    /// Without the `*.`.
    host: String,
    subdomains: bool,
    /// `None`: the scheme has no port that is known.
    port: Option<u16>,
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
            allowed: OnceLock::new(),
            options: SenderOptions::default(),
            method: "POST".to_owned(),
            url: None,
            headers: Vec::new(),
            auth: Vec::new(),
            token: TokenSource::None,
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
        if let Some(url) = binding
            .url
            .as_ref()
            .filter(|_| definition.sender == Sender::Http)
        {
            binding
                .judge_url(url)
                .map_err(|problem| setting_error("url", &problem))?;
        }
        binding.options = options(definition, settings);
        let directory = binding.options.get("directory");
        if let Some(directory) = directory.filter(|path| !path.starts_with('/')) {
            let problem = format!("{directory:?} is no absolute path: begin it with /");
            return Err(setting_error("directory", &problem));
        }
        binding.auth = definition
            .auth
            .iter()
            .filter_map(|spec| auth(spec, settings).transpose())
            .collect::<Result<_, _>>()?;
        if let Some(spec) = definition.auth.iter().find_map(AuthSpec::token) {
            binding.token = binding.token_source(spec, definition, settings)?;
            if matches!(binding.token, TokenSource::None) {
                binding.leave_out_token();
            }
        }
        Ok(binding)
    }

    /// As what names an optional setting that is not set is left out.
    fn leave_out_token(&mut self) {
        let names_it = |text: &str| marks::indexes(text).contains(&marks::TOKEN);
        self.auth.retain(|auth| !matches!(auth, Auth::Token(_)));
        self.headers.retain(|(_, value)| !names_it(value));
        self.url.take_if(|url| names_it(url));
    }

    fn token_source(
        &self,
        spec: &TokenSpec,
        definition: &Definition,
        settings: &CheckedSettings,
    ) -> Result<TokenSource, Error> {
        let given = spec.access_token.as_ref().and_then(|t| t.reveal(settings));
        if let Some(token) = given {
            check_header_value("token", &token)
                .map_err(|problem| setting_error("auth", &problem))?;
            return Ok(TokenSource::Given(Secret::new(token)));
        }
        let grant = match TokenGrant::new(spec, self, definition, settings) {
            Ok(None) => return Ok(TokenSource::None),
            Ok(Some(grant)) => Ok(grant),
            Err(problem) => Err(problem),
        };
        Ok(TokenSource::Fetched(Box::new(grant)))
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
            let rule = host_rule_of(&url, definition.sender);
            return Ok(vec![rule.map_err(|p| setting_error("url", &p))?]);
        }
        let mut rules = Vec::new();
        for host in &definition.hosts {
            // An optional setting that is not set opens no host.
            let Some(text) = host.reveal(settings) else {
                continue;
            };
            let rule = host_rule(&text, definition.sender);
            rules.push(rule.map_err(|problem| setting_error("hosts", &problem))?);
        }
        Ok(rules)
    }

    /// `url` with the mark at its beginning, if one is there, replaced by the secret: the setting is
    /// the URL itself.
    pub(crate) fn reveal_lead(&self, url: &str) -> String {
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
        if let Some(known) = self.allowed.get().filter(|known| known.asked == text) {
            return Ok(known.sent.clone());
        }
        let sent = self.judge_url(text)?;
        self.allowed.get_or_init(|| {
            Box::new(Allowed {
                asked: text.to_owned(),
                sent: sent.clone(),
            })
        });
        Ok(sent)
    }

    fn judge_url(&self, text: &str) -> Result<String, String> {
        let leading = marks::leads(text);
        let mut url = strict_url(&self.reveal_lead(text))?;
        url.set_fragment(None);
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        let allowed = self
            .hosts
            .iter()
            .any(|rule| rule.scheme == url.scheme() && rule.port == port && rule.takes(host));
        if !allowed {
            // A port that goes without saying is told where it is what differs.
            let of_host = |rule: &HostRule| rule.scheme == url.scheme() && rule.takes(host);
            let only_port = self.hosts.iter().any(of_host);
            let port = url.port().or(port.filter(|_| only_port));
            return Err(format!(
                "{}://{}{} is none of the definition's hosts",
                url.scheme(),
                if marks::any(host) { "(a secret)" } else { host },
                port.map(|port| format!(":{port}")).unwrap_or_default()
            ));
        }
        // A secret URL stays a mark until the request is finished.
        Ok(if leading { text.to_owned() } else { url.into() })
    }

    /// # Errors
    /// The request needs a secret that is not set, or a token where there is none.
    pub(crate) fn check_marks(&self, request: &RequestPlan) -> Result<(), String> {
        for text in request.texts() {
            if !marks::any(text) {
                continue;
            }
            for index in marks::indexes(text) {
                let known = match index {
                    marks::TOKEN => !matches!(self.token, TokenSource::None),
                    index => matches!(self.secrets.get(index), Some(Some(_))),
                };
                if !known {
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

/// Looks at one of a definition's `hosts` before any settings are known.
///
/// # Errors
/// It is no host.
pub(crate) fn check_host(text: &str, sender: Sender) -> Result<(), String> {
    host_rule(text, sender).map(drop)
}

fn host_rule(text: &str, sender: Sender) -> Result<HostRule, String> {
    if text.contains("://") {
        let url = strict_url(text)?;
        // An operator's URL setting may have a path; a bucket's or a broker's name ends the host.
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if sender != Sender::Http && !bare {
            return Err(format!("{text:?} is no host"));
        }
        return host_rule_of(&url, sender);
    }
    let (subdomains, host) = match text.strip_prefix("*.") {
        Some(host) => (true, host),
        None => (false, text),
    };
    // Whatever else a setting brings could end the host, or begin another.
    let (name, port) = match host.rsplit_once(':') {
        // An IPv6 address ends with a bracket, unless a port is behind it.
        Some(parts) if !host.ends_with(']') => parts,
        _ => (host, "0"),
    };
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && label.bytes().all(plain)
    };
    let is_literal = name.starts_with('[') && name.ends_with(']');
    if !(is_literal || name.split('.').all(is_label)) || port.parse::<u16>().is_err() {
        return Err(format!(
            "{text:?} is no host: write api.example.com, *.example.com for those below it, or \
             api.example.com:8443"
        ));
    }
    let url = strict_url(&format!("https://{host}"))?;
    Ok(HostRule {
        subdomains,
        ..host_rule_of(&url, sender)?
    })
}

/// # Errors
/// The sender carries nothing to such a URL.
fn host_rule_of(url: &Url, sender: Sender) -> Result<HostRule, String> {
    if !sender.schemes().contains(&url.scheme()) {
        return Err(format!(
            "{}: is not for this sender: begin with {}://",
            url.scheme(),
            sender.schemes().join(":// or ")
        ));
    }
    let port = url.port_or_known_default();
    if let Some(port) = port.filter(|port| !is_port_allowed(*port)) {
        return Err(format!(
            "port {port} is not allowed: use 80, 443, or 1024 and above"
        ));
    }
    Ok(HostRule {
        scheme: url.scheme().to_owned(),
        host: url.host_str().unwrap_or_default().to_owned(),
        subdomains: false,
        port,
    })
}

/// Without those that need a setting that is not set.
fn options(definition: &Definition, settings: &CheckedSettings) -> SenderOptions {
    let set = definition.options.iter().filter_map(|(name, template)| {
        let value = template.reveal(settings)?;
        Some((name.clone(), Secret::new(value)))
    });
    SenderOptions::new(set.collect())
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
                let pair = BASE64.encode(format!("{user}:{password}"));
                header("authorization", format!("Basic {pair}"))
            }
            _ => Ok(None),
        },
        AuthSpec::Header {
            name,
            value,
            prefix,
            base64,
        } => match reveal(value) {
            Some(value) if *base64 => header(name, prefix.clone() + &BASE64.encode(value)),
            Some(value) => header(name, prefix.clone() + &value),
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
        AuthSpec::UrlHmac {
            hash,
            secret,
            timestamp,
            signature,
        } => Ok(reveal(secret).map(|secret| {
            Auth::UrlHmac(UrlHmac {
                hash: *hash,
                secret: Secret::new(secret),
                timestamp: timestamp.clone(),
                signature: signature.clone(),
            })
        })),
        AuthSpec::OAuth1(spec) => Ok(oauth1(spec, settings)),
        AuthSpec::AwsSigV4(spec) => aws_sigv4(spec, settings),
        AuthSpec::Token(spec) => Ok(Some(Auth::Token(spec.place.clone()))),
    }
}

fn oauth1(spec: &OAuth1Spec, settings: &CheckedSettings) -> Option<Auth> {
    Some(Auth::OAuth1(OAuth1 {
        consumer_key: spec.consumer_key.reveal(settings)?,
        consumer_secret: Secret::new(spec.consumer_secret.reveal(settings)?),
        token: spec.token.reveal(settings)?,
        token_secret: Secret::new(spec.token_secret.reveal(settings)?),
    }))
}

fn aws_sigv4(spec: &SigV4Spec, settings: &CheckedSettings) -> Result<Option<Auth>, Error> {
    let (Some(access_key_id), Some(secret), Some(region), Some(service)) = (
        spec.access_key_id.reveal(settings),
        spec.secret_access_key.reveal(settings),
        spec.region.reveal(settings),
        spec.service.reveal(settings),
    ) else {
        return Ok(None);
    };
    for text in [&access_key_id, &region, &service] {
        check_header_value("authorization", text)
            .map_err(|problem| setting_error("auth", &problem))?;
    }
    let session_token = spec.session_token.as_ref().and_then(|t| t.reveal(settings));
    Ok(Some(Auth::AwsSigV4(SigV4 {
        access_key_id,
        secret_access_key: Secret::new(secret),
        session_token: session_token.map(Secret::new),
        region,
        service,
    })))
}

fn setting_error(setting: &str, problem: &str) -> Error {
    Error::Settings(vec![crate::definition::settings::SettingProblem {
        setting: setting.to_owned(),
        problem: problem.to_owned(),
    }])
}
