//! Definitions of an operator's own are compiled in a process apart first: a program that takes the
//! compiler's stack, memory or time with it takes that process, and not this one.
//!
//! ```text
//!  folders not seen before --stdin--> fairlane vet --stdin    under limits of memory and CPU
//!      '-- one that does not die has said nothing: what is wrong with a definition is told when it
//!          is loaded here
//! ```

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use catalog::definition::Folder;
use ring::digest::{SHA256, digest};

use crate::command::vet::{ADDRESS_SPACE_BYTES_MAX, CPU_S_MAX};

/// The CPU's limit ends a process that computes; this one ends a process that does not.
const WAIT_MAX: Duration = Duration::from_secs(2 * CPU_S_MAX);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Sources that are remembered as harmless.
const SEEN_MAX: usize = 4_096;

type Hash = [u8; 32];

/// # Errors
/// The first definition whose programs ended the process that compiled them.
pub fn vet(folders: &[Folder]) -> anyhow::Result<()> {
    static APART: LazyLock<Apart> = LazyLock::new(|| Apart {
        program: this_program(),
        arguments: &["vet", "--stdin"],
        seen: Mutex::default(),
    });
    APART.vet(folders)
}

struct Apart {
    program: PathBuf,
    arguments: &'static [&'static str],
    /// Sources that were compiled apart, and lived: a reload vets only what has changed.
    seen: Mutex<HashSet<Hash>>,
}

impl Apart {
    fn vet(&self, folders: &[Folder]) -> anyhow::Result<()> {
        let mut unseen = Vec::new();
        for folder in folders {
            let (line, hash) = sources(folder)?;
            if !self.seen().contains(&hash) {
                unseen.push((folder, line, hash));
            }
        }
        if unseen.is_empty() {
            return Ok(());
        }
        let all: String = unseen.iter().map(|(_, line, _)| line.as_str()).collect();
        // Usually one process does. Where it ends at the first that is wrong, those behind it have
        // not been looked at.
        if !self.compile(&all)?.success() {
            for (folder, line, _) in &unseen {
                let status = self.compile(line)?;
                if status.code().is_none() {
                    bail!(
                        "definition {}: its programs ended the process that compiled them \
                         ({status}; the limits are {ADDRESS_SPACE_BYTES_MAX} bytes and {CPU_S_MAX} \
                         s): make them simpler",
                        folder.id
                    );
                }
            }
        }
        let mut seen = self.seen();
        if seen.len() + unseen.len() > SEEN_MAX {
            seen.clear();
        }
        seen.extend(unseen.iter().map(|(_, _, hash)| *hash));
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, HashSet<Hash>> {
        // A set of hashes is whole after any panic.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, lines: &str) -> anyhow::Result<ExitStatus> {
        let mut process = Command::new(&self.program)
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process to compile definitions in")?;
        if let Some(mut stdin) = process.stdin.take() {
            // One that ends early closes its side: that is no fault of this one.
            let _ = stdin.write_all(lines.as_bytes());
        }
        let begun = Instant::now();
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > WAIT_MAX {
                process.kill()?;
                return Ok(process.wait()?);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// What is compiled of a folder, as a line of JSON, and its hash.
fn sources(folder: &Folder) -> anyhow::Result<(String, Hash)> {
    let mut sources = folder.clone();
    sources
        .files
        .retain(|file, _| file.ends_with(".vrl") || file.ends_with(".toml"));
    let mut line = serde_json::to_string(&sources)?;
    line.push('\n');
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, line.as_bytes()).as_ref());
    Ok((line, hash))
}

/// The very program that runs, also where its file has been replaced meanwhile.
fn this_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return running;
    }
    std::env::current_exe().unwrap_or(running)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Reads what it is given and dies of the word "poison"; "wrong" is only wrong. Tells in a file
    /// how often it was asked.
    const COMPILER: &str = "read -r lines < /dev/stdin; rest=$(cat); echo x >> \"$0\"; \
        case \"$lines$rest\" in *poison*) kill -KILL $$;; *wrong*) exit 1;; esac";

    fn folder(id: &str, program: &str) -> Folder {
        let files = [("event.vrl", program), ("README.md", "poison")];
        let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
        Folder {
            id: id.to_owned(),
            place: id.to_owned(),
            files: BTreeMap::from(files),
        }
    }

    #[test]
    fn only_a_process_that_dies_is_a_verdict_and_sources_are_compiled_once() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let arguments =
            ["-c", COMPILER, asked.to_str().unwrap()].map(|text| &*text.to_owned().leak());
        let apart = Apart {
            program: "/bin/sh".into(),
            arguments: arguments.to_vec().leak(),
            seen: Mutex::default(),
        };
        let times = || {
            std::fs::read_to_string(&asked)
                .unwrap_or_default()
                .lines()
                .count()
        };
        let good = [folder("a", "null"), folder("b", "1")];
        apart.vet(&good).unwrap();
        apart.vet(&good).unwrap();
        assert_eq!(times(), 1, "both at once, and the second time none");

        let wrong = [folder("a", "null"), folder("c", "wrong")];
        apart.vet(&wrong).unwrap();
        assert_eq!(times(), 3, "only what is new; alone, as something is wrong");

        let bad = [folder("d", "2"), folder("e", "poison")];
        let told = apart.vet(&bad).unwrap_err().to_string();
        assert!(
            told.starts_with("definition e: its programs ended"),
            "{told}"
        );
        assert!(apart.vet(&bad).is_err(), "it is not forgiven");
    }
}
