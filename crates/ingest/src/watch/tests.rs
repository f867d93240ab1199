//! Deadlines over a made-up clock.

use super::*;

fn swept(watch: &Watch, now_ms: u64) -> Vec<Cut> {
    let mut cuts = Vec::new();
    watch.sweep(now_ms, &Options::default(), |cut| cuts.push(cut));
    cuts
}

#[test]
fn each_phase_has_its_own_deadline() {
    let watch = Arc::new(Watch::default());
    let idle = watch.begin();
    assert_eq!(swept(&watch, 75_000), []);
    assert_eq!(swept(&watch, 75_001), [Cut::Idle]);
    assert_eq!(swept(&watch, 75_200), [], "told once");
    drop(idle);

    let loris = watch.begin();
    loris.watched.received(1);
    assert_eq!(swept(&watch, 80_200), []);
    loris.watched.received(1);
    assert_eq!(
        swept(&watch, 85_201),
        [Cut::SlowHeaders],
        "from the first byte, not the last"
    );
    drop(loris);

    let slow = watch.begin();
    slow.watched.enter(Phase::Body);
    slow.watched.received(4_000);
    assert_eq!(
        swept(&watch, 90_201),
        [],
        "5 s: 4 KiB were enough until now"
    );
    assert_eq!(
        swept(&watch, 90_402),
        [Cut::SlowBody],
        "5,120 bytes should be here"
    );
    drop(slow);

    let steady = watch.begin();
    steady.watched.enter(Phase::Body);
    steady.watched.received(1_000_000);
    assert_eq!(swept(&watch, 120_402), []);
    assert_eq!(
        swept(&watch, 120_403),
        [Cut::SlowBody],
        "30 s are over, however fast"
    );
    drop(steady);

    let working = watch.begin();
    working.watched.enter(Phase::Working);
    assert_eq!(swept(&watch, 10_000_000), [], "it waits for us");
    assert_eq!(watch.len(), 1);
}
