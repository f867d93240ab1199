//! Our times against chrono's.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use proptest::prelude::*;

use super::*;

fn chrono_text(ms: u64) -> String {
    Utc.timestamp_millis_opt(i64::try_from(ms).unwrap())
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn parsed(text: &str) -> Option<String> {
    parse(text).map(|time| String::from_utf8(format(time).to_vec()).unwrap())
}

#[test]
fn reads_what_clients_send() {
    let read = |text| parsed(text).unwrap_or_else(|| "no time".to_owned());
    assert_eq!(read("2026-11-23T10:00:00.000Z"), "2026-11-23T10:00:00.000Z");
    assert_eq!(
        read("2026-11-23T10:00:00.123456+00:00"),
        "2026-11-23T10:00:00.123Z"
    );
    assert_eq!(
        read("2026-11-23T10:00:00.1+0230"),
        "2026-11-23T07:30:00.100Z"
    );
    assert_eq!(read("2026-11-23 10:00:00-08"), "2026-11-23T18:00:00.000Z");
    assert_eq!(read("2026-11-23T10:00"), "2026-11-23T10:00:00.000Z");
    assert_eq!(read("2026-11-23"), "2026-11-23T00:00:00.000Z");
    assert_eq!(read("2024-02-29"), "2024-02-29T00:00:00.000Z");
    assert_eq!(read("2026-02-29"), "no time");
    assert_eq!(read("2026-13-01"), "no time");
    assert_eq!(read("1969-12-31T23:59:59Z"), "no time");
    assert_eq!(read("1970-01-01T00:30:00+01:00"), "no time");
    assert_eq!(read("yesterday"), "no time");
    assert_eq!(read("2026-11-23T10:00:00.Z"), "no time");
    assert_eq!(read("2026-11-23T10:00:00Zx"), "no time");
    assert_eq!(read(""), "no time");
}

#[test]
fn the_ends_of_time() {
    assert_eq!(&format(UnixMillis(0)), b"1970-01-01T00:00:00.000Z");
    assert_eq!(&format(LATEST), b"9999-12-31T23:59:59.999Z");
    assert_eq!(&format(UnixMillis(u64::MAX)), b"9999-12-31T23:59:59.999Z");
}

proptest! {
    #[test]
    fn writes_as_chrono_does(ms in 0..=LATEST.0) {
        let text = String::from_utf8(format(UnixMillis(ms)).to_vec()).unwrap();
        prop_assert_eq!(&text, &chrono_text(ms));
        prop_assert_eq!(parse(&text), Some(UnixMillis(ms)));
    }

    #[test]
    fn reads_as_chrono_does(ms in 86_400_000..LATEST.0 - 86_400_000, minutes in -1439_i32..1440) {
        let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
        let time: DateTime<_> =
            Utc.timestamp_millis_opt(i64::try_from(ms).unwrap()).unwrap().with_timezone(&zone);
        prop_assert_eq!(parse(&time.to_rfc3339()), Some(UnixMillis(ms)));
    }

    #[test]
    fn never_panics(text in any::<String>(), like in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.+Z-]{0,16}") {
        let _ = parse(&text);
        let _ = parse(&like);
    }
}
