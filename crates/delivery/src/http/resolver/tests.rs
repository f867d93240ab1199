//! Against a name server of our own, over real sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use model::Failure;

use super::{Resolver, ResolverOptions, interleave};

/// What the test's name server says to a question.
#[derive(Clone)]
pub enum Say {
    Addresses(Vec<Ipv4Addr>),
    /// Another address on every question.
    InTurn(Vec<Ipv4Addr>),
    /// A response code: 3 is NXDOMAIN, 2 is SERVFAIL.
    Code(u8),
    Nothing,
}

/// A name server that says one thing. Returns its address and how often it was asked.
pub fn name_server(say: Say) -> (SocketAddr, Arc<AtomicU32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let mut turn = 0;
        while let Ok((size, from)) = socket.recv_from(&mut buffer) {
            counter.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = answer(&buffer[..size], &say, &mut turn) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    (address, asked)
}

fn answer(query: &[u8], say: &Say, turn: &mut usize) -> Option<Vec<u8>> {
    let name_end = 12 + query[12..].iter().position(|b| *b == 0)? + 1;
    let question = &query[12..name_end + 4];
    let is_a = question[question.len() - 4..question.len() - 2] == [0, 1];
    let (code, addresses) = match say {
        Say::Nothing => return None,
        Say::Code(code) => (*code, Vec::new()),
        Say::Addresses(all) if is_a => (0, all.clone()),
        Say::InTurn(all) if is_a => {
            *turn += 1;
            (0, vec![all[*turn % all.len()]])
        }
        _ => (0, Vec::new()),
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1]);
    out.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(question);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

pub fn options(server: SocketAddr) -> ResolverOptions {
    ResolverOptions {
        name_servers: vec![server],
        positive_ttl_ms_min: 0,
        ..Default::default()
    }
}

fn lookup(options: &ResolverOptions, times: u32) -> Result<Vec<IpAddr>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let resolver = Resolver::new(options);
        let mut last = Err(Failure::Ours);
        for _ in 0..times {
            last = resolver
                .lookup("hooks.example.com")
                .await
                .map_err(|failed| failed.failure);
        }
        last
    })
}

#[test]
fn addresses_are_found() {
    let (server, _) = name_server(Say::Addresses(vec![Ipv4Addr::new(203, 0, 113, 7)]));
    assert_eq!(
        lookup(&options(server), 1),
        Ok(vec!["203.0.113.7".parse().unwrap()])
    );
}

#[test]
fn a_thousand_addresses_are_bounded() {
    // 70 is what fits into one datagram; the bound is the same.
    let many = (0..70).map(|n| Ipv4Addr::new(198, 51, 100, n)).collect();
    let (server, _) = name_server(Say::Addresses(many));
    assert_eq!(lookup(&options(server), 1).unwrap().len(), 16);
    let thousand = (0..1_000_u32).map(|n| IpAddr::V4(Ipv4Addr::from(n)));
    assert_eq!(interleave(thousand, 16).len(), 16);
}

#[test]
fn both_families_take_turns() {
    let mixed = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "2600::1"].map(|ip| ip.parse().unwrap());
    let order: Vec<String> = interleave(mixed.into_iter(), 3)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(order, ["2600::1", "1.1.1.1", "2.2.2.2"]);
}

#[test]
fn no_such_host_is_believed_for_a_while() {
    let (server, asked) = name_server(Say::Code(3));
    assert_eq!(lookup(&options(server), 1), Err(Failure::NoSuchHost));
    let once = asked.swap(0, Ordering::SeqCst);
    assert_eq!(lookup(&options(server), 20), Err(Failure::NoSuchHost));
    assert!(
        asked.load(Ordering::SeqCst) <= once,
        "asked again within the negative time to live"
    );
}

#[test]
fn a_name_without_addresses_is_a_dns_failure() {
    let (server, _) = name_server(Say::Code(0));
    assert_eq!(lookup(&options(server), 1), Err(Failure::Dns));
}

#[test]
fn a_failing_or_silent_server_is_a_dns_failure() {
    let (server, _) = name_server(Say::Code(2));
    assert_eq!(lookup(&options(server), 1), Err(Failure::Dns));
    let (server, _) = name_server(Say::Nothing);
    let quick = ResolverOptions {
        timeout_ms: 300,
        ..options(server)
    };
    assert_eq!(lookup(&quick, 1), Err(Failure::Dns));
}
