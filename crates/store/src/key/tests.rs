//! Key files and key texts, good and bad.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use model::Secret;

use super::KeySource;
use crate::error::Error;

fn env(text: &str) -> KeySource {
    KeySource::Env {
        variable: "FAIRLANE_KEY".to_owned(),
        text: Secret::new(text),
    }
}

#[test]
fn generates_a_private_file_and_reads_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/key");
    let source = KeySource::File(path.clone());
    assert!(source.load().unwrap().is_none());
    let made = source.generate().unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
    assert_eq!(source.load().unwrap().unwrap().bytes(), made.bytes());
    assert!(
        matches!(source.generate(), Err(Error::Io { .. })),
        "a key is never overwritten"
    );
}

#[test]
fn refuses_a_file_that_others_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    KeySource::File(path.clone()).generate().unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let error = KeySource::File(path.clone()).load().err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("mode 640") && text.contains("chmod 600"),
        "{text}"
    );
}

#[test]
fn reads_hex_and_base64() {
    let hex = "00ff".repeat(16);
    let base64 = "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8=";
    let from_hex = env(&hex).load().unwrap().unwrap();
    let from_base64 = env(&format!(" {base64}\n")).load().unwrap().unwrap();
    assert_eq!(from_hex.bytes(), from_base64.bytes());
    assert_eq!(from_hex.bytes()[..2], [0, 255]);
}

#[test]
fn refuses_what_is_no_key_and_does_not_show_it() {
    for text in [
        "",
        "hunter2",
        &"zz".repeat(32),
        &"é".repeat(32),
        &"00".repeat(16),
    ] {
        let error = env(text).load().err().unwrap();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("FAIRLANE_KEY"), "{shown}");
        assert!(text.is_empty() || !shown.contains(text), "{shown}");
    }
}
