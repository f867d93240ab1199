//! What is kept, for how long, and how much of it.

use bytes::Bytes;

use super::*;
use crate::request::Body;

fn request(url: &str) -> RequestPlan {
    RequestPlan {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned())],
        body: Body::Empty,
        auth: true,
        gzip: false,
        cache_s: 60,
    }
}

fn answer(body_bytes: usize) -> StepResponse {
    StepResponse {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from(vec![b'x'; body_bytes]),
    }
}

#[test]
fn every_part_of_a_request_counts() {
    let mut all = vec![request("https://a/")];
    let mut change = |change: fn(&mut RequestPlan)| {
        let mut changed = request("https://a/");
        change(&mut changed);
        all.push(changed);
    };
    change(|request| request.method = "POST".to_owned());
    change(|request| request.url = "https://b/".to_owned());
    change(|request| request.headers[0].1 = "c".to_owned());
    change(|request| request.headers[0] = ("ab".to_owned(), String::new()));
    change(|request| request.body = Body::Text("x".into()));
    let keys: std::collections::HashSet<_> = all.iter().map(LookUpKey::of).collect();
    assert_eq!(keys.len(), 6);
    assert_eq!(LookUpKey::of(&request("u")), LookUpKey::of(&request("u")));
}

#[test]
fn an_answer_holds_for_its_time() {
    let (mut look_ups, now) = (LookUps::default(), Instant::now());
    let key = LookUpKey::of(&request("u"));
    look_ups.put(key, &answer(1), now);
    let later = |seconds| now + Duration::from_secs(seconds);
    assert!(look_ups.get(&key, later(59)).is_some());
    assert!(look_ups.get(&key, later(60)).is_none());
    assert_eq!((look_ups.kept.len(), look_ups.bytes), (0, 0));
}

#[test]
fn number_and_bytes_are_bounded_and_the_oldest_goes_first() {
    let (mut look_ups, now) = (LookUps::default(), Instant::now());
    let key = |index: usize| LookUpKey::of(&request(&index.to_string()));
    let at = |index: usize| now + Duration::from_millis(u64::try_from(index).unwrap());
    for index in 0..LOOK_UPS_MAX + 5 {
        look_ups.put(key(index), &answer(1), at(index));
    }
    assert_eq!(look_ups.kept.len(), LOOK_UPS_MAX);
    assert!(look_ups.get(&key(4), now).is_none() && look_ups.get(&key(5), now).is_some());
    let large = LOOK_UP_BYTES_MAX;
    for index in 2_000..2_020 {
        look_ups.put(key(index), &answer(large), at(index));
    }
    assert_eq!(
        (look_ups.kept.len(), look_ups.bytes),
        (8, LOOK_UPS_BYTES_MAX)
    );
    look_ups.put(key(1), &answer(large + 1), at(9_000));
    assert!(look_ups.get(&key(1), now).is_none());
    // The same key again takes no more.
    look_ups.put(key(2_019), &answer(large), at(9_001));
    assert_eq!(look_ups.bytes, LOOK_UPS_BYTES_MAX);
}
