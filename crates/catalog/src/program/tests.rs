//! Programs are shared.

use super::*;

#[test]
fn one_text_is_compiled_once() {
    let cache = ProgramCache::default();
    let first = cache.program(Role::Filter, ".type == \"track\"").unwrap();
    let second = cache.program(Role::Filter, ".type == \"track\"").unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    drop((first, second));
    cache.program(Role::Filter, "true").unwrap();
    assert_eq!(
        whole(&cache.programs).len(),
        1,
        "programs that nobody holds are forgotten"
    );
}

#[test]
fn filters_are_boolean_and_change_nothing() {
    assert!(check_filter(".type == \"track\" && exists(.properties.vip)").is_ok());
    assert!(
        check_filter(".properties.vip").is_ok(),
        "it may be true or false"
    );
    let told = check_filter("upcase(\"x\")").unwrap_err().to_string();
    assert_eq!(
        told,
        "filter, line 1, column 1: a filter's value must be true or false"
    );
    assert!(check_filter(".a = 1\ntrue").is_err());
    assert!(check_transform("del(.context.ip)\n.a = 1").is_ok());
    assert!(check_transform("% = 1").is_err());
}

#[test]
fn programs_reach_nothing_outside() {
    for call in [
        "now()",
        "uuid_v4()",
        "uuid_v7()",
        "random_int(1, 2)",
        "random_bytes(1)",
        "get_env_var!(\"HOME\")",
        "get_hostname!()",
        "dns_lookup!(\"example.com\")",
        "reverse_dns!(\"127.0.0.1\")",
        "http_request!(\"http://127.0.0.1/\")",
        "log(\"x\")",
        "get_secret(\"api_key\")",
        "parse_proto!(\"x\", \"/etc/passwd\", \"x\")",
        "validate_json_schema!(\"{}\", \"/etc/passwd\")",
        "decode_gzip!(\"x\")",
        "decode_zstd!(\"x\")",
        "parse_xml!(\"<a/>\")",
        "parse_ruby_hash!(\"{}\")",
        "parse_yaml!(\"a\")",
        "parse_grok!(\"a\", \"%{WORD}\")",
        "unflatten({})",
        "range(0, 5)",
        "chunks!(\"abc\", 1)",
    ] {
        let told = check_transform(&format!(".a = {call}"))
            .unwrap_err()
            .to_string();
        assert!(told.contains("undefined function"), "{call}: {told}");
    }
}
