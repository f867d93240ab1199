//! Sends what a Rust service would send, through the `segment` crate.
//! Usage: sdk-test <host> <write key> <number of tracks>

use segment::message::{Identify, Track, User};
use segment::{Batcher, Client as _, HttpClient, Message};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (host, key) = (args.next().expect("host"), args.next().expect("write key"));
    let tracks: u32 = args.next().and_then(|n| n.parse().ok()).expect("number of tracks");
    let client = HttpClient::new(reqwest::Client::new(), host);
    let user = || User::UserId { user_id: "rust-user".to_owned() };

    let identify = Message::Identify(Identify {
        user: user(),
        traits: json!({"email": "rust@mail.example"}),
        ..Default::default()
    });
    client.send(key.clone(), identify).await.expect("identify");
    let mut batcher = Batcher::new(Some(json!({"app": {"name": "sdk test"}})));
    for n in 0..tracks {
        let track = Track {
            user: user(),
            event: "Rust Tested".to_owned(),
            properties: json!({"n": n, "text": "ünïcode ✓"}),
            ..Default::default()
        };
        assert!(batcher.push(track).expect("an event").is_none(), "one batch takes them all");
    }
    client.send(key, batcher.into_message()).await.expect("batch");
}
