//! Claims, generations and bounds.

use super::*;

const HOUR: u64 = 3_600_000;

fn at(ms: u64) -> UnixMillis {
    UnixMillis(1_000_000_000_000 + ms)
}

fn settle(window: &Arc<Window>, hash: u64, now: UnixMillis) -> Claim {
    let mut claims = Claims::new(window);
    let claim = claims.claim(hash, now);
    claims.settle();
    claim
}

#[test]
fn an_id_is_pending_then_known_and_a_failed_one_is_free_again() {
    let window = Arc::new(Window::new(HOUR, 1_000_000));
    let mut first = Claims::new(&window);
    assert_eq!(first.claim(7, at(0)), Claim::New);
    assert_eq!(
        first.claim(7, at(0)),
        Claim::Duplicate,
        "a second copy in the same request"
    );
    let mut second = Claims::new(&window);
    assert_eq!(second.claim(7, at(0)), Claim::Pending);
    drop(second);
    assert_eq!(
        Claims::new(&window).claim(7, at(0)),
        Claim::Pending,
        "still the first one's"
    );
    drop(first);
    assert_eq!(
        settle(&window, 7, at(1)),
        Claim::New,
        "the append failed: free again"
    );
    assert_eq!(settle(&window, 7, at(2)), Claim::Duplicate);
}

#[test]
fn an_id_is_known_for_the_window_and_forgotten_after_two() {
    let window = Arc::new(Window::new(HOUR, 1_000_000));
    assert_eq!(settle(&window, 7, at(0)), Claim::New);
    assert_eq!(settle(&window, 7, at(HOUR - 1)), Claim::Duplicate);
    assert_eq!(settle(&window, 7, at(HOUR)), Claim::Duplicate);
    assert_eq!(settle(&window, 7, at(3 * HOUR)), Claim::New);
    assert_eq!(
        settle(&window, 7, at(0)),
        Claim::Duplicate,
        "a clock that jumps back is no harm"
    );
}

#[test]
fn memory_is_bounded_and_the_newest_stay() {
    let entries_max = 64 * 2 * 10;
    let window = Arc::new(Window::new(HOUR, entries_max));
    let hash = |id: u64| message_hash(SourceId(1), &id.to_string());
    for id in 0..100_000 {
        window.restore(hash(id), at(id));
    }
    let held: usize = window
        .shards
        .iter()
        .map(|shard| {
            let shard = shard.lock().unwrap();
            shard.current.len() + shard.previous.len()
        })
        .sum();
    assert!(held <= entries_max, "{held} entries");
    assert_eq!(settle(&window, hash(99_999), at(100_000)), Claim::Duplicate);
    assert_eq!(settle(&window, hash(0), at(100_000)), Claim::New);
}

#[test]
fn sources_do_not_share_ids() {
    assert_ne!(
        message_hash(SourceId(1), "a"),
        message_hash(SourceId(2), "a")
    );
}
