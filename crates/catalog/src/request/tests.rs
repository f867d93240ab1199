//! What a program may ask for, and what is refused.

use expect_test::{Expect, expect};
use model::registry::CheckedSettings;

use super::*;
use crate::definition::tests::define;

const TOP: &str = r#"
hosts = ["api.example.com", "*.wide.example.com", "{{settings.url}}"]
[settings.url]
type = "url"
help = "h"
[settings.key]
type = "string"
secret = true
help = "h"
"#;

fn check(asked: &str, expected: Expect) {
    let definition = define(TOP, "null").unwrap();
    let mut settings = CheckedSettings::default();
    settings
        .values
        .insert("url".to_owned(), "http://127.0.0.1:8080/in".into());
    let binding = Binding::new(&definition, &settings).unwrap();
    let Value::Object(asked) = json::parse(asked.as_bytes()).unwrap() else {
        panic!()
    };
    let told = match plan(&binding, &definition, asked, None) {
        Ok(request) => format!(
            "{} {} {:?} {}",
            request.method,
            request.url,
            request.headers,
            // Parts end their lines with both.
            String::from_utf8_lossy(request.body.bytes()).replace('\r', "")
        ),
        Err(problem) => format!("refused: {problem}"),
    };
    expected.assert_eq(&told);
}

#[test]
fn requests_are_encoded() {
    check(
        r#"{"url":"https://api.example.com/a?x=1","query":{"q":"a b&c","l":[1,2],"n":null},"body":{"k":1}}"#,
        expect![[r#"POST https://api.example.com/a?x=1&l=1&l=2&q=a%20b%26c [] {"k":1}"#]],
    );
    check(
        r#"{"method":"PUT","url":"https://x.wide.example.com","headers":{"X-A":1,"x-n":null},"body":{"a":{"b":[1,"é"]},"c":null},"encoding":"form"}"#,
        expect![[r#"PUT https://x.wide.example.com/ [("x-a", "1")] a%5Bb%5D=1&a%5Bb%5D=%C3%A9"#]],
    );
    check(
        r#"{"url":"http://127.0.0.1:8080/other","body":[{"a":1},2],"encoding":"ndjson"}"#,
        expect![[r#"
            POST http://127.0.0.1:8080/other [] {"a":1}
            2
        "#]],
    );
    check(
        r#"{"url":"https://api.example.com/","body":"<a>1</a>","encoding":"xml"}"#,
        expect!["POST https://api.example.com/ [] <a>1</a>"],
    );
    check(
        r#"{"url":"https://api.example.com/","body":{"a":1},"encoding":"xml"}"#,
        expect!["refused: a body of xml must be a string, not map"],
    );
    check(
        r#"{"url":"https://api.example.com/","body":"x","encoding":"yaml"}"#,
        expect![
            "refused: encoding must be json, form, multipart, ndjson, lines, parquet, text or xml"
        ],
    );
}

#[test]
fn parts_of_a_body_cannot_end_early() {
    let asked = |member: &str| {
        format!(
            r#"{{"url":"https://api.example.com/","encoding":"multipart","body":{{"a":["x",2],"k\"\r\n":"{member}","n":null}}}}"#
        )
    };
    check(
        &asked("é"),
        expect![[r#"
        POST https://api.example.com/ [] --fairlane-75dbda71d64e4db33c8c6b1b913f2ed2
        content-disposition: form-data; name="a"

        x
        --fairlane-75dbda71d64e4db33c8c6b1b913f2ed2
        content-disposition: form-data; name="a"

        2
        --fairlane-75dbda71d64e4db33c8c6b1b913f2ed2
        content-disposition: form-data; name="k%22%0D%0A"

        é
        --fairlane-75dbda71d64e4db33c8c6b1b913f2ed2--
    "#]],
    );
    check(
        &asked("--fairlane--"),
        expect![[r#"
        POST https://api.example.com/ [] --fairlane-46a34aabd3d38c2ebbc3b742ca690c2a
        content-disposition: form-data; name="a"

        x
        --fairlane-46a34aabd3d38c2ebbc3b742ca690c2a
        content-disposition: form-data; name="a"

        2
        --fairlane-46a34aabd3d38c2ebbc3b742ca690c2a
        content-disposition: form-data; name="k%22%0D%0A"

        --fairlane--
        --fairlane-46a34aabd3d38c2ebbc3b742ca690c2a--
    "#]],
    );
}

#[test]
fn other_hosts_are_refused() {
    for url in [
        "https://evil.example.org/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com.evil.org/",
        "https://wide.example.com/",
        "https://evilwide.example.com/",
        "http://127.0.0.1:9090/in",
        "http://127.1/in",
        "https://api.example.com@evil.org/",
        "https://user:pw@api.example.com/",
        "ftp://api.example.com/",
        "javascript:alert(1)",
        "//api.example.com/",
        "https://api.example.com\\@evil.org/",
        "https://evil.org#https://api.example.com/",
        "",
    ] {
        let definition = define(TOP, "null").unwrap();
        let mut settings = CheckedSettings::default();
        settings
            .values
            .insert("url".to_owned(), "http://127.0.0.1:8080/in".into());
        let binding = Binding::new(&definition, &settings).unwrap();
        assert!(binding.check_url(url).is_err(), "{url}");
    }
}

#[test]
fn paths_cannot_climb() {
    for path in [
        "..",
        ".",
        "a/../b",
        "a/%2e%2E/b",
        "a/.%2e",
        "a b",
        "a\tb",
        "a\\b",
    ] {
        let problem = strict_url(&format!("https://api.example.com/{path}")).unwrap_err();
        assert!(
            problem.contains("segment") || problem.contains("space"),
            "{path}: {problem}"
        );
    }
    assert!(strict_url("https://api.example.com/a/..b/c.d?x=../..").is_ok());
}

#[test]
fn event_data_adds_no_header() {
    let url = r#""url":"https://api.example.com/""#;
    for value in ["a\\r\\nx: y", "a\\nb", "a\\u0000", "\\u007f", "a\\u0085b"] {
        let asked = format!(r#"{{{url},"headers":{{"x-a":"{value}"}}}}"#);
        check(
            &asked,
            expect!["refused: header x-a has a line break or control character in it"],
        );
    }
    check(
        &format!(r#"{{{url},"headers":{{"a b":"x"}}}}"#),
        expect![[r#"refused: "a b" is no header name"#]],
    );
    check(
        &format!(r#"{{{url},"headers":{{"Content-Length":"5"}}}}"#),
        expect!["refused: header content-length is set by Fairlane itself"],
    );
    check(
        &format!(r#"{{{url},"headers":{{"x-a":"é"}}}}"#),
        expect![[r#"POST https://api.example.com/ [("x-a", "é")] "#]],
    );
}

#[test]
fn mistakes_are_told() {
    check(
        r#"{"urll":"x"}"#,
        expect!["refused: the request has no url, and [request] gives none"],
    );
    check(
        r#"{"url":"https://api.example.com/","bdy":1}"#,
        expect![[
            r#"refused: "bdy" is no part of a request: use method, url, query, headers, body, entries, encoding, gzip, auth, cache_s"#
        ]],
    );
    check(
        r#"{"url":"https://api.example.com/","method":"FETCH"}"#,
        expect![[r#"refused: "FETCH" is no method: use GET, POST, PUT, PATCH, DELETE or HEAD"#]],
    );
    check(
        r#"{"url":"https://api.example.com/","body":1,"encoding":"form"}"#,
        expect!["refused: a form body must be an object, not integer"],
    );
}

#[test]
fn what_few_bytes_of_an_event_make_many_of_is_bounded() {
    let list = vec!["1"; 4_500].join(",");
    let members = format!(r#"{{"{}":[{list}]}}"#, "k".repeat(12_000));
    for (encoding, expected) in [
        (
            "form",
            expect!["refused: a form body is longer than its limit of 8388608 bytes"],
        ),
        (
            "multipart",
            expect!["refused: a multipart body is longer than its limit of 8388608 bytes"],
        ),
    ] {
        check(
            &format!(
                r#"{{"url":"https://api.example.com/","body":{members},"encoding":"{encoding}"}}"#
            ),
            expected,
        );
    }
    check(
        &format!(r#"{{"url":"https://api.example.com/","query":{members}}}"#),
        expect!["refused: query is longer than its limit of 8192 bytes"],
    );
    check(
        r#"{"url":"https://api.example.com/","query":"a=b"}"#,
        expect!["refused: query must be an object, not string"],
    );
}

proptest::proptest! {
    #[test]
    fn any_text_stays_one_path_segment(text in "\\PC{0,40}") {
        let url = format!("https://api.example.com/a/{}/z", encode::component(&text));
        if let Ok(url) = strict_url(&url) {
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            proptest::prop_assert_eq!(segments.len(), 3);
            let decoded = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
            proptest::prop_assert_eq!(decoded.as_ref(), text);
        }
    }
}

#[test]
fn lines_and_files_are_lists() {
    check(
        r#"{"url":"https://api.example.com","body":["{\"a\":1}","2"],"encoding":"lines","gzip":true}"#,
        expect![[r#"
            POST https://api.example.com/ [] {"a":1}
            2
        "#]],
    );
    check(
        r#"{"url":"https://api.example.com","body":["a\nb"],"encoding":"lines"}"#,
        expect!["refused: an item of a lines body has a line break in it"],
    );
    check(
        r#"{"url":"https://api.example.com","body":[1],"encoding":"lines"}"#,
        expect!["refused: an item of a lines body must be a string, not integer"],
    );
    check(
        r#"{"url":"https://api.example.com","body":{},"encoding":"parquet"}"#,
        expect!["refused: a parquet body must be a list, not map"],
    );
    check(
        r#"{"url":"https://api.example.com","entries":true}"#,
        expect!["refused: entries: true is for batch.vrl: here is no batch"],
    );
    check(
        r#"{"url":"https://api.example.com","gzip":"yes"}"#,
        expect!["refused: gzip must be true or false, not string"],
    );
}
