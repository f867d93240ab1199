//! A grant: a destination's settings made into the request for its token.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use model::registry::CheckedSettings;
use ring::digest;
use serde_json::Value;

use super::google::ServiceAccount;
use super::{GrantId, REFRESH_TOKEN, TokenRequest};
use crate::binding::Binding;
use crate::definition::settings::SettingProblem;
use crate::definition::{Definition, Grant, LoginBody, TokenSpec};
use crate::encode;
use crate::finish::FinalRequest;
use crate::marks;
use crate::options::SenderOptions;
use crate::request::{Body, RequestPlan, check_header_value, http_url};
use crate::template::Template;

/// Everything that one request for a token needs, secrets in place.
pub(crate) struct TokenGrant {
    pub(crate) id: GrantId,
    method: String,
    /// Marked.
    url: String,
    headers: Vec<(String, String)>,
    body: GrantBody,
    /// Of a session; other services say it themselves.
    pub(super) expires_s: Option<u64>,
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGrant").finish_non_exhaustive()
    }
}

enum GrantBody {
    None,
    Form(Vec<(String, String)>),
    Json(String),
    Google(Box<ServiceAccount>),
}

impl TokenGrant {
    /// `None` where the definition needs no token and the operator has set nothing to get one with.
    ///
    /// # Errors
    /// A setting that is not set, or does not do.
    pub(crate) fn new(
        spec: &TokenSpec,
        binding: &Binding,
        definition: &Definition,
        settings: &CheckedSettings,
    ) -> Result<Option<Self>, SettingProblem> {
        let mut fill = Fill {
            settings,
            definition,
            unset: BTreeSet::new(),
            chosen: false,
        };
        let made = match &spec.grant {
            Grant::OAuth2 { .. } => oauth2(&spec.grant, &mut fill),
            Grant::Session { .. } => session(&spec.grant, &mut fill),
            Grant::GoogleServiceAccount { credentials, scope } => {
                google(&fill.text(credentials), scope)
            }
        };
        if !fill.unset.is_empty() {
            if spec.optional && !fill.chosen {
                return Ok(None);
            }
            return Err(unset(spec, &fill.unset));
        }
        let problem = |problem: String| SettingProblem {
            setting: "auth".to_owned(),
            problem,
        };
        let mut grant = made.map_err(problem)?;
        http_url(&binding.reveal_lead(&grant.url))
            .map_err(|wrong| problem(wrong.replacen("the url", "the token's url", 1)))?;
        for (name, value) in &grant.headers {
            check_header_value(name, value).map_err(problem)?;
        }
        grant.id = grant.identity(spec, binding);
        Ok(Some(grant))
    }

    fn identity(&self, spec: &TokenSpec, binding: &Binding) -> GrantId {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut feed = |text: &str| {
            // With its length, so that no two lists of texts are one.
            context.update(&text.len().to_be_bytes());
            context.update(text.as_bytes());
        };
        feed(&self.method);
        feed(&self.place(binding));
        self.headers.iter().for_each(|(name, value)| {
            feed(name);
            feed(value);
        });
        match &self.body {
            GrantBody::None => {}
            GrantBody::Form(pairs) => pairs.iter().for_each(|(name, value)| {
                feed(name);
                feed(value);
            }),
            GrantBody::Json(text) => feed(text),
            GrantBody::Google(account) => account.feed(&mut feed),
        }
        // Of two log-ins with one answer, each may look for its token elsewhere in it.
        if let Grant::Session {
            token, expires_s, ..
        } = &spec.grant
        {
            feed(token.text());
            feed(&expires_s.to_string());
        }
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        GrantId(id)
    }

    /// Its URL with secrets in place.
    fn place(&self, binding: &Binding) -> String {
        marks::expand(&self.url, |index, leading| match leading {
            true => binding.secret(index).to_owned(),
            false => encode::component(binding.secret(index)),
        })
        .into_owned()
    }

    /// `refresh_token`: the one that the service gave last, in place of the one that is configured.
    pub(crate) fn request(
        &self,
        binding: &Binding,
        refresh_token: Option<&Secret>,
        now_unix_s: u64,
    ) -> Result<TokenRequest, String> {
        let plan = RequestPlan {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: Vec::new(),
            body: Body::Empty,
            auth: false,
            cache_s: 0,
            gzip: false,
        };
        let mut headers = self.headers.clone();
        let form = |pairs: &[(String, String)]| {
            let mut out = String::new();
            for (name, value) in pairs {
                let rotated = refresh_token.filter(|_| name == REFRESH_TOKEN);
                encode::push_pair(&mut out, name, rotated.map_or(value, Secret::reveal));
            }
            (out, encode::FORM)
        };
        let (body, kind) = match &self.body {
            GrantBody::None => (String::new(), ""),
            GrantBody::Form(pairs) => form(pairs),
            GrantBody::Json(text) => (text.clone(), "application/json"),
            GrantBody::Google(account) => form(&account.form(now_unix_s)?),
        };
        if !kind.is_empty() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        let request = FinalRequest {
            method: self.method.clone(),
            url: self.place(binding),
            headers,
            body: body.into(),
            compress: false,
            options: SenderOptions::default(),
        };
        Ok(TokenRequest { plan, request })
    }

    /// Headers of the request that were made with secrets.
    pub(crate) fn secret_headers(&self) -> impl Iterator<Item = &str> {
        let plain = ["accept", "content-type"];
        let headers = self.headers.iter();
        headers
            .filter(move |(name, _)| !plain.contains(&name.as_str()))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the service may answer with another refresh token.
    pub(crate) fn rotates(&self) -> bool {
        matches!(&self.body, GrantBody::Form(pairs) if pairs.iter().any(|(name, _)| name == REFRESH_TOKEN))
            && self.expires_s.is_none()
    }
}

/// Fills templates, and remembers which settings they missed.
struct Fill<'a> {
    settings: &'a CheckedSettings,
    definition: &'a Definition,
    unset: BTreeSet<String>,
    /// The operator has set one of them that could have been left out.
    chosen: bool,
}

impl Fill<'_> {
    fn look(&mut self, template: &Template) {
        let unset: Vec<&str> = template.unset(self.settings).collect();
        let could_be_left_out = |name: &str| {
            let known = self.definition.settings.iter();
            let mut known = known.filter(|spec| spec.name == name);
            known.any(|spec| !spec.required && spec.default.is_none())
        };
        self.chosen |= template
            .names()
            .any(|name| !unset.contains(&name) && could_be_left_out(name));
        self.unset.extend(unset.into_iter().map(str::to_owned));
    }

    fn text(&mut self, template: &Template) -> String {
        self.look(template);
        template.reveal(self.settings).unwrap_or_default()
    }

    /// Marked, as a URL is shown.
    fn url(&mut self, template: &Template) -> Result<String, String> {
        self.look(template);
        if !template.keeps_host(self.settings) {
            return Err("a setting in the host of the token's url is no part of a name".to_owned());
        }
        Ok(template.marked_url(self.settings).unwrap_or_default())
    }

    fn tree(&mut self, tree: &Value) -> Value {
        match tree {
            Value::String(text) => match Template::parse(text, &self.definition.settings) {
                Ok(template) => self.text(&template).into(),
                // It was parsed when the definition was loaded.
                Err(_) => Value::Null,
            },
            Value::Array(items) => items.iter().map(|item| self.tree(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), self.tree(value)))
                .collect(),
            other => other.clone(),
        }
    }
}

fn unset(spec: &TokenSpec, unset: &BTreeSet<String>) -> SettingProblem {
    let names: Vec<&str> = unset.iter().map(String::as_str).collect();
    let instead = spec
        .access_token
        .as_ref()
        .and_then(|template| template.names().next());
    let or = instead.map_or_else(String::new, |name| format!(", or set {name}"));
    SettingProblem {
        setting: names.first().copied().unwrap_or_default().to_owned(),
        problem: format!(
            "no token can be fetched without it: set {}{or}",
            names.join(", ")
        ),
    }
}

fn post(url: String, headers: Vec<(String, String)>, body: GrantBody) -> TokenGrant {
    TokenGrant {
        id: GrantId([0; 32]),
        method: "POST".to_owned(),
        url,
        headers,
        body,
        expires_s: None,
    }
}

fn accept() -> (String, String) {
    ("accept".to_owned(), "application/json".to_owned())
}

/// RFC 6749, sections 2.3.1, 4.4 and 6.
fn oauth2(grant: &Grant, fill: &mut Fill<'_>) -> Result<TokenGrant, String> {
    let Grant::OAuth2 {
        token_url,
        client_id,
        client_secret,
        refresh_token,
        scope,
        params,
        basic,
    } = grant
    else {
        return Err("the grant is not of OAuth 2".to_owned());
    };
    let (id, secret) = (
        fill.text(client_id),
        client_secret.as_ref().map(|secret| fill.text(secret)),
    );
    let mut pairs = Vec::new();
    let mut push = |name: &str, value: String| pairs.push((name.to_owned(), value));
    match refresh_token {
        Some(token) => {
            push("grant_type", REFRESH_TOKEN.to_owned());
            push(REFRESH_TOKEN, fill.text(token));
        }
        None => push("grant_type", "client_credentials".to_owned()),
    }
    let mut headers = vec![accept()];
    if *basic {
        let pair = format!(
            "{}:{}",
            encode::component(&id),
            encode::component(&secret.unwrap_or_default())
        );
        let value = format!("Basic {}", STANDARD.encode(pair));
        headers.push(("authorization".to_owned(), value));
    } else {
        push("client_id", id);
        if let Some(secret) = secret {
            push("client_secret", secret);
        }
    }
    if let Some(scope) = scope.as_ref().and_then(|scope| scope.reveal(fill.settings)) {
        push("scope", scope);
    }
    for (name, value) in params {
        push(name, fill.text(value));
    }
    Ok(post(fill.url(token_url)?, headers, GrantBody::Form(pairs)))
}

fn session(grant: &Grant, fill: &mut Fill<'_>) -> Result<TokenGrant, String> {
    let Grant::Session {
        method,
        url,
        headers,
        body,
        expires_s,
        ..
    } = grant
    else {
        return Err("the grant is no log-in".to_owned());
    };
    let mut texts = |pairs: &[(String, Template)]| -> Vec<(String, String)> {
        let filled = pairs
            .iter()
            .map(|(name, value)| (name.clone(), fill.text(value)));
        filled.collect()
    };
    let headers = texts(headers);
    let body = match body {
        LoginBody::None => GrantBody::None,
        LoginBody::Form(pairs) => GrantBody::Form(texts(pairs)),
        LoginBody::Json(tree) => GrantBody::Json(fill.tree(tree).to_string()),
    };
    Ok(TokenGrant {
        method: method.clone(),
        expires_s: Some(*expires_s),
        ..post(fill.url(url)?, headers, body)
    })
}

fn google(credentials: &str, scope: &str) -> Result<TokenGrant, String> {
    let account = ServiceAccount::parse(credentials, scope)?;
    let url = account.token_uri().to_owned();
    Ok(post(
        url,
        vec![accept()],
        GrantBody::Google(Box::new(account)),
    ))
}
