//! What an author, or an operator, is told about a mistake.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::limits::FOLDER_BYTES_MAX;

/// A definition's folder in memory.
pub(crate) fn folder(id: &str, files: &[(&str, &str)]) -> Folder {
    Folder {
        id: id.to_owned(),
        place: format!("destinations/{id}"),
        files: files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect(),
    }
}

/// A definition with the least in it, and more lines of `destination.toml` behind those.
pub(crate) fn define(top: &str, program: &str) -> Result<Definition, Error> {
    let toml = format!("name = \"Test\"\ncategory = \"test\"\n{top}");
    let files = [("destination.toml", toml.as_str()), ("event.vrl", program)];
    let definition = Definition::load(folder("test", &files))?;
    definition.compile()?;
    Ok(definition)
}

fn check(top: &str, program: &str, expected: Expect) {
    let told = match define(top, program) {
        Ok(_) => "fine".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&told);
}

const HOSTS: &str = "hosts = [\"a.example.com\"]\n";

#[test]
fn mistakes_are_told_with_file_and_line() {
    check(HOSTS, "null", expect!["fine"]);
    check(
        "hostz = []",
        "null",
        expect![
            "destinations/test/destination.toml:3: unknown field `hostz`, expected one of `name`, `category`, `docs`, `sender`, `events`, `payload`, `body`, `gzip`, `retry_expiry`, `rate_limit_per_s`, `hosts`, `steps`, `steps_accept`, `cache_when`, `auth`, `settings`, `options`, `request`, `batch`, `response`, `partial`"
        ],
    );
    check(
        "",
        "null",
        expect![[
            r#"destinations/test/destination.toml:1: say where requests may go: hosts = ["api.example.com"], or [request] url"#
        ]],
    );
    check(
        &format!("{HOSTS}[auth]\nkind = \"bearer\"\ntoken = \"{{{{secret.key}}}}\"\n"),
        "null",
        expect![
            "destinations/test/destination.toml:5: {{secret.key}} names no setting; add [settings.key]"
        ],
    );
    check(
        &format!("{HOSTS}[auth]\nkind = \"basic\"\nuser = \"u\"\n"),
        "null",
        expect![[r#"destinations/test/destination.toml:5: [auth] kind = "basic" needs password"#]],
    );
    check(
        &format!("{HOSTS}[auth]\nkind = \"bearer\"\ntoken = \"t\"\nsecret = \"u\"\n"),
        "null",
        expect![[r#"destinations/test/destination.toml:5: [auth] kind = "bearer" has no secret"#]],
    );
    check(
        &format!(
            "{HOSTS}[auth]\nkind = \"header\"\nname = \"a\"\nvalue = \"b\"\nencoding = \"hex\"\n"
        ),
        "null",
        expect![[
            r#"destinations/test/destination.toml:5: encoding "hex" is none: use base64, or leave it out"#
        ]],
    );
    check(
        &format!("{HOSTS}[settings.a]\ntype = \"text\"\nhelp = \"h\"\n"),
        "null",
        expect![
            "destinations/test/destination.toml:5: unknown variant `text`, expected one of `string`, `number`, `integer`, `boolean`, `url`, `list`, `map`"
        ],
    );
    check(
        &format!("{HOSTS}[[response]]\nstatus = 999\nresult = \"delivered\"\n"),
        "null",
        expect!["destinations/test/destination.toml:5: 999 is no HTTP status: use 100 to 599"],
    );
    check(
        &format!("{HOSTS}[batch]\nevents_max = 1\nbytes_max = 1\nwait_ms = 1\n"),
        "null",
        expect![
            "destinations/test/destination.toml:4: there is no batch.vrl beside destination.toml"
        ],
    );
}

const OBJECTS: &str = "sender = \"object_storage\"\nhosts = [\"s3://{{settings.bucket}}\"]\n\
    [settings.bucket]\ntype = \"string\"\nhelp = \"h\"\n";

#[test]
fn mistakes_about_senders_are_told() {
    check(OBJECTS, "null", expect!["fine"]);
    check(
        &format!("{OBJECTS}[options]\naws_regoin = \"eu\"\n"),
        "null",
        expect![
            "destinations/test/destination.toml:9: [options] aws_regoin: this sender has no such option; did you mean aws_region?"
        ],
    );
    check(
        &format!("{HOSTS}[options]\naws_region = \"eu\"\n"),
        "null",
        expect![
            "destinations/test/destination.toml:5: [options] aws_region: this sender has no options"
        ],
    );
    check(
        &format!("{OBJECTS}[auth]\nkind = \"bearer\"\ntoken = \"t\"\n"),
        "null",
        expect![
            "destinations/test/destination.toml:1: [auth] is for the sender http: others take keys and passwords in [options]"
        ],
    );
    check(
        "sender = \"object_storage\"\npayload = \"event\"\nhosts = [\"s3://b\"]",
        "null",
        expect![[
            r#"destinations/test/destination.toml:1: this sender needs payload = "program": each request a place of its own"#
        ]],
    );
    check(
        HOSTS,
        "{\"url\": .record.lane + to_string(.record.offset)}",
        expect!["fine"],
    );
    check(
        HOSTS,
        ".record.lane = \"x\"\nnull",
        expect!["destinations/test/event.vrl:1:1: mutation of read-only value: `.record.lane`"],
    );
}

#[test]
fn a_program_below_its_quotes_begins_on_the_next_line() {
    // `cache_when` stands on line 5.
    let at = |program: &str| {
        let top = format!("{HOSTS}steps = {STEPS}\ncache_when = {program}\n");
        let error = define(&top, "null").unwrap_err().to_string();
        error.split(' ').next().unwrap_or_default().to_owned()
    };
    let place = "destinations/test/destination.toml";
    assert_eq!(at("'.boddy == 1'"), format!("{place}:5:"));
    assert_eq!(at("'''.boddy == 1'''"), format!("{place}:5:"));
    assert_eq!(at("'''\n.boddy == 1\n'''"), format!("{place}:6:"));
}

const STEPS: &str = "[\"event.vrl\", \"event.vrl\"]";

#[test]
fn a_folders_files_are_texts_of_bounded_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test");
    std::fs::create_dir(&path).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(path.join(name), text).unwrap();
    let told = || Folder::read(&path).unwrap_err().to_string();
    write("event.vrl", "\u{feff}null".as_bytes());
    write("picture.png", &vec![0xff; FOLDER_BYTES_MAX]);
    assert_eq!(Folder::read(&path).unwrap().files["event.vrl"], "null");
    write("README.md", &vec![b'x'; FOLDER_BYTES_MAX + 1]);
    assert!(
        told()
            .ends_with("README.md: is too large: the files of a definition may have 16 MiB in all")
    );
    write("README.md", &[0xff]);
    assert!(told().contains("README.md: "), "{}", told());
    std::fs::remove_file(path.join("README.md")).unwrap();
    std::fs::create_dir(path.join("send.vrl")).unwrap();
    assert!(told().ends_with("send.vrl: is no file"), "{}", told());
}

#[test]
fn what_could_never_be_sent_is_refused_at_load() {
    let oauth = |keys: &str| {
        let auth = "[auth]\nkind = \"oauth2\"\ngrant = \"client_credentials\"\nclient_id = \"c\"";
        format!("{HOSTS}{auth}\n{keys}\n")
    };
    let header = "[auth]\nkind = \"header\"\nname = \"x-key\"\nvalue = \"v\"\n";
    for (top, expected) in [
        (
            "hosts = [\"\"]\n".to_owned(),
            expect![[
                r#"destinations/test/destination.toml:3: hosts: "" is no host: write api.example.com, *.example.com for those below it, or api.example.com:8443"#
            ]],
        ),
        (
            oauth("token_url = \"file:///etc/passwd\""),
            expect![
                "destinations/test/destination.toml:5: the url must begin with https:// or http://, not file:"
            ],
        ),
        (
            oauth("token_url = \"login\""),
            expect![
                "destinations/test/destination.toml:5: the url is none: relative URL without a base"
            ],
        ),
        (
            oauth("token_url = \"https://a.example.com/\"\nclient_secret = 5"),
            expect![
                "destinations/test/destination.toml:5: [auth] client_secret must be text, in quotes"
            ],
        ),
        (
            oauth("token_url = \"https://a.example.com/\"\nretries = 5"),
            expect![[
                r#"destinations/test/destination.toml:5: [auth] kind = "oauth2" has no retries"#
            ]],
        ),
        (
            format!("{HOSTS}{header}prefix = \"a\\r\\nb\"\n"),
            expect![
                "destinations/test/destination.toml:5: header prefix has a line break or control character in it"
            ],
        ),
        (
            format!("{HOSTS}[request]\nheaders = {{ x-a = \"a\\r\\nb: c\" }}\n"),
            expect![
                "destinations/test/destination.toml:4: header x-a has a line break or control character in it"
            ],
        ),
        (
            format!("{HOSTS}[request]\nmethod = \"GE T\"\n"),
            expect![[
                r#"destinations/test/destination.toml:4: "GE T" is no method: use GET, POST, PUT, PATCH, DELETE or HEAD"#
            ]],
        ),
        (
            format!("{HOSTS}[settings.x]\ntype = \"string\"\nhelp = \"h\"\nchoices = []\n"),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: choices = [] leaves nothing to choose: name some, or remove it"
            ],
        ),
        (
            format!("{HOSTS}[settings.x]\ntype = \"string\"\nhelp = \"h\"\nmax = 3\n"),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: min and max belong to number and integer settings"
            ],
        ),
        (
            format!("{HOSTS}[settings.x]\ntype = \"integer\"\nhelp = \"h\"\nmin = 4\nmax = 3\n"),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: no number is from min to max"
            ],
        ),
        (
            format!(
                "{HOSTS}[settings.x]\ntype = \"integer\"\nhelp = \"h\"\nmin = 4\ndefault = 3\n"
            ),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: its default must be at least 4"
            ],
        ),
        (
            "hosts = [\"a.example.com:22\"]\n".to_owned(),
            expect![
                "destinations/test/destination.toml:3: hosts: port 22 is not allowed: use 80, 443, or 1024 and above"
            ],
        ),
        (
            format!("{HOSTS}events = []\n"),
            expect![
                "destinations/test/destination.toml:1: events = [] takes none: name some, or remove it to take all"
            ],
        ),
        (
            format!("{HOSTS}[[response]]\nstatus = []\nresult = \"retry\"\n"),
            expect!["destinations/test/destination.toml:5: a list without a status holds for none"],
        ),
        (
            format!(
                "{HOSTS}[settings.x]\ntype = \"integer\"\nhelp = \"h\"\nmin = 0.2\nmax = 0.8\n"
            ),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: no number is from min to max"
            ],
        ),
        (
            format!("{HOSTS}[settings.x]\ntype = \"number\"\nhelp = \"h\"\nmax = inf\n"),
            expect![
                "destinations/test/destination.toml:4: [settings.x]: min and max must be numbers"
            ],
        ),
        (
            format!(
                "{HOSTS}[settings.x]\ntype = \"string\"\nhelp = \"h\"\nsecret = true\n\
                 [settings.has_x]\ntype = \"string\"\nhelp = \"h\"\n"
            ),
            expect![
                "destinations/test/destination.toml:8: [settings.has_x]: programs see by this name whether the secret is set: use another"
            ],
        ),
        (
            format!("{HOSTS}docs = \"a\\u001b[31mb\"\n"),
            expect![
                "destinations/test/destination.toml:1: name, category and docs are one line each, without control characters"
            ],
        ),
        (
            "payload = \"event\"\n[request]\nurl = \"https://a.example.com\"\n\
             [batch]\nevents_max = 2\nbytes_max = 9\nwait_ms = 3600001\n"
                .to_owned(),
            expect![
                "destinations/test/destination.toml:6: [batch] wait_ms must be at most 3600000, an hour"
            ],
        ),
    ] {
        check(&top, "null", expected);
    }
}

#[test]
fn a_mistake_in_an_auth_is_told_where_it_stands() {
    let settings =
        "[settings.x]\ntype = \"string\"\nhelp = \"h\"\nchoices = [\"bearer\", \"header\"]\n";
    let good = "[[auth]]\nkind = \"header\"\nname = \"a\"\nvalue = \"b\"\n";
    let bad = "[[auth]]\nkind = 'header'\nname = \"bad name\"\nvalue = \"b\"\n";
    check(
        &format!("{HOSTS}{settings}{good}{bad}"),
        "null",
        expect![[r#"destinations/test/destination.toml:13: "bad name" is no header name"#]],
    );
    let session = "[auth]\nkind = \"session\"\n[auth.login]\nurl = \"https://a.example.com/\"\n";
    check(
        &format!("{HOSTS}{session}token = '.boddy.token'\n"),
        "null",
        expect![
            "destinations/test/destination.toml:8: .boddy is nothing that this program sees: there are .status, .headers, .body; did you mean .body?"
        ],
    );
}

#[test]
fn a_program_without_an_expression_is_refused() {
    for empty in ["", "# nothing yet\n"] {
        let told = define(HOSTS, empty).unwrap_err().to_string();
        let expected =
            "event.vrl:1:1: there is no expression: the value of a program is its last one";
        assert!(told.ends_with(expected), "{told}");
    }
}

#[test]
fn a_url_that_leaves_its_hosts_is_told_before_any_event() {
    let definition = define(
        &format!("{HOSTS}payload = \"event\"\n[request]\nurl = \"https://b.example.com/\"\n"),
        "null",
    )
    .unwrap();
    let told = crate::binding::Binding::new(&definition, &Default::default());
    let told = told.err().unwrap().to_string();
    assert!(
        told.ends_with("https://b.example.com is none of the definition's hosts"),
        "{told}"
    );
}

#[test]
fn keys_about_steps_need_steps() {
    let expected = "destinations/test/destination.toml:4: steps_accept and cache_when are about answers to \
                    earlier steps: name two programs or more in steps";
    for key in ["steps_accept = [404]", "cache_when = 'true'"] {
        let alone = format!("{HOSTS}{key}\n");
        assert_eq!(define(&alone, "null").unwrap_err().to_string(), expected);
        let fine = format!("{HOSTS}steps = {STEPS}\n{key}\n");
        assert!(define(&fine, "null").is_ok(), "{key}");
    }
}

#[test]
fn answers_to_steps_are_a_list_of_what_they_have() {
    for (program, expected) in [
        ("x = .responses[0].body.id", expect![[""]]),
        (
            ".responses.body",
            expect![
                "destinations/test/write.vrl:1:1: .responses is a list: write .responses[0].body of the first answer"
            ],
        ),
        (
            ".responses[0].stauts",
            expect![
                "destinations/test/write.vrl:1:1: .responses[0] has no stauts: it has status, headers, body; did you mean .responses[0].status?"
            ],
        ),
    ] {
        let toml = "name = \"T\"\ncategory = \"t\"\nhosts = [\"a.example\"]\n\
                    steps = [\"event.vrl\", \"write.vrl\"]\n";
        let files = [
            ("destination.toml", toml),
            ("event.vrl", "null"),
            ("write.vrl", program),
        ];
        let told = Definition::load(folder("test", &files)).and_then(|found| found.compile());
        expected.assert_eq(
            &told
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default(),
        );
    }
}

#[test]
fn rules_whose_value_is_of_no_use_are_refused() {
    for (rule, expected) in [
        (
            "[[response]]\nwhen = '.status'\nresult = \"delivered\"",
            expect![
                "destinations/test/destination.toml:5: its value must be true or false: whether the rule holds"
            ],
        ),
        (
            "[[partial]]\nstatus = 200\nfailed = 'true'\n\
             [batch]\nevents_max = 2\nbytes_max = 9\nwait_ms = 1",
            expect![[
                r#"destinations/test/destination.toml:6: its value must be a list of {"index", "result"}"#
            ]],
        ),
        (
            "steps = [\"event.vrl\", \"batch.vrl\"]\ncache_when = '\"yes\"'",
            expect![
                "destinations/test/destination.toml:5: its value must be true or false: whether the rule holds"
            ],
        ),
    ] {
        let toml = format!("name = \"T\"\ncategory = \"t\"\n{HOSTS}{rule}\n");
        let files = [
            ("destination.toml", toml.as_str()),
            ("event.vrl", "null"),
            ("batch.vrl", "null"),
        ];
        let told = Definition::load(folder("test", &files)).and_then(|found| found.compile());
        expected.assert_eq(&told.unwrap_err().to_string());
    }
}

#[test]
fn a_programs_mistakes_are_told_with_file_and_line() {
    check(
        HOSTS,
        "x = 1\ny = nothing(x)\n{}",
        expect![
            "destinations/test/event.vrl:2:5: call to undefined function: `nothing`; docs/reference/destination.md lists the functions that programs may call"
        ],
    );
    check(
        HOSTS,
        "x = 1\n\nstring(.event.userId)",
        expect![
            "destinations/test/event.vrl:3:1: unhandled error: `string(.event.userId)`, expression can result in runtime error, handle the error case to ensure runtime success"
        ],
    );
    check(
        HOSTS,
        "a = \"\n{{secret.key}}\"",
        expect![
            "destinations/test/event.vrl:2: {{secret.key}} names no secret setting; add [settings.key] with secret = true"
        ],
    );
    check(
        HOSTS,
        "x = .\nx",
        expect![
            "destinations/test/event.vrl:1:5: '.' alone means nothing here: write .event, .event_json, .record, .settings"
        ],
    );
    check(
        HOSTS,
        ".settings = {}\nnull",
        expect!["destinations/test/event.vrl:1:1: mutation of read-only value: `.settings`"],
    );
    check(
        &format!("{HOSTS}[[response]]\nwhen = '.body.x = 1'\nresult = \"delivered\"\n"),
        "null",
        expect!["destinations/test/destination.toml:5: mutation of read-only value: `.body.x`"],
    );
}

#[test]
fn a_mistakes_code_and_column_are_those_of_the_author() {
    // What stands for a secret is neither told nor counted.
    let settings =
        format!("{HOSTS}[settings.key]\ntype = \"string\"\nsecret = true\nhelp = \"h\"\n");
    check(
        &settings,
        "[\"é\", \"{{secret.key}}\", now()]",
        expect![
            "destinations/test/event.vrl:1:25: call to undefined function: `now`; docs/reference/destination.md lists the functions that programs may call"
        ],
    );
    check(
        &settings,
        "upcase(1, \"{{secret.key}}\")",
        expect![[
            r#"destinations/test/event.vrl:1:8: wrong number of function arguments: `1, "{{secret.key}}"`, too many function arguments, this function takes a maximum of 1 argument"#
        ]],
    );
    check(
        HOSTS,
        "x = {\n  1",
        expect![[
            r#"destinations/test/event.vrl:2:4: syntax error, unexpected end of program, expected one of: ";", "\n", "}""#
        ]],
    );
    check(
        HOSTS,
        "x = 1\ny = [x, x * x]",
        expect![
            "destinations/test/event.vrl:2:9: '*' stands only between numbers, and this cannot be seen here: write to_float!(x) * 100, since text times a number makes text of any length"
        ],
    );
}

#[test]
fn paths_at_which_there_is_nothing_are_refused() {
    for (program, expected) in [
        (
            ".evnt.x",
            expect![
                "destinations/test/event.vrl:1:1: .evnt is nothing that this program sees: there are .event, .event_json, .record, .settings; did you mean .event?"
            ],
        ),
        (
            ".responses[0]",
            expect![
                "destinations/test/event.vrl:1:1: .responses is nothing that this program sees: there are .event, .event_json, .record, .settings"
            ],
        ),
        (
            "exists(.settings.regoin)",
            expect![
                "destinations/test/event.vrl:1:8: .settings.regoin is no setting: add [settings.regoin] to destination.toml; did you mean .settings.region?"
            ],
        ),
        (
            "del(.Event.x)",
            expect![
                "destinations/test/event.vrl:1:5: .Event is nothing that this program sees: there are .event, .event_json, .record, .settings; did you mean .event?"
            ],
        ),
        (
            "x = .settings.api_key",
            expect![[
                r#"destinations/test/event.vrl:1:5: .settings.api_key is a secret, which no program sees: write "{{secret.api_key}}" where the request needs it, and .settings.has_api_key to ask whether it is set"#
            ]],
        ),
        (
            ".new = 1",
            expect![
                "destinations/test/event.vrl:1:1: .new is nothing that this program sees: there are .event, .event_json, .record, .settings"
            ],
        ),
        (
            ".[0]",
            expect![
                "destinations/test/event.vrl:1:1: '.' alone means nothing here: write .event, .event_json, .record, .settings"
            ],
        ),
        (
            ".record.lnae",
            expect![
                "destinations/test/event.vrl:1:1: .record has no lnae: it has source, connection, lane, offset; did you mean .record.lane?"
            ],
        ),
        (
            ".record[0]",
            expect!["destinations/test/event.vrl:1:1: .record is no list: write .record.NAME"],
        ),
        (
            "x = .settings[0]",
            expect!["destinations/test/event.vrl:1:5: .settings is no list: write .settings.NAME"],
        ),
        (
            "[.settings.has_api_key, .settings, .settings.region, .event.evnt, .record.lane]",
            expect![["fine"]],
        ),
    ] {
        check(SETTINGS, program, expected);
    }
    let when =
        |when: &str| format!("{HOSTS}[[response]]\nwhen = '{when}'\nresult = \"delivered\"\n");
    check(&when(".status == 200"), "null", expect![["fine"]]);
    check(
        &when(".status.code == 200"),
        "null",
        expect!["destinations/test/destination.toml:5: .status is a number: nothing is in it"],
    );
    check(
        &when(".event.a == 1"),
        "null",
        expect![
            "destinations/test/destination.toml:5: .event is nothing that this program sees: there are .status, .headers, .body"
        ],
    );
    check(
        &when(".settings.a == 1"),
        "null",
        expect![
            "destinations/test/destination.toml:5: .settings is nothing that this program sees: there are .status, .headers, .body"
        ],
    );
}

#[test]
fn hosts_that_are_none_are_refused_at_load() {
    for (hosts, expected) in [
        (
            r#""*.example.com", "a.example.com:8443", "http://127.0.0.1:9009", "[::1]""#,
            expect!["fine"],
        ),
        (
            r#""*""#,
            expect![[
                r#"destinations/test/destination.toml:3: hosts: "*" is no host: write api.example.com, *.example.com for those below it, or api.example.com:8443"#
            ]],
        ),
        (
            r#""a.example.com", "b.example.com/x""#,
            expect![[
                r#"destinations/test/destination.toml:3: hosts: "b.example.com/x" is no host: write api.example.com, *.example.com for those below it, or api.example.com:8443"#
            ]],
        ),
        (
            r#""s3://bucket""#,
            expect![
                "destinations/test/destination.toml:3: hosts: s3: is not for this sender: begin with http:// or https://"
            ],
        ),
    ] {
        check(&format!("hosts = [{hosts}]"), "null", expected);
    }
}

#[test]
fn network_clock_and_environment_are_out_of_reach() {
    for call in [
        "now()",
        "uuid_v4()",
        "get_env_var!(\"HOME\")",
        "get_hostname!()",
        "random_int!(0, 1)",
        "log(\"x\")",
        "http_request!(\"http://x\")",
        "dns_lookup!(\"x\")",
        "parse_xml!(\"x\")",
        "decode_gzip!(\"x\")",
        "unflatten({})",
        "get_secret(\"x\")",
        "to_regex!(\"x\")",
    ] {
        let error = define(HOSTS, call).unwrap_err().to_string();
        assert!(error.contains("undefined function"), "{call}: {error}");
    }
}

const SETTINGS: &str = r#"
hosts = ["a.example.com"]
[settings.api_key]
type = "string"
required = true
secret = true
help = "see the console"
[settings.region]
type = "string"
default = "US"
choices = ["US", "EU"]
help = "where"
[settings.url]
type = "url"
help = "where to"
[settings.limit]
type = "integer"
min = 1
max = 10
help = "how many"
"#;

fn check_settings(raw: serde_json::Value, expected: Expect) {
    let definition = define(SETTINGS, "null").unwrap();
    let raw: model::Settings = serde_json::from_value(raw).unwrap();
    let told = match definition.check_settings(&raw) {
        Ok(checked) => format!("{:?} {:?}", checked.values, checked.secrets),
        Err(problems) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    expected.assert_eq(&told);
}

#[test]
fn settings_are_checked_and_secrets_kept_apart() {
    check_settings(
        json!({"api_key": "k", "limit": 3}),
        expect![[r#"{"limit": Number(3), "region": String("US")} {"api_key": Secret(****)}"#]],
    );
    check_settings(
        json!({"apikey": "k", "region": "AP", "url": "ftp://x", "limit": 1.5}),
        expect![[r#"
            apikey: is no setting of test; did you mean api_key?
            api_key: is required: see the console
            limit: must be an integer
            region: must be one of US, EU
            url: must begin with https:// or http://, not ftp:"#]],
    );
    for (limit, told) in [
        (json!(0), expect!["limit: must be from 1 to 10"]),
        (json!(11), expect!["limit: must be from 1 to 10"]),
        (
            json!(10),
            expect![[r#"{"limit": Number(10), "region": String("US")} {"api_key": Secret(****)}"#]],
        ),
    ] {
        check_settings(json!({"api_key": "k", "limit": limit}), told);
    }
    check_settings(
        json!({"api_key": "two\nlines", "url": "https://u:p@x", "entirely_other": 1}),
        expect![[r#"
            entirely_other: is no setting of test; it knows: api_key, limit, region, url
            api_key: has a line break or another control character in it; check what was pasted
            url: must not hold a user name or password"#]],
    );
}

#[test]
fn a_key_file_may_be_pasted_with_its_lines() {
    let definition = define(SETTINGS, "null").unwrap();
    for (pasted, kept) in [
        ("{\n  \"a\": \"b\"\n}\n", r#"{"a":"b"}"#),
        (
            "-----BEGIN K-----\r\nabc\r\n-----END K-----\n",
            r"-----BEGIN K-----\nabc\n-----END K-----",
        ),
    ] {
        let raw = serde_json::from_value(json!({"api_key": pasted})).unwrap();
        let checked = definition.check_settings(&raw).unwrap();
        assert_eq!(checked.secrets["api_key"].reveal(), kept);
    }
}

#[test]
fn programs_know_the_types_of_settings() {
    // A setting with a default is always a string: no `!` needed.
    define(
        SETTINGS,
        r#"{"url": "https://a.example.com/" + .settings.region}"#,
    )
    .unwrap();
    // An optional one may be null.
    assert!(define(SETTINGS, r#"{"url": upcase(.settings.url)}"#).is_err());
    define(SETTINGS, r#"if .settings.has_api_key { null } else { {} }"#).unwrap();
}
