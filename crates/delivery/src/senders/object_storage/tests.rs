//! Against a listener that speaks as much HTTP as a bucket does, and a directory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use catalog::definition::Folder;
use catalog::{Definition, Origin, Planned, Stamp, Transformer};
use serde_json::json;
use tokio::task::LocalSet;

use super::*;
use crate::http::dial::tls_connector;
use crate::options::Options;
use crate::senders::Senders;

type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A bucket that answers every request with `answer`, and keeps it: head and body.
fn bucket(answer: &'static str) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let size = stream.read(&mut buffer).unwrap_or(0);
                seen.extend_from_slice(&buffer[..size]);
                let end = seen.windows(4).position(|four| four == b"\r\n\r\n");
                let Some(end) = end else { continue };
                let head = String::from_utf8_lossy(&seen[..end]).into_owned();
                let length = head
                    .to_lowercase()
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned))
                    .map_or(0, |length| length.parse().unwrap());
                if seen.len() >= end + 4 + length {
                    kept.lock().unwrap().push((head, seen.split_off(end + 4)));
                    break;
                }
                assert!(size > 0, "cut off");
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, requests)
}

const PUT: &str =
    "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

const TOML: &str = r#"
name = "T"
category = "t"
sender = "object_storage"
hosts = ["s3://bucket", "gs://bucket", "az://bucket", "file:///"]
[settings.options]
type = "map"
default = {}
help = "h"
[settings.endpoint]
type = "string"
help = "h"
[settings.key]
type = "string"
secret = true
help = "h"
[settings.directory]
type = "string"
help = "h"
[settings.account]
type = "string"
help = "h"
[settings.google]
type = "string"
secret = true
help = "h"
[options]
aws_access_key_id = "{{settings.account}}"
aws_secret_access_key = "{{secret.key}}"
aws_region = "eu-west-1"
aws_endpoint = "{{settings.endpoint}}"
azure_account = "{{settings.account}}"
azure_account_key = "{{secret.key}}"
azure_endpoint = "{{settings.endpoint}}"
google_service_account = "{{secret.google}}"
directory = "{{settings.directory}}"
"#;

fn request(settings: serde_json::Value, url: &str, gzip: bool) -> FinalRequest {
    let program = format!(
        r#"{{"method": "PUT", "url": "{url}", "body": string!(.event.text), "encoding": "text", "gzip": {gzip}}}"#
    );
    let files = [("destination.toml", TOML), ("event.vrl", program.as_str())];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let folder = Folder {
        id: "t".to_owned(),
        place: "t".to_owned(),
        files: files.into(),
    };
    let definition = Arc::new(Definition::load(folder).unwrap());
    let settings: model::Settings = serde_json::from_value(settings).unwrap();
    let checked = definition.check_settings(&settings).unwrap();
    let mut transformer = Transformer::new(definition, checked, &[], None, None).unwrap();
    let event = json!({"text": "the object"}).to_string().into();
    let planned = transformer.event(&event, false, Origin::of_tool(0));
    let Planned::Send { requests, .. } = planned else {
        panic!("{planned:?}");
    };
    let stamp = Stamp {
        message_id: "m",
        now_unix_s: 0,
        token: None,
    };
    transformer.finish(&requests[0], stamp)
}

fn options(allow: bool) -> Options {
    let mut options = Options::default();
    if allow {
        options.egress.allow = vec!["127.0.0.0/8".parse().unwrap()];
    }
    options
}

fn senders(options: &Options) -> Senders {
    crate::delivery::senders(options, tls_connector(&options.egress).unwrap())
}

/// The status, or how it failed, and what was said.
fn told(sent: Sent) -> (String, String) {
    match sent {
        Sent::Answered(answer) => (
            answer.status.to_string(),
            String::from_utf8_lossy(&answer.body).into_owned(),
        ),
        Sent::Failed(failed) => (failed.failure.as_str().to_owned(), failed.detail),
        other => panic!("{other:?}"),
    }
}

fn send(options: &Options, request: FinalRequest) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let senders = senders(options);
        let timeout = Duration::from_secs(20);
        told(
            senders
                .objects
                .send(DestinationId(1), request, timeout)
                .await,
        )
    })
}

fn s3(address: SocketAddr) -> serde_json::Value {
    json!({"account": "AKID", "key": "secret", "endpoint": format!("http://{address}")})
}

#[test]
fn an_object_is_put_into_a_bucket_and_signed() {
    let (address, requests) = bucket(PUT);
    let sent = send(
        &options(true),
        request(s3(address), "s3://bucket/a/source=web/b%20c.gz", true),
    );
    assert_eq!(sent, ("200".to_owned(), String::new()));
    let requests = requests.lock().unwrap();
    let (head, body) = &requests[0];
    assert!(
        head.starts_with("PUT /bucket/a/source%3Dweb/b%20c.gz HTTP/1.1\r\n"),
        "{head}"
    );
    let head = head.to_lowercase();
    for part in [
        "authorization: aws4-hmac-sha256 credential=akid/",
        "/eu-west-1/s3/aws4_request",
        "x-amz-content-sha256: ",
        "content-type: application/gzip",
        &format!("host: {address}"),
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(requests.len(), 1);
    assert_eq!(gzip(b"the object"), *body);
}

#[test]
fn an_object_is_put_into_a_container() {
    let (address, requests) = bucket(
        "HTTP/1.1 201 Created\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let settings =
        json!({"account": "acc", "key": "c2VjcmV0", "endpoint": format!("http://{address}/acc")});
    let sent = send(
        &options(true),
        request(settings, "az://bucket/a/b.txt", false),
    );
    assert_eq!(sent.0, "201", "{sent:?}");
    let requests = requests.lock().unwrap();
    let (head, body) = &requests[0];
    assert!(
        head.starts_with("PUT /acc/bucket/a/b.txt HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("authorization: sharedkey acc:"),
        "{head}"
    );
    assert_eq!(body, b"the object");
}

#[test]
fn an_object_is_put_into_a_bucket_of_google() {
    let (address, requests) = bucket(PUT);
    let settings = google(&format!("http://{address}"));
    let sent = send(
        &options(true),
        request(settings, "gs://bucket/a/b.txt", false),
    );
    assert_eq!(sent.0, "200", "{sent:?}");
    let requests = requests.lock().unwrap();
    let (head, body) = &requests[0];
    assert!(
        head.starts_with("PUT /bucket/a%2Fb%2Etxt HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_lowercase().contains("authorization: bearer eyj"),
        "{head}"
    );
    assert_eq!(body, b"the object");
}

#[test]
fn what_a_bucket_says_is_told_as_it_said_it() {
    for (answer, status, words) in [
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\nconnection: close\r\n\r\n<Code>No<",
            "403",
            "<Code>No<",
        ),
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "404",
            "",
        ),
        (
            "HTTP/1.1 503 Slow Down\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "503",
            "",
        ),
        (
            "HTTP/1.1 301 Moved\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "301",
            "",
        ),
    ] {
        let (address, requests) = bucket(answer);
        let sent = send(&options(true), request(s3(address), "s3://bucket/a", false));
        assert_eq!(sent, (status.to_owned(), words.to_owned()));
        assert_eq!(
            requests.lock().unwrap().len(),
            1,
            "the scheduler retries, nobody else"
        );
    }
}

#[test]
fn a_bucket_is_dialled_through_the_egress_guard() {
    let (address, requests) = bucket(PUT);
    let settings =
        json!({"account": "a", "key": "c2VjcmV0", "endpoint": format!("http://{address}")});
    for url in ["s3://bucket/a", "az://bucket/a"] {
        let (failure, detail) = send(&options(false), request(settings.clone(), url, false));
        assert_eq!(failure, "blocked", "{detail}");
    }
    // A key file may name another address.
    let (failure, detail) = send(
        &options(false),
        request(google(&format!("http://{address}")), "gs://bucket/a", false),
    );
    assert_eq!(failure, "blocked", "{detail}");
    assert!(requests.lock().unwrap().is_empty());
}

fn google(base_url: &str) -> serde_json::Value {
    json!({"google": json!({
        "type": "service_account", "private_key": include_str!("../../../../catalog/src/token/tests/service_account.pem"), "private_key_id": "k",
        "client_email": "a@b.example", "gcs_base_url": base_url
    }).to_string()})
}

#[test]
fn options_that_make_no_client_hold_the_destination() {
    for (settings, url, words) in [
        (json!({}), "s3://bucket/a", "aws_access_key_id is not set"),
        (
            json!({"account": "a"}),
            "az://bucket/a",
            "neither azure_account_key nor azure_sas_token",
        ),
        (json!({"account": "a", "key": "!"}), "az://bucket/a", ""),
        (json!({"google": "no json"}), "gs://bucket/a", ""),
    ] {
        let (status, detail) = send(&options(true), request(settings, url, false));
        assert_eq!(status, "401", "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn an_object_is_a_file_below_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("made/by/need");
    let settings = json!({"directory": root});
    let sent = send(
        &options(false),
        request(settings.clone(), "file:///a/source=web/b%20c.gz", true),
    );
    assert_eq!(sent, ("200".to_owned(), String::new()));
    let file = root.join("a/source=web/b c.gz");
    assert_eq!(std::fs::read(&file).unwrap(), gzip(b"the object"));
    // Again, and it is replaced; nothing else is left behind.
    let sent = send(
        &options(false),
        request(settings, "file:///a/source=web/b%20c.gz", false),
    );
    assert_eq!(sent.0, "200");
    assert_eq!(std::fs::read(&file).unwrap(), b"the object");
    assert_eq!(
        std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn no_key_leads_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    // The catalog refuses dots already: this is the sender alone.
    for path in [
        "/a/%2e%2e%2f%2e%2e%2fout",
        "/a%2f..%2f..%2fout",
        "/",
        "",
        "/a//b",
        "/a%00b",
        "/a?b",
    ] {
        let mut request = request(json!({"directory": root}), "file:///a", false);
        request.url = format!("file://{path}");
        let (status, detail) = send(&options(false), request);
        assert_eq!(status, "400", "{path}: {detail}");
    }
    assert!(!dir.path().join("out").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (root, status) in [
        (dir.path().join("file"), "404"),
        ("/proc/no/such".into(), "404"),
    ] {
        let settings = json!({"directory": root});
        let (came, detail) = send(&options(false), request(settings, "file:///a", false));
        assert_eq!(came, status, "{}: {detail}", root.display());
    }
}

#[test]
fn changed_options_are_another_client() {
    let (first, to_first) = bucket(PUT);
    let (second, to_second) = bucket(PUT);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let senders = senders(&options(true));
        for address in [first, first, second] {
            let request = request(s3(address), "s3://bucket/a", false);
            let sent = senders
                .objects
                .send(DestinationId(1), request, Duration::from_secs(20))
                .await;
            assert_eq!(told(sent).0, "200");
        }
    });
    assert_eq!(to_first.lock().unwrap().len(), 2);
    assert_eq!(to_second.lock().unwrap().len(), 1);
}
