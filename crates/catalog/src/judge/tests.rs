//! The classification table, and definitions' own rules before it.

use expect_test::{Expect, expect};

use super::*;
use crate::definition::Folder;
use crate::definition::tests::{define, folder};

fn plain() -> Definition {
    define("hosts = [\"a.example.com\"]", "null").unwrap()
}

#[test]
fn the_default_table() {
    let definition = plain();
    let line = |jobs: usize| {
        [
            100, 200, 204, 299, 301, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 422, 423,
            425, 429, 431, 500, 501, 502, 503, 504, 505, 507, 520, 525, 526, 529, 599,
        ]
        .map(|status| {
            let Judged::All(result) = judge(&definition, status, &[], b"", false, jobs, 0) else {
                panic!()
            };
            let told = match result {
                JobResult::Failed(failure) => format!("{failure:?}"),
                other => format!("{other:?}"),
            };
            format!("{status} {told}\n")
        })
        .concat()
    };
    expect![[r#"
        100 Redirect
        200 Delivered
        204 Delivered
        299 Delivered
        301 Redirect
        400 Rejected(Refused)
        401 Unauthorized
        403 Forbidden
        404 NotFound
        405 Rejected(Refused)
        408 TryAgain
        409 Conflict
        410 Gone
        413 Rejected(TooLarge)
        414 Rejected(Refused)
        422 Rejected(Refused)
        423 TryAgain
        425 TryAgain
        429 RateLimited { retry_after_s: None }
        431 Rejected(Refused)
        500 ServerError
        501 Rejected(Refused)
        502 Unavailable { retry_after_s: None }
        503 Unavailable { retry_after_s: None }
        504 Unavailable { retry_after_s: None }
        505 VersionUnsupported
        507 Unavailable { retry_after_s: None }
        520 Unavailable { retry_after_s: None }
        525 Tls
        526 Tls
        529 Unavailable { retry_after_s: None }
        599 Unavailable { retry_after_s: None }
    "#]]
    .assert_eq(&line(1));
    expect![[r#"
        100 Redirect
        200 Delivered
        204 Delivered
        299 Delivered
        301 Redirect
        400 BatchRefused { too_large: false }
        401 Unauthorized
        403 Forbidden
        404 NotFound
        405 BatchRefused { too_large: false }
        408 TryAgain
        409 Conflict
        410 Gone
        413 BatchRefused { too_large: true }
        414 BatchRefused { too_large: false }
        422 BatchRefused { too_large: false }
        423 TryAgain
        425 TryAgain
        429 RateLimited { retry_after_s: None }
        431 BatchRefused { too_large: false }
        500 ServerError
        501 BatchRefused { too_large: false }
        502 Unavailable { retry_after_s: None }
        503 Unavailable { retry_after_s: None }
        504 Unavailable { retry_after_s: None }
        505 VersionUnsupported
        507 Unavailable { retry_after_s: None }
        520 Unavailable { retry_after_s: None }
        525 Tls
        526 Tls
        529 Unavailable { retry_after_s: None }
        599 Unavailable { retry_after_s: None }
    "#]]
    .assert_eq(&line(2));
}

/// Sun, 06 Nov 1994 08:49:27 GMT.
const NOW_UNIX_S: u64 = 784_111_767;

fn retry_after(value: &str, date: Option<&str>) -> Option<u64> {
    let mut headers = vec![("Retry-After".to_owned(), value.to_owned())];
    headers.extend(date.map(|date| ("date".to_owned(), date.to_owned())));
    match judge(&plain(), 429, &headers, b"", false, 1, NOW_UNIX_S) {
        Judged::All(JobResult::Failed(Failure::RateLimited { retry_after_s })) => retry_after_s,
        other => panic!("{other:?}"),
    }
}

#[test]
fn retry_after_in_seconds_or_as_a_date() {
    assert_eq!(retry_after("120", None), Some(120));
    assert_eq!(retry_after("soon", None), None);
    assert_eq!(retry_after("-5", None), None);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(
        retry_after("Sun, 06 Nov 1994 08:50:37 GMT", Some(date)),
        Some(60)
    );
    assert_eq!(
        retry_after("Sun, 06 Nov 1994 08:00:00 GMT", Some(date)),
        Some(0)
    );
    for text in [
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sunday, 06-Nov-94 08:50:37 GMT",
        "Sun Nov  6 08:50:37 1994",
    ] {
        assert_eq!(retry_after(text, None), Some(70), "{text}");
        assert_eq!(retry_after(text, Some(date)), Some(60), "{text}");
        assert_eq!(retry_after(text, Some("yesterday")), Some(70), "{text}");
    }
    for text in [
        "99999999999999999999999",
        "1.5",
        "",
        "Sun, 99 Nov 1994 08:50:37 GMT",
    ] {
        assert_eq!(retry_after(text, Some(date)), None, "{text}");
    }
}

const RULES: &str = r#"
name = "T"
category = "t"
hosts = ["a.example.com"]
[batch]
events_max = 10
bytes_max = 1000
wait_ms = 1
[[partial]]
status = [200, 207]
failed = '.body.errors'
[[partial]]
status = 400
failed = 'array(.body.bad) ?? []'
rest = "retry"
[[response]]
status = 409
when = '.body.code == "duplicate"'
result = "delivered"
[[response]]
status = "4xx"
when = '.headers."x-slow" == "1"'
result = "rate_limited"
[[response]]
when = 'contains(string!(.body), "maintenance")'
result = "unavailable"
"#;

fn check(status: u16, headers: &[(&str, &str)], body: &str, jobs: usize, expected: Expect) {
    let files = [
        ("destination.toml", RULES),
        ("event.vrl", "null"),
        ("batch.vrl", "null"),
    ];
    let folder: Folder = folder("t", &files);
    let definition = Definition::load(folder).unwrap();
    definition.compile().unwrap();
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let judged = judge(
        &definition,
        status,
        &headers,
        body.as_bytes(),
        false,
        jobs,
        0,
    );
    expected.assert_eq(&format!("{judged:?}"));
}

#[test]
fn rules_of_a_definition_come_first() {
    check(
        409,
        &[],
        r#"{"code":"duplicate"}"#,
        1,
        expect!["All(Delivered)"],
    );
    check(
        409,
        &[],
        r#"{"code":"other"}"#,
        1,
        expect!["All(Failed(Conflict))"],
    );
    check(
        400,
        &[("X-Slow", "1"), ("retry-after", "7")],
        "",
        1,
        expect!["All(Failed(RateLimited { retry_after_s: Some(7) }))"],
    );
    check(
        500,
        &[],
        "down for maintenance",
        1,
        expect!["All(Failed(Unavailable { retry_after_s: None }))"],
    );
    // A rule that fails at run time does not apply: here the body is no string.
    check(500, &[], "{}", 1, expect!["All(Failed(ServerError))"]);
}

#[test]
fn a_batch_whose_answer_is_too_long_to_be_read_is_split() {
    let files = [
        ("destination.toml", RULES),
        ("event.vrl", "null"),
        ("batch.vrl", "null"),
    ];
    let definition = Definition::load(folder("t", &files)).unwrap();
    let of = |status, jobs| judge(&definition, status, &[], b"{\"errors\":", true, jobs, 0);
    let split = Judged::All(JobResult::Failed(Failure::BatchRefused { too_large: true }));
    assert_eq!(of(200, 2), split, "some of them may have failed");
    assert_eq!(of(200, 1), Judged::All(JobResult::Delivered));
    assert_eq!(
        of(204, 2),
        Judged::All(JobResult::Delivered),
        "no rule of it"
    );
    // Other rules see its beginning.
    let begun = b"down for maintenance, and much more";
    let told = judge(&definition, 500, &[], begun, true, 1, 0);
    let unavailable = Failure::Unavailable {
        retry_after_s: None,
    };
    assert_eq!(told, Judged::All(JobResult::Failed(unavailable)));
}

#[test]
fn partial_failures_are_told_apart() {
    check(
        200,
        &[],
        r#"{"errors":[1,{"index":2,"result":"retry"},9,-1,"x"]}"#,
        3,
        expect!["Each([Delivered, Rejected(Refused), Failed(TryAgain)])"],
    );
    check(200, &[], r#"{"errors":[]}"#, 3, expect!["All(Delivered)"]);
    // A batch of one is a batch: 2xx does not say that its entry was taken.
    check(
        200,
        &[],
        r#"{"errors":[0]}"#,
        1,
        expect!["All(Rejected(Refused))"],
    );
    check(
        200,
        &[],
        r#"{"errors":[{"index":0,"result":"retry"}]}"#,
        1,
        expect!["All(Failed(TryAgain))"],
    );
    check(200, &[], r#"{"errors":[1]}"#, 1, expect!["All(Delivered)"]);
    check(
        200,
        &[],
        r#"{"errors":"none"}"#,
        3,
        expect!["All(Delivered)"],
    );
    check(
        400,
        &[],
        r#"{"bad":[0]}"#,
        2,
        expect!["Each([Rejected(Refused), Failed(TryAgain)])"],
    );
    check(
        400,
        &[],
        r#"{"bad":[0]}"#,
        1,
        expect!["All(Rejected(Refused))"],
    );
    check(
        400,
        &[],
        "{}",
        2,
        expect!["All(Failed(BatchRefused { too_large: false }))"],
    );
}
