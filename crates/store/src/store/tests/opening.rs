//! What is refused at start, and what is made.

use std::fs;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use model::{ConnectionId, Offset, Secret, SourceId};

use super::{NOW, live, names, open, options, raw};
use crate::{Error, KeySource, Options, Store};

fn refusal(options: Options) -> String {
    let dir = options.dir.display().to_string();
    let text = Store::open(options, NOW).err().unwrap().to_string();
    text.replace(&dir, "DIR")
        .replace("; ", ";\n")
        .replace(", ", ",\n")
        .replace(" (", "\n(")
        + "\n"
}

fn check_refusal(options: Options, expected: Expect) {
    expected.assert_eq(&refusal(options));
}

#[test]
fn a_new_store_is_empty_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("a/b");
    for _ in 0..2 {
        let store = open(&at);
        assert_eq!(store.lanes().unwrap(), vec![]);
        assert_eq!(store.lost_connections().unwrap(), vec![]);
        assert_eq!(store.dead_letter_counts().unwrap(), vec![]);
    }
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).source_ids(&names(&["web"])).unwrap();
    raw(dir.path())
        .execute_batch("PRAGMA user_version = 9")
        .unwrap();
    let before = fs::read(dir.path().join("state.db")).unwrap();
    check_refusal(
        options(dir.path()),
        expect![[r#"
            DIR/state.db has schema 9 and this program knows schemas up to 3;
            run the newer fairlane,
            the data was not touched
        "#]],
    );
    assert_eq!(fs::read(dir.path().join("state.db")).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    raw(dir.path())
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .unwrap();
    let before = fs::read(dir.path().join("state.db")).unwrap();
    check_refusal(
        options(dir.path()),
        expect![[r#"
        DIR/state.db is another program's database
        (application id 0x00000000);
        choose another directory,
        it was not touched
    "#]],
    );
    assert_eq!(fs::read(dir.path().join("state.db")).unwrap(), before);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    check_refusal(
        options(&file.join("sub")),
        expect![[r#"
        cannot write DIR: Not a directory
        (os error 20);
        give it a directory that this user may write to
    "#]],
    );
    // /proc takes no files, from root neither.
    check_refusal(
        options(&PathBuf::from("/proc/self")),
        expect![[r#"
            cannot write DIR/state.db: No such file or directory
            (os error 2);
            give it a directory that this user may write to
        "#]],
    );
}

#[test]
fn a_wrong_key_is_refused_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store
        .put_secret("crm", &Secret::new("hunter2"), NOW)
        .unwrap();
    drop(store);
    let env = |digit: &str| Options {
        key: KeySource::Env {
            variable: "FAIRLANE_KEY".to_owned(),
            text: Secret::new(digit.repeat(64)),
        },
        ..options(dir.path())
    };
    check_refusal(
        env("a"),
        expect![[r#"
        the key from the environment variable FAIRLANE_KEY is not the key that sealed this store's secrets;
        give the right key
    "#]],
    );
    let key = fs::read_to_string(dir.path().join("key")).unwrap();
    fs::remove_file(dir.path().join("key")).unwrap();
    check_refusal(
        options(dir.path()),
        expect![[r#"
        the key from the file DIR/key is missing,
        and this store's secrets are sealed with it;
        restore it from a backup
    "#]],
    );
    assert!(
        !dir.path().join("key").exists(),
        "no new key beside secrets it cannot open"
    );
    fs::write(dir.path().join("key"), &key).unwrap();
    let error = refusal(options(dir.path()));
    assert!(error.contains("chmod 600"), "{error}");
    let right = Options {
        key: KeySource::Env {
            variable: "FAIRLANE_KEY".to_owned(),
            text: Secret::new(key),
        },
        ..options(dir.path())
    };
    let store = Store::open(right, NOW).unwrap();
    assert_eq!(
        store.get_secret("crm").unwrap(),
        Some(Secret::new("hunter2"))
    );
}

#[test]
fn names_keep_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ids = store.source_ids(&names(&["web", "ios", "web"])).unwrap();
    assert_eq!(ids, vec![SourceId(1), SourceId(2), SourceId(1)]);
    assert_eq!(store.destination_ids(&names(&["web"])).unwrap()[0].0, 1);
    drop(store);
    let store = open(dir.path());
    let ids = store.source_ids(&names(&["android", "ios"])).unwrap();
    assert_eq!(ids, vec![SourceId(3), SourceId(2)]);
    expect![[r#"
        source 1 web
        source 2 ios
        destination 1 web
        source 3 android
    "#]]
    .assert_eq(&fs::read_to_string(dir.path().join("names.txt")).unwrap());
}

#[test]
fn numbers_outlive_a_lost_database_and_its_lanes_are_known_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.source_ids(&names(&["b", "a"])).unwrap();
    store.connection_ids(&names(&["one", "two"])).unwrap();
    store.add_lanes(&[live(1), live(2)]).unwrap();
    drop(store);
    fs::remove_file(dir.path().join("state.db")).unwrap();

    let store = open(dir.path());
    assert_eq!(
        store.source_ids(&names(&["a", "b"])).unwrap(),
        vec![SourceId(2), SourceId(1)]
    );
    assert_eq!(
        store.lost_connections().unwrap(),
        vec![ConnectionId(1), ConnectionId(2)]
    );
    store
        .add_lane(ConnectionId(2), crate::LaneKind::Live, Offset(7))
        .unwrap();
    store.connection_ids(&names(&["three"])).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        store.lost_connections().unwrap(),
        vec![ConnectionId(1)],
        "across restarts too"
    );
}

#[test]
fn a_lost_names_file_is_written_again_and_a_foreign_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .source_ids(&names(&["web", "ios"]))
        .unwrap();
    let file = dir.path().join("names.txt");
    for damaged in [
        None,
        Some("source 1 web\nsou"),
        Some("source 1 web\n\u{0}\u{0}\nsource 9"),
    ] {
        match damaged {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => fs::write(&file, text).unwrap(),
        }
        drop(open(dir.path()));
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "source 1 web\nsource 2 ios\n"
        );
    }
    fs::write(&file, "source 1 ios\n").unwrap();
    check_refusal(
        options(dir.path()),
        expect![[r#"
        DIR/names.txt disagrees with the database or cannot be read
        (source 1 is ios here and web elsewhere);
        restore DIR/names.txt and state.db from one backup: the log's records name their source by these numbers
    "#]],
    );
    // Without the database, the file is the only witness: it must be whole.
    fs::write(&file, "source 1 web\nsauce 2 ios\n").unwrap();
    fs::remove_file(dir.path().join("state.db")).unwrap();
    let error = Store::open(options(dir.path()), NOW).err().unwrap();
    assert!(matches!(error, Error::NamesDamaged { .. }), "{error}");
}
