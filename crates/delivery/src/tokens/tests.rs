//! When a token is renewed, and what happens where that fails. Whole fetches are tested with real
//! endpoints, in `delivery/tests/tokens.rs`.

use super::*;

fn held(lifetime_s: u64, now: Instant) -> Arc<Held> {
    let token = Token {
        value: Secret::new("t"),
        lifetime_s,
        refresh_token: None,
    };
    outcome(Ok(token), None, now).ok().unwrap()
}

fn failed() -> NoToken {
    no_token(Failure::Unauthorized, "why".to_owned())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_token_is_renewed_a_minute_before_it_dies_or_half_way() {
    let now = Instant::now();
    for (lifetime_s, renewed_s) in [(3_600, 3_540), (120, 60), (90, 45), (0, 0)] {
        let held = held(lifetime_s, now);
        assert_eq!(held.renew_at, now + secs(renewed_s), "{lifetime_s}");
        assert_eq!(held.dies_at, now + secs(lifetime_s));
    }
}

#[test]
fn a_token_that_cannot_be_renewed_is_used_while_it_lives() {
    let now = Instant::now();
    let old = held(3_600, now);
    let due = now + secs(3_540);
    let kept = outcome(Err(failed()), Some(Arc::clone(&old)), due)
        .ok()
        .unwrap();
    assert_eq!((kept.value.reveal(), kept.dies_at), ("t", old.dies_at));
    // Not asked for at every attempt of the last minute.
    assert_eq!(kept.renew_at, due + RENEW_AGAIN);
    // Nor used when it has died before that.
    let late = now + secs(3_595);
    let kept = outcome(Err(failed()), Some(kept), late).ok().unwrap();
    assert_eq!(kept.renew_at, old.dies_at);
    let none = outcome(Err(failed()), Some(kept), now + secs(3_600))
        .err()
        .unwrap();
    assert_eq!(
        (none.failure, none.detail.as_str()),
        (Failure::Unauthorized, "why")
    );
    assert!(outcome(Err(failed()), None, now).is_err());
}

#[test]
fn only_the_token_that_was_refused_is_forgotten() {
    let (slot, now) = (Slot::default(), Instant::now());
    let first = held(3_600, now);
    let second = Arc::new(Held {
        value: Secret::new("u"),
        ..(*first).clone()
    });
    slot.held.store(Some(Arc::clone(&second)));
    slot.forget(&first);
    assert_eq!(slot.fresh(now).unwrap().value.reveal(), "u");
    assert!(slot.fresh(now + secs(3_540)).is_none());
    slot.forget(&second);
    assert!(slot.fresh(now).is_none());
}
