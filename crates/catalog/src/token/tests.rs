//! What is sent for a token, and what an answer gives.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::definition::Folder;
use crate::definition::tests::folder;
use crate::{Origin, Planned, Stamp, Transformer};

const SETTINGS: &str = r#"
name = "T"
category = "t"
hosts = ["a.example.com"]
[settings.access_token]
type = "string"
secret = true
help = "h"
[settings.region]
type = "string"
default = "eu"
help = "h"
[settings.client_id]
type = "string"
help = "h"
[settings.client_secret]
type = "string"
secret = true
help = "h"
[settings.refresh_token]
type = "string"
secret = true
help = "h"
"#;

const REFRESH: &str = r#"
[auth]
kind = "oauth2"
grant = "refresh_token"
token_url = "https://login.{{settings.region}}.example.com/oauth2/token"
client_id = "{{settings.client_id}}"
client_secret = "{{secret.client_secret}}"
refresh_token = "{{secret.refresh_token}}"
access_token = "{{secret.access_token}}"
"#;

const CLIENT: &str = r#"
[auth]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://login.example.com/token"
client_id = "{{settings.client_id}}"
client_secret = "{{secret.client_secret}}"
client_auth = "basic"
scope = "read write"
params = { audience = "https://{{settings.region}}" }
query = "access token"
"#;

const LOGIN: &str = r#"
[auth]
kind = "session"
header = "X-Session"
access_token = "{{secret.access_token}}"
[auth.login]
url = "https://a.example.com/login"
headers = { "x-client" = "{{settings.client_id}}" }
json = { user = { name = "{{settings.client_id}}", keys = ["{{secret.client_secret}}", 1] } }
token = '.body.auth.token'
expires_s = 60
"#;

const PROGRAM: &str = r#"{"url": "https://a.example.com/", "body": {"x": "{{auth.token}}"}}"#;

fn toml(auth: &str) -> String {
    format!("{SETTINGS}{auth}")
}

fn bare(auth: &str, program: &str) -> Folder {
    let toml = toml(auth);
    folder(
        "test",
        &[("destination.toml", toml.as_str()), ("event.vrl", program)],
    )
}

fn transformer(auth: &str, settings: Value) -> Transformer {
    let definition = Arc::new(Definition::load(bare(auth, PROGRAM)).unwrap());
    let raw: model::Settings = serde_json::from_value(settings).unwrap();
    let checked = definition.check_settings(&raw).unwrap();
    Transformer::new(definition, checked, &[], None, None).unwrap()
}

fn all_set() -> Value {
    json!({"client_id": "id&1", "client_secret": "s:3cret", "refresh_token": "r/1"})
}

/// The one request of an event.
fn planned(transformer: &mut Transformer) -> RequestPlan {
    let event = br#"{"type":"track"}"#.as_slice().into();
    match transformer.event(&event, false, Origin::of_tool(0)) {
        Planned::Send { mut requests, .. } => requests.remove(0),
        other => panic!("{other:?}"),
    }
}

fn finished(transformer: &mut Transformer, token: Option<&str>) -> FinalRequest {
    let request = planned(transformer);
    let token = token.map(Secret::new);
    let stamp = Stamp {
        message_id: "m",
        now_unix_s: 1,
        token: token.as_ref(),
    };
    transformer.finish(&request, stamp)
}

fn check_request(transformer: &Transformer, rotated: Option<&str>, expected: Expect) {
    let rotated = rotated.map(Secret::new);
    let TokenRequest { plan, request } = transformer
        .token_request(rotated.as_ref(), 1_700_000_000)
        .unwrap();
    let headers = request.headers.iter();
    let headers: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let line = plan.request_line(transformer.definition());
    let (method, url) = (&request.method, &request.url);
    expected.assert_eq(&format!(
        "{line}\n{method} {url}\n{}\n{body}",
        headers.concat()
    ));
}

fn judged(transformer: &Transformer, status: u16, body: &str) -> Result<Token, TokenRefused> {
    let refresh_token = Secret::new("rotated-before");
    transformer.judge_token(TokenAnswer {
        status,
        headers: &[("Retry-After".to_owned(), "7".to_owned())],
        body: body.as_bytes(),
        refresh_token: Some(&refresh_token),
        now_unix_s: 1_700_000_000,
    })
}

fn check_refused(transformer: &Transformer, status: u16, body: &str, failure: Failure, why: &str) {
    let refused = judged(transformer, status, body).unwrap_err();
    assert_eq!((refused.failure, refused.detail.as_str()), (failure, why));
}

#[test]
fn a_refresh_token_is_exchanged_in_the_body() {
    let transformer = transformer(REFRESH, all_set());
    check_request(
        &transformer,
        None,
        expect![[r#"
            POST https://login.eu.example.com/oauth2/token
            POST https://login.eu.example.com/oauth2/token
            accept: application/json
            content-type: application/x-www-form-urlencoded

            grant_type=refresh_token&refresh_token=r%2F1&client_id=id%261&client_secret=s%3A3cret"#]],
    );
    let rotated = transformer
        .token_request(Some(&Secret::new("r2")), 0)
        .unwrap();
    let body = String::from_utf8_lossy(&rotated.request.body).into_owned();
    assert!(
        body.contains("&refresh_token=r2&") && !body.contains("r%2F1"),
        "{body}"
    );
}

#[test]
fn client_credentials_may_go_in_a_header_and_the_token_into_the_query() {
    let mut transformer = transformer(CLIENT, all_set());
    check_request(
        &transformer,
        None,
        expect![[r#"
            POST https://login.example.com/token
            POST https://login.example.com/token
            accept: application/json
            authorization: Basic aWQlMjYxOnMlM0EzY3JldA==
            content-type: application/x-www-form-urlencoded

            grant_type=client_credentials&scope=read%20write&audience=https%3A%2F%2Feu"#]],
    );
    let request = finished(&mut transformer, Some("t/1"));
    assert_eq!(request.url, "https://a.example.com/?access%20token=t%2F1");
}

#[test]
fn a_log_in_gives_a_token() {
    let mut transformer = transformer(LOGIN, all_set());
    check_request(
        &transformer,
        None,
        expect![[r#"
            POST https://a.example.com/login
            POST https://a.example.com/login
            x-client: id&1
            content-type: application/json

            {"user":{"keys":["s:3cret",1],"name":"id&1"}}"#]],
    );
    let token = judged(&transformer, 201, r#"{"auth":{"token":"abc"}}"#).unwrap();
    assert_eq!((token.value.reveal(), token.lifetime_s), ("abc", 60));
    let request = finished(&mut transformer, Some("abc"));
    let header = request.headers.iter().find(|(name, _)| name == "x-session");
    assert_eq!(header.unwrap().1, "abc");
    assert_eq!(&request.body[..], br#"{"x":"abc"}"#);
    check_refused(
        &transformer,
        200,
        r#"{"auth":{"token":7},"secret":"x"}"#,
        Failure::Unauthorized,
        "no token, answer 200 has no text in the token's place",
    );
}

#[test]
fn a_google_service_account_signs_its_claim() {
    let pem = include_str!("tests/service_account.pem");
    let key = json!({
        "type": "service_account",
        "private_key_id": "k1",
        "private_key": pem,
        "client_email": "robot@project.iam.gserviceaccount.com",
    });
    let auth = r#"
[auth]
kind = "google_service_account"
credentials = "{{secret.client_secret}}"
scope = "https://www.googleapis.com/auth/bigquery"
"#;
    // As it is downloaded: with line breaks.
    let file = serde_json::to_string_pretty(&key).unwrap();
    let transformer = transformer(auth, json!({"client_secret": file}));
    let TokenRequest { plan, request } = transformer.token_request(None, 1_700_000_000).unwrap();
    assert_eq!(
        plan.request_line(transformer.definition()),
        "POST https://oauth2.googleapis.com/token"
    );
    // Signed by OpenSSL with the same key.
    let signed = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJhdWQiOiJodHRwczovL29hdXRoMi5nb29nbGVhcGlzLmNvbS90b2tlbiIsImV4cCI6MTcwMDAwMzYwMCwiaWF0IjoxNzAwMDAwMDAwLCJpc3MiOiJyb2JvdEBwcm9qZWN0LmlhbS5nc2VydmljZWFjY291bnQuY29tIiwic2NvcGUiOiJodHRwczovL3d3dy5nb29nbGVhcGlzLmNvbS9hdXRoL2JpZ3F1ZXJ5In0.HxVuwtNQ67NUkPHP973ROIFXMijl4a0fVk4eeyShkObOGeMjoHeIXJDqJ6ahB_NRg3m9vwJTezCIi0NC6EWd5K-LL3ssfFvIcqRT9wM3NHjhgW3sqxWLrPo_JkAY6cEn7k03fqCyUH_9105aHjBexZwXNlKE833HB5eAS_B6ZnWRo_tlaShQMxli5liwoRHePtl4WMlsIC5vK5s6YJcbqghII0C9FAOe-en7gBCTH-OAw6HDSesgq91nFkCfNQFdOGt4ETYgJ8PaP0kfMeUGyEW-Vat9Wb0TvI-SywsO6vHDFFls25QwffhhBip-NaRtf1Wth3gVj0eMkDb5oTmzOw";
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        format!("{grant}&assertion={signed}")
    );
    let wrong = |credentials: &str, told: &str| {
        let definition = Definition::load(bare(auth, PROGRAM)).unwrap();
        let raw = serde_json::from_value(json!({"client_secret": credentials})).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        let problem = definition.check_token(&checked).unwrap_err().to_string();
        assert!(
            problem.contains(told) && !problem.contains("s3cret"),
            "{problem}"
        );
    };
    wrong("{\"s3cret\": 1}", "no JSON key file of a service account");
    wrong(
        r#"{"client_email": "e", "private_key": "s3cret"}"#,
        "no RSA key in PKCS #8 PEM",
    );
}

#[test]
fn a_token_that_is_set_is_used_as_it_is() {
    for auth in [REFRESH, LOGIN] {
        let mut transformer = transformer(auth, json!({"access_token": "given"}));
        let request = planned(&mut transformer);
        assert!(!transformer.needs_token(&request));
        let request = finished(&mut transformer, Some("fetched"));
        assert_eq!(&request.body[..], br#"{"x":"given"}"#);
        assert!(transformer.token_request(None, 0).is_err());
    }
}

#[test]
fn only_requests_with_auth_or_the_placeholder_need_a_token() {
    let needs = |program: &str| {
        let definition = Arc::new(Definition::load(bare(REFRESH, program)).unwrap());
        let checked = definition.check_settings(&Default::default()).unwrap();
        let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        let request = planned(&mut transformer);
        transformer.needs_token(&request)
    };
    assert!(needs(r#"{"url": "https://a.example.com/"}"#));
    assert!(!needs(
        r#"{"url": "https://a.example.com/", "auth": false}"#
    ));
    assert!(needs(
        r#"{"url": "https://a.example.com/", "auth": false, "headers": {"x": "{{auth.token}}"}}"#
    ));
}

#[test]
fn what_cannot_be_fetched_is_told_and_programs_run_without() {
    let definition = Definition::load(bare(REFRESH, PROGRAM)).unwrap();
    let told = |settings: Value| {
        let raw = serde_json::from_value(settings).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        definition
            .check_token(&checked)
            .map_err(|problem| problem.to_string())
    };
    assert_eq!(
        told(json!({"client_id": "i"})).unwrap_err(),
        "client_secret: no token can be fetched without it: set client_secret, refresh_token, \
         or set access_token"
    );
    assert_eq!(told(json!({"access_token": "t"})), Ok(()));
    assert_eq!(told(all_set()), Ok(()));
    let mut hostile = all_set();
    hostile["region"] = "evil.example/".into();
    assert_eq!(
        told(hostile).unwrap_err(),
        "auth: a setting in the host of the token's url is no part of a name"
    );
    let mut transformer = transformer(REFRESH, json!({}));
    let request = finished(&mut transformer, Some("tok"));
    assert!(
        request
            .headers
            .contains(&("authorization".to_owned(), "Bearer tok".to_owned()))
    );
}

#[test]
fn the_same_settings_are_the_same_grant() {
    let grant = |settings| transformer(REFRESH, settings).grant().unwrap();
    assert_eq!(grant(all_set()), grant(all_set()));
    for (name, value) in [
        ("client_secret", "other"),
        ("refresh_token", "other"),
        ("region", "us"),
    ] {
        let mut changed = all_set();
        changed[name] = value.into();
        assert_ne!(grant(all_set()), grant(changed), "{name}");
    }
}

#[test]
fn log_ins_that_look_elsewhere_for_their_token_share_none() {
    let grant = |auth: &str| transformer(auth, all_set()).grant().unwrap();
    assert_eq!(grant(LOGIN), grant(LOGIN));
    let elsewhere = LOGIN.replace(".body.auth.token", ".body.auth.other");
    assert_ne!(grant(LOGIN), grant(&elsewhere));
    let shorter = LOGIN.replace("expires_s = 60", "expires_s = 30");
    assert_ne!(grant(LOGIN), grant(&shorter));
}

#[test]
fn a_refusal_shows_no_secret_that_a_header_or_a_token_holds() {
    let transformer = transformer(CLIENT, all_set());
    let sent = transformer.token_request(None, 0).unwrap().request;
    let is_auth = |header: &&(String, String)| header.0 == "authorization";
    let (_, basic) = sent.headers.iter().find(is_auth).unwrap();
    for (body, told) in [
        (
            format!("you sent {basic}"),
            "no token, answer 401: you sent ****",
        ),
        (
            r#"{"access_token": "at-5", "hint": "x"}"#.to_owned(),
            "no token, answer 401",
        ),
    ] {
        check_refused(&transformer, 401, &body, Failure::Unauthorized, told);
    }
}

#[test]
fn answers_are_judged_and_show_no_secret() {
    let transformer = transformer(REFRESH, all_set());
    let fine = |body: &str| judged(&transformer, 200, body).unwrap();
    let token = fine(r#"{"access_token": "t", "expires_in": 90, "refresh_token": "r2"}"#);
    assert_eq!((token.value.reveal(), token.lifetime_s), ("t", 90));
    assert_eq!(token.refresh_token.unwrap().reveal(), "r2");
    assert_eq!(
        fine(r#"{"access_token": "t", "expires_in": "7"}"#).lifetime_s,
        7
    );
    let token = fine(r#"{"access_token": "t"}"#);
    assert_eq!(token.lifetime_s, TOKEN_LIFETIME_S_DEFAULT);
    assert!(!format!("{token:?}").contains("\"t\""));

    let refused =
        |status, body, failure, why| check_refused(&transformer, status, body, failure, why);
    refused(
        400,
        r#"{"error": "invalid_grant", "error_description": "r/1 and rotated-before are gone"}"#,
        Failure::Unauthorized,
        "no token, answer 400: invalid_grant: r/1 and **** are gone",
    );
    refused(
        403,
        "client s:3cret?",
        Failure::Unauthorized,
        "no token, answer 403: client ****?",
    );
    let retry_after_s = Some(7);
    refused(
        503,
        "",
        Failure::Unavailable { retry_after_s },
        "no token, answer 503",
    );
    refused(
        429,
        "",
        Failure::RateLimited { retry_after_s },
        "no token, answer 429",
    );
    refused(302, "", Failure::Redirect, "no token, answer 302");
    refused(
        200,
        r#"{"ok": false, "error": "bad_client", "token": "abc"}"#,
        Failure::Unauthorized,
        "no token, answer 200 has no text in the token's place: bad_client",
    );
    refused(
        200,
        "{\"access_token\": \"a\\r\\nx: y\"}",
        Failure::Unauthorized,
        "no token, answer 200 has a token with a control character in it",
    );
}

#[test]
fn mistakes_in_auth_are_told() {
    let told = |auth: &str, program: &str| match Definition::load(bare(auth, program)) {
        Ok(_) => "fine".to_owned(),
        Err(error) => {
            let text = error.to_string();
            text.split_once(": ").unwrap().1.to_owned()
        }
    };
    let check = |auth: &str, expected: Expect| expected.assert_eq(&told(auth, "null"));
    check(
        &REFRESH.replace("refresh_token\"\n", "client_credentials\"\n"),
        expect![[r#"refresh_token belongs to grant = "refresh_token", which needs it"#]],
    );
    check(
        &REFRESH.replace("\"refresh_token\"", "\"password\""),
        expect![[r#"grant "password" is none: use refresh_token or client_credentials"#]],
    );
    check(
        &format!("{REFRESH}query = \"q\"\nprefix = \"p\"\n"),
        expect!["[auth] has either query, or header and prefix"],
    );
    check(
        &format!("{REFRESH}client_auth = \"jwt\"\n"),
        expect![[r#"client_auth "jwt" is none: use body or basic"#]],
    );
    check(
        &LOGIN.replace("json =", "form = {}\njson ="),
        expect!["[auth.login] has either form or json"],
    );
    check(
        &LOGIN.replace("settings.client_id", "settings.nobody"),
        expect!["{{settings.nobody}} names no setting; add [settings.nobody]"],
    );
    check(
        "[auth]\nkind = \"session\"\n",
        expect![[r#"[auth] kind = "session" needs login"#]],
    );
    check(
        "[auth]\nkind = \"aws_sigv4\"\nservice = \"s3\"\n",
        expect![[r#"[auth] kind = "aws_sigv4" needs access_key_id"#]],
    );
    check(
        "[auth]\nkind = \"url_hmac\"\nhash = \"md5\"\nsecret = \"s\"\nsignature = \"s\"\n",
        expect![[r#"hash "md5" is none: use sha1 or sha256"#]],
    );
    let two = format!("{REFRESH}{CLIENT}").replace("[auth]", "[[auth]]");
    check(
        &two,
        expect!["a definition has at most one [[auth]] of oauth2, session, google_service_account"],
    );
    let program = "\n{\"url\": \"{{auth.token}}\"}";
    expect!["{{auth.token}} needs an [auth] whose token is fetched: oauth2, session or google_service_account"].assert_eq(&told("[auth]\nkind = \"none\"\n", program));
}

const OPTIONAL: &str = r#"
[auth]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://login.{{settings.region}}.example.com/token"
client_id = "{{settings.client_id}}"
client_secret = "{{secret.client_secret}}"
access_token = "{{secret.access_token}}"
optional = true
[request]
headers = { "x-token" = "Token {{auth.token}}" }
url = "https://a.example.com/"
"#;

#[test]
fn a_token_is_wanted_where_its_settings_are_set_and_else_none() {
    let definition = Arc::new(Definition::load(bare(OPTIONAL, "{}")).unwrap());
    let made = |settings: Value| {
        let raw: model::Settings = serde_json::from_value(settings).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        let told = definition.check_token(&checked).err();
        let definition = Arc::clone(&definition);
        let transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        (transformer, told.map(|problem| problem.to_string()))
    };
    let header = |request: &FinalRequest, name: &str| {
        let mut headers = request.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    // `region` has a default: that it is set says nothing.
    let (mut without, told) = made(json!({}));
    assert_eq!(told, None);
    let request = planned(&mut without);
    assert!(!without.needs_token(&request));
    let request = finished(&mut without, None);
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(header(&request, "x-token"), None);

    let (mut with, told) = made(json!({"client_id": "i", "client_secret": "s"}));
    assert_eq!(told, None);
    let request = planned(&mut with);
    assert!(with.needs_token(&request));
    let request = finished(&mut with, Some("tok-1"));
    assert_eq!(header(&request, "authorization").unwrap(), "Bearer tok-1");
    assert_eq!(header(&request, "x-token").unwrap(), "Token tok-1");

    let (mut given, told) = made(json!({"access_token": "mine"}));
    assert_eq!(told, None);
    let request = finished(&mut given, None);
    assert_eq!(header(&request, "x-token").unwrap(), "Token mine");

    // Half of it is a mistake.
    let (_, told) = made(json!({"client_id": "i"}));
    let told = told.unwrap();
    assert!(told.contains("set client_secret"), "{told}");
}

#[test]
fn a_program_that_names_a_token_where_there_is_none_is_refused() {
    let auth = OPTIONAL.split("[request]").next().unwrap();
    let mut without = transformer(auth, json!({}));
    let planned = without.event(
        &br#"{"type":"track"}"#.as_slice().into(),
        false,
        Origin::of_tool(0),
    );
    let Planned::Rejected(reason, detail) = planned else {
        panic!("{planned:?}");
    };
    assert_eq!(reason.as_str(), "bad_request");
    assert!(detail.contains("not set"), "{detail}");
}

#[test]
fn a_token_stands_in_requests_but_not_in_hosts() {
    let load = |url: &str, auth: &str| {
        let request = format!("{auth}[request]\nurl = \"{url}\"\n");
        Definition::load(bare(&request, "{}")).map(|_| ())
    };
    load("https://a.example.com/{{auth.token}}", CLIENT).unwrap();
    let told = load("https://{{auth.token}}.example.com/", CLIENT).unwrap_err();
    assert!(told.to_string().contains("not in a host"), "{told}");
    let told = load("https://a.example.com/{{auth.token}}", "").unwrap_err();
    assert!(
        told.to_string().contains("whose token is fetched"),
        "{told}"
    );
}

#[test]
fn the_service_of_an_aws_signature_may_be_a_setting() {
    let auth = "[auth]\nkind = \"aws_sigv4\"\naccess_key_id = \"id\"\nsecret_access_key = \"k\"\n\
                region = \"{{settings.region}}\"\nservice = \"{{settings.client_id}}\"\n";
    let signed = |settings: Value| {
        let definition = Arc::new(Definition::load(bare(auth, BARE)).unwrap());
        let raw: model::Settings = serde_json::from_value(settings).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        let request = finished(&mut transformer, None);
        let mut headers = request.headers.into_iter();
        headers
            .find(|(name, _)| name == "authorization")
            .map(|(_, value)| value)
    };
    let with = signed(json!({"client_id": "aoss"})).unwrap();
    assert!(with.contains("/eu/aoss/aws4_request"), "{with}");
    assert_eq!(signed(json!({})), None, "left out, as the setting is");
}

#[test]
fn urls_and_oauth_1_sign_what_is_sent() {
    let request = |auth: &str| {
        let definition = Arc::new(Definition::load(bare(auth, BARE)).unwrap());
        let raw = serde_json::from_value(json!({"client_id": "ck", "client_secret": "cs"}));
        let checked = definition.check_settings(&raw.unwrap()).unwrap();
        let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
        finished(&mut transformer, None)
    };
    let url_hmac = "[auth]\nkind = \"url_hmac\"\nhash = \"sha256\"\n\
                    secret = \"{{secret.client_secret}}\"\ntimestamp = \"ts\"\nsignature = \"s\"\n";
    let url = request(url_hmac).url;
    let (signed, signature) = url.split_once("&s=").unwrap();
    assert_eq!(signed, "https://a.example.com/a?b=1&ts=1");
    assert_eq!(
        signature,
        crate::signature::HmacHash::Sha256.hex("cs", b"/a?b=1&ts=1")
    );
    let oauth1 = "[auth]\nkind = \"oauth1\"\nconsumer_key = \"{{settings.client_id}}\"\n\
                  consumer_secret = \"{{secret.client_secret}}\"\ntoken = \"t\"\ntoken_secret = \"ts\"\n";
    let headers = request(oauth1).headers;
    let (_, value) = headers
        .iter()
        .find(|(name, _)| name == "authorization")
        .unwrap();
    assert!(
        value.starts_with("OAuth oauth_consumer_key=\"ck\", oauth_nonce=\""),
        "{value}"
    );
    assert!(value.contains("oauth_timestamp=\"1\", oauth_token=\"t\", oauth_version=\"1.0\""));
}

const BARE: &str = r#"{"url": "https://a.example.com/a?b=1", "body": {"x": 1}}"#;
