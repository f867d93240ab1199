//! AWS's published test suite of Signature Version 4 (aws-sig-v4-test-suite).

use super::*;

fn keys(service: &str, session_token: Option<&str>) -> SigV4 {
    SigV4 {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: session_token.map(Secret::new),
        region: "us-east-1".to_owned(),
        service: service.to_owned(),
    }
}

/// 20150830T123600Z
const NOW: u64 = 1_440_938_160;

/// `names` of the signed headers, and the signature.
fn check(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    names: &str,
    signature: &str,
) {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let url = format!("https://example.amazonaws.com{path}");
    let added = keys("service", None).sign(method, &url, &headers, body.as_bytes(), NOW);
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders={names}, Signature={signature}"
    );
    let added: Vec<(&str, &str)> = added
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        added,
        [
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", expected.as_str())
        ],
        "{method} {path}"
    );
}

#[test]
fn published_vectors() {
    let plain = "host;x-amz-date";
    let get = |path: &str, signature: &str| check("GET", path, &[], "", plain, signature);
    // get-vanilla
    get(
        "/",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    // get-slashes
    get(
        "//example//",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    );
    // get-vanilla-empty-query-key
    get(
        "/?Param1=value1",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    );
    // get-vanilla-query-order-key-case
    get(
        "/?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    // get-vanilla-query-order-key
    get(
        "/?Param1=value2&Param1=Value1",
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    );
    // get-vanilla-query-unreserved
    get(
        "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=\
         -._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    );
    // get-vanilla-utf8-query
    get(
        "/?ሴ=bar",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    );
    // get-utf8: the suite's path is what is encoded once
    get(
        "/ሴ",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    );
    // get-unreserved
    get(
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    );
    // post-vanilla
    check(
        "POST",
        "/",
        &[],
        "",
        plain,
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
    // post-x-www-form-urlencoded
    check(
        "POST",
        "/",
        &[("content-type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "content-type;host;x-amz-date",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
    // get-header-value-trim
    check(
        "GET",
        "/",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "",
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
}

#[test]
fn a_session_token_is_signed_too_and_s3_says_its_hash() {
    let url = "https://bucket.s3.amazonaws.com/a%20b";
    let added = keys("s3", Some("session")).sign("PUT", url, &[], b"body", NOW);
    let names: Vec<&str> = added.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "x-amz-date",
            "x-amz-content-sha256",
            "x-amz-security-token",
            "authorization"
        ]
    );
    assert_eq!(added[1].1, sha256_hex(b"body"));
    assert!(
        added[3]
            .1
            .contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, ")
    );
}

#[test]
fn an_encoded_path_is_encoded_once_more_but_not_for_s3() {
    assert_eq!(
        keys("kinesis", None).canonical_path("/a%20b/c"),
        "/a%2520b/c"
    );
    assert_eq!(keys("s3", None).canonical_path("/a%20b/c"), "/a%20b/c");
    for (path, canonical) in [
        ("", "/"),
        ("//", "/"),
        ("//a//b/", "/a/b/"),
        ("/a//b", "/a/b"),
    ] {
        assert_eq!(keys("kinesis", None).canonical_path(path), canonical);
    }
    assert_eq!(keys("s3", None).canonical_path("//a"), "//a");
}

#[test]
fn a_query_is_brought_into_its_one_form() {
    assert_eq!(
        canonical_query("b=2&a=%7e&a=1&c&&d=%2f"),
        "a=1&a=~&b=2&c=&d=%2F"
    );
}

#[test]
fn the_signed_host_is_that_of_the_host_header() {
    assert_eq!(split("http://h:81/p/q?x=1#f"), ("h:81", "/p/q", "x=1"));
    assert_eq!(split("https://h?x"), ("h", "", "x"));
}
