//! Against real listeners that behave well, badly, or not at all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Failure;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Client, Reuse, Sent};
use crate::http::dial::{DialOptions, Dialer, tls_connector};
use crate::http::egress::EgressPolicy;
use crate::http::pool::{Pool, PoolOptions};
use crate::http::request::prepare;
use crate::http::resolver::tests::{Say, name_server, options};
use crate::http::resolver::{Resolver, ResolverOptions};

/// A receiver: `serve` is called for each connection with the number of that connection.
fn receiver(
    serve: impl Fn(TcpStream, u32) + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&accepted);
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream.unwrap(), number));
        }
    });
    (address, accepted)
}

/// Reads one request with a content-length body; false at the end of the connection.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if seen.len() >= end + 4 + length {
                return true;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(size) => seen.extend_from_slice(&buffer[..size]),
        }
    }
}

fn answering(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicU32>) {
    receiver(move |mut stream, _| {
        while read_request(&mut stream) {
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

fn local() -> EgressPolicy {
    EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..Default::default()
    }
}

fn client_with(policy: EgressPolicy, resolver: &ResolverOptions) -> Client {
    let tls = tls_connector(&policy).unwrap();
    let options = DialOptions {
        connect_timeout_ms: 2_000,
        tls_timeout_ms: 400,
        ..Default::default()
    };
    let dialer = Dialer {
        egress: Arc::new(policy),
        resolver: Resolver::new(resolver),
        tls,
        options,
    };
    let pool = Pool::new(PoolOptions::default());
    Client {
        dialer,
        pool,
        response_bytes_max: 64 * 1024,
    }
}

/// Sends `count` requests to `url`, one after the other, and shows how each ended.
fn send_all(policy: EgressPolicy, url: &str, count: usize, timeout: Duration) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = client_with(policy, &ResolverOptions::default());
        let mut shown = Vec::new();
        for _ in 0..count {
            shown.push(show(&send_one(&client, url, Reuse::Allowed, timeout).await));
        }
        shown
    })
}

async fn send_one(client: &Client, url: &str, reuse: Reuse, timeout: Duration) -> Sent {
    let body = Bytes::from_static(b"{\"n\":1}");
    match prepare("POST", url.to_owned(), Vec::new(), body) {
        Ok(prepared) => client.send(prepared, reuse, timeout).await,
        Err(bad) => Sent::Failed(crate::http::Failed::new(Failure::Blocked, bad.to_string())),
    }
}

fn show(sent: &Sent) -> String {
    match sent {
        Sent::Answered(answer) => format!(
            "{} {} bytes{}",
            answer.status,
            answer.body.len(),
            if answer.truncated { ", truncated" } else { "" }
        ),
        Sent::Failed(failed) => failed.failure.as_str().to_owned(),
        Sent::Stale => "stale".to_owned(),
        Sent::BadRequest(problem) => problem.to_string(),
    }
}

const LONG: Duration = Duration::from_secs(20);

fn once(url: String) -> String {
    send_all(local(), &url, 1, LONG).remove(0)
}

#[test]
fn one_connection_serves_many_requests() {
    let (address, accepted) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let shown = send_all(local(), &format!("http://{address}/a"), 5, LONG);
    assert_eq!(shown, vec!["200 2 bytes"; 5]);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    let (address, accepted) = answering(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(
        send_all(local(), &format!("http://{address}/"), 5, LONG),
        vec!["204 0 bytes"; 5]
    );
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    let (address, accepted) =
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!(
        send_all(local(), &format!("http://{address}/"), 3, LONG),
        vec!["200 2 bytes"; 3]
    );
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[test]
fn connection_close_is_heeded() {
    let (address, accepted) =
        answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(
        send_all(local(), &format!("http://{address}/"), 3, LONG),
        vec!["200 0 bytes"; 3]
    );
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[test]
fn a_kept_connection_that_died_is_stale_and_never_lost() {
    // Answers once, then closes as soon as the next request has arrived.
    let (address, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        read_request(&mut stream);
    });
    let shown = send_all(local(), &format!("http://{address}/"), 2, LONG);
    assert_eq!(shown, ["200 0 bytes", "stale"]);
}

#[test]
fn no_answer_is_indeterminate() {
    let (address, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
    });
    assert_eq!(once(format!("http://{address}/")), "indeterminate");
    let (address, _) = answering(b"HTTP/1.1 200 OK\r\ncontent-le");
    let shown = send_all(
        local(),
        &format!("http://{address}/"),
        1,
        Duration::from_millis(300),
    );
    assert_eq!(shown, ["indeterminate"]);
    let (address, _) = answering(b"this is no http at all, whatever it is\r\n\r\n");
    assert_eq!(once(format!("http://{address}/")), "indeterminate");
}

#[test]
fn a_hanging_or_dripping_receiver_costs_the_timeout() {
    let (hang, _) = receiver(|mut stream, _| while read_request(&mut stream) {});
    let (drip, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (drip_refusal, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\ncontent-length: 1000\r\n\r\n");
        std::thread::sleep(LONG);
    });
    let short = Duration::from_millis(300);
    for (address, expected) in [
        (hang, "indeterminate"),
        (drip, "indeterminate"),
        (drip_refusal, "400 0 bytes, truncated"),
    ] {
        let begun = Instant::now();
        assert_eq!(
            send_all(local(), &format!("http://{address}/"), 1, short),
            [expected]
        );
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn refused_connections_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(once(format!("http://{closed}/")), "connect");
}

#[test]
fn endless_and_huge_bodies_are_cut() {
    let (address, accepted) = receiver(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    let url = format!("http://{address}/");
    let shown = send_all(local(), &url, 2, LONG);
    assert_eq!(shown, vec!["200 65536 bytes, truncated"; 2]);
    assert_eq!(
        accepted.load(Ordering::SeqCst),
        2,
        "such a connection is not kept"
    );
}

#[test]
fn heads_are_bounded() {
    let (large, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    assert_eq!(once(format!("http://{large}/")), "indeterminate");
}

#[test]
fn what_comes_before_an_answer_is_bounded() {
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let (patient, _) = receiver(|mut stream, _| {
        while read_request(&mut stream) {
            let _ = stream.write_all(&INTERIM.repeat(100));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let shown = send_all(local(), &format!("http://{patient}/"), 2, LONG);
    assert_eq!(shown, vec!["200 0 bytes"; 2]);

    let written = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&written);
    let (storm, _) = receiver(move |mut stream, _| {
        read_request(&mut stream);
        let many = INTERIM.repeat(1_000);
        while stream.write_all(&many).is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(once(format!("http://{storm}/")), "indeterminate");
    // What is not read stays in the sockets' buffers: some megabytes.
    let written = written.load(Ordering::SeqCst);
    assert!(written < 1_000, "{written} times 25 kB");
}

#[test]
fn bad_chunking_after_a_status_leaves_the_status() {
    let (address, _) =
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnonsense\r\n");
    assert_eq!(once(format!("http://{address}/")), "200 0 bytes, truncated");
}

#[test]
fn a_cut_off_body_is_no_delivery() {
    let (address, _) = receiver(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf");
    });
    assert_eq!(once(format!("http://{address}/")), "indeterminate");
}

#[test]
fn redirects_are_not_followed() {
    let (target, reached) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for code in [301, 302, 303, 307, 308] {
        let (address, _) = receiver(move |mut stream, _| {
            while read_request(&mut stream) {
                let answer = format!(
                    "HTTP/1.1 {code} Moved\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(
            once(format!("http://{address}/")),
            format!("{code} 0 bytes")
        );
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[test]
fn tls_failures_have_their_own_class() {
    // Speaks plain HTTP where TLS is expected.
    let (plain, _) = receiver(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    assert_eq!(once(format!("https://{plain}/")), "tls");
    let (silent, _) = receiver(|_stream, _| std::thread::sleep(LONG));
    assert_eq!(once(format!("https://{silent}/")), "connect_timeout");
}

/// Every spelling of an address that must not be reached, against a listener that counts.
#[test]
fn no_spelling_reaches_the_canary() {
    let (canary, connects) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let port = canary.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7F.0x0.0x0.0x1",
        "0177.0x0.0.1",
        "127.0.0.1.",
        "127.000.000.001",
        "0",
        "0.0.0.0",
        "0x0",
        "00000",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "LocalHost.",
        "localhost.localdomain",
        "ip6-localhost",
        "ip6-loopback",
        "127.127.127.127",
        "127.255.255.254",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:7f00:1::1]",
        "[2001::7f00:1]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fe80::5efe:127.0.0.1]",
        "[2600::5efe:7f00:1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "①②⑦.⓪.⓪.①",
        "ⓛocalhost",
        "%31%32%37.0.0.1",
        "%6c%6f%63%61%6c%68%6f%73%74",
        "127.0.0.1%2e",
        "user@127.0.0.1",
        "user:pass@127.0.0.1",
        "example.com@127.0.0.1",
        "127.0.0.1#@example.com",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "168.63.129.16",
        "255.255.255.255",
        "224.0.0.1",
        "127.0.0.1\\@example.com",
    ];
    assert!(hosts.len() >= 60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // No name server answers here: names can only be known by the machine itself.
        let (server, _) = name_server(Say::Code(3));
        for policy in [
            EgressPolicy::default(),
            EgressPolicy {
                allow_http: true,
                ..Default::default()
            },
        ] {
            let client = client_with(policy, &options(server));
            for host in hosts {
                for scheme in ["http", "https"] {
                    let url = format!("{scheme}://{host}:{port}/");
                    let sent = send_one(&client, &url, Reuse::Allowed, LONG).await;
                    assert!(matches!(&sent, Sent::Failed(_)), "{url}: {}", show(&sent));
                }
            }
        }
    });
    assert_eq!(connects.load(Ordering::SeqCst), 0);
}

/// A name server that changes its mind between a public and a private address.
#[test]
fn rebinding_reaches_nothing_private() {
    let (canary, connects) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // 127.9.9.9 stands for the public address: only it may be dialled, and nothing listens.
        let policy = EgressPolicy {
            allow: vec!["127.9.9.9/32".parse().unwrap()],
            ..Default::default()
        };
        let flips = vec![Ipv4Addr::new(127, 9, 9, 9), Ipv4Addr::LOCALHOST];
        let (server, asked) = name_server(Say::InTurn(flips.clone()));
        let client = client_with(policy.clone(), &options(server));
        let (mixed, _) = name_server(Say::Addresses(flips));
        let mixing = client_with(policy, &options(mixed));
        let url = format!("http://rebind.example.com:{}/", canary.port());
        for _ in 0..200 {
            let sent = send_one(&client, &url, Reuse::Allowed, LONG).await;
            assert!(matches!(sent, Sent::Failed(_)));
        }
        let sent = send_one(&mixing, &url, Reuse::Allowed, LONG).await;
        assert_eq!(
            show(&sent),
            "connect",
            "only the allowed address was dialled"
        );
        assert!(asked.load(Ordering::SeqCst) >= 100, "it did flip");
    });
    assert_eq!(connects.load(Ordering::SeqCst), 0);
}

#[test]
fn idle_connections_are_closed_in_time_and_number() {
    let (address, accepted) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut client = client_with(local(), &ResolverOptions::default());
        let url = format!("http://{address}/");
        send_one(&client, &url, Reuse::Allowed, LONG).await;
        assert_eq!(client.pool.idle_count(), 1);
        client
            .pool
            .sweep(tokio::time::Instant::now() + Duration::from_secs(29));
        assert_eq!(client.pool.idle_count(), 1);
        client
            .pool
            .sweep(tokio::time::Instant::now() + Duration::from_secs(31));
        assert_eq!(client.pool.idle_count(), 0);
        client.pool = Pool::new(PoolOptions {
            idle_max: 0,
            ..Default::default()
        });
        send_one(&client, &url, Reuse::Allowed, LONG).await;
        assert_eq!(client.pool.idle_count(), 0);
        // All who send to a place share its connections; another spelling is another place.
        client.pool = Pool::new(PoolOptions::default());
        send_one(&client, &url, Reuse::Allowed, LONG).await;
        let before = accepted.load(Ordering::SeqCst);
        send_one(&client, &format!("{url}other"), Reuse::Allowed, LONG).await;
        assert_eq!(accepted.load(Ordering::SeqCst), before);
        let port = address.port();
        let other = format!("http://localhost:{port}/");
        send_one(&client, &other, Reuse::Allowed, LONG).await;
        assert_eq!(accepted.load(Ordering::SeqCst), before + 1);
    });
}

/// A receiver that speaks TLS with one of the certificates beside this file.
fn tls_receiver(certificate: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let pem = |name: &str| std::fs::read(tests_dir().join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem(certificate))
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(&pem("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    receiver(move |stream, _| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut buffer = [0; 4096];
        // Each request comes in one piece here: its body is seven bytes.
        while let Ok(size) = stream.read(&mut buffer) {
            if size == 0 {
                return;
            }
            if buffer[..size].ends_with(b"{\"n\":1}") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                let _ = stream.flush();
            }
        }
    })
}

fn tests_dir() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/send/tests")
}

#[test]
fn certificates_are_verified() {
    let trusting = || EgressPolicy {
        extra_ca_pem: Some(tests_dir().join("ca.pem")),
        ..local()
    };
    let (good, accepted) = tls_receiver("leaf.pem");
    let url = format!("https://{good}/");
    assert_eq!(send_all(trusting(), &url, 3, LONG), vec!["200 2 bytes"; 3]);
    assert_eq!(
        accepted.load(Ordering::SeqCst),
        1,
        "one handshake serves many requests"
    );
    assert_eq!(
        send_all(local(), &url, 1, LONG),
        ["tls"],
        "an unknown issuer"
    );
    for certificate in ["expired.pem", "other-host.pem"] {
        let (bad, _) = tls_receiver(certificate);
        let shown = send_all(trusting(), &format!("https://{bad}/"), 1, LONG);
        assert_eq!(shown, ["tls"], "{certificate}");
    }
}

#[test]
fn extra_authorities_must_be_there() {
    let missing = EgressPolicy {
        extra_ca_pem: Some(tests_dir().join("nosuch.pem")),
        ..local()
    };
    assert!(tls_connector(&missing).is_err());
    let empty = EgressPolicy {
        extra_ca_pem: Some(tests_dir().join("leaf.key")),
        ..local()
    };
    assert!(tls_connector(&empty).is_err());
}
