//! How database and file are brought to say the same.

use expect_test::{Expect, expect};

use super::{NameKind, Numbered, file, merge};

fn names(text: &str) -> Vec<Numbered> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.txt");
    std::fs::write(&path, text).unwrap();
    file::read(&path).unwrap().names
}

fn check(database: &str, in_file: &str, expected: Expect) {
    let merged = match merge(&names(database), &names(in_file)) {
        Ok(merged) => merged
            .iter()
            .map(|n| format!("{} {} {}\n", n.kind.as_str(), n.id, n.name))
            .collect::<String>(),
        Err(what) => what,
    };
    expected.assert_eq(&merged);
}

#[test]
fn what_one_lacks_the_other_gives() {
    let ours = "source 1 web\nconnection 1 a\n";
    check(
        ours,
        ours,
        expect![[r#"
        source 1 web
        connection 1 a
    "#]],
    );
    check(
        "",
        ours,
        expect![[r#"
        source 1 web
        connection 1 a
    "#]],
    );
    check(
        ours,
        "source 2 ios\n",
        expect![[r#"
        source 1 web
        connection 1 a
        source 2 ios
    "#]],
    );
}

#[test]
fn contradictions_are_errors() {
    check(
        "source 1 web\n",
        "source 1 ios\n",
        expect!["source 1 is ios here and web elsewhere"],
    );
    check(
        "source 1 web\n",
        "source 2 web\n",
        expect!["source web is 2 here and 1 elsewhere"],
    );
}

#[test]
fn a_torn_last_line_is_no_name_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.txt");
    std::fs::write(&path, "source 1 web\nsource 2 io").unwrap();
    let read = file::read(&path).unwrap();
    assert_eq!(
        read.names,
        vec![Numbered {
            kind: NameKind::Source,
            id: 1,
            name: "web".to_owned()
        }]
    );
    assert!(read.torn && read.bad_line.is_none());
    std::fs::write(&path, "source 1 web\nsauce 2 ios\nsource 3\n").unwrap();
    let read = file::read(&path).unwrap();
    assert_eq!(
        (read.bad_line, read.torn, read.names.len()),
        (Some(2), false, 1)
    );
}
