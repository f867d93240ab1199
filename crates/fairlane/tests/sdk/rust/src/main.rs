//! Sends what a Rust service would send, through the `segment` crate.
//! Usage: sdk-test <host> <write key> <number of tracks>

use segment::message::{Alias, Group, Identify, Page, Screen, Track, User};
use segment::{Batcher, Client as _, HttpClient, Message};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (host, key) = (args.next().expect("host"), args.next().expect("write key"));
    let tracks: u32 = args.next().and_then(|n| n.parse().ok()).expect("number of tracks");
    let client = HttpClient::new(reqwest::Client::new(), host);
    for message in one_of_each() {
        client.send(key.clone(), message).await.expect("an answer");
    }
    let mut batcher = Batcher::new(Some(json!({"app": {"name": "sdk test"}})));
    for n in 0..tracks {
        let track = Track {
            user: user("sdk-user"),
            event: "Rust Tested".to_owned(),
            properties: json!({"n": n, "text": "ünïcode ✓"}),
            ..Default::default()
        };
        assert!(batcher.push(track).expect("an event").is_none(), "one batch takes them all");
    }
    client.send(key, batcher.into_message()).await.expect("an answer to the batch");
}

fn user(id: &str) -> User {
    User::UserId { user_id: id.to_owned() }
}

fn one_of_each() -> [Message; 5] {
    let identify = Identify {
        user: user("sdk-user"),
        traits: json!({"email": "sdk@mail.example"}),
        ..Default::default()
    };
    let page = Page { user: user("sdk-user"), name: "Home".to_owned(), ..Default::default() };
    let screen = Screen { user: user("sdk-user"), name: "Start".to_owned(), ..Default::default() };
    let group = Group {
        user: user("sdk-user"),
        group_id: "g-1".to_owned(),
        traits: json!({"name": "Group"}),
        ..Default::default()
    };
    let alias = Alias {
        user: user("sdk-alias"),
        previous_id: "sdk-user".to_owned(),
        ..Default::default()
    };
    [identify.into(), page.into(), screen.into(), group.into(), alias.into()]
}
