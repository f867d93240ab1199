//! Programs of an operator's own are compiled in a process apart first: one that takes the compiler's
//! stack, memory or time with it takes that process, and not this one. That is, the definitions of an
//! overlay directory, and the filters, transforms and ordering keys of connections.
//!
//! ```text
//!  units not seen before --stdin--> fairlane vet --stdin    under limits of memory and CPU
//!      <-- a dot for each that is lived through --'
//!      '-- a unit that is lived through has said nothing: what is wrong with it is told where it is
//!          loaded here
//! ```

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catalog::definition::{Folder, FoundFolder};
use ring::digest::{SHA256, digest};

use crate::command::vet::{ADDRESS_SPACE_BYTES_MAX, CPU_S_MAX, LIVED, Unit};

/// The CPU's limit ends a process that computes; this one ends a process that does not.
const WAIT_MAX: Duration = Duration::from_secs(2 * CPU_S_MAX);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Sources that are remembered as harmless.
const SEEN_MAX: usize = 4_096;
/// Units of one process: its dots must fit into a pipe, which is read when it has ended.
const UNITS_MAX: usize = 1_000;

type Hash = [u8; 32];

/// For each unit: why it is refused, if compiling it ended the process that did.
///
/// # Errors
/// There is no process to compile in.
pub fn vet(units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
    static APART: LazyLock<Apart> = LazyLock::new(|| Apart {
        program: this_program(),
        arguments: &["vet", "--stdin"],
        seen: Mutex::default(),
    });
    APART.vet(units)
}

/// Puts a refusal in the place of each folder whose programs may not be compiled here.
///
/// # Errors
/// As of [`vet`].
pub fn vet_folders(found: &mut [FoundFolder]) -> anyhow::Result<()> {
    let (mut places, mut units) = (Vec::new(), Vec::new());
    for (place, one) in found.iter().enumerate() {
        if let Ok(folder) = &one.folder {
            places.push(place);
            units.push(Unit::Definition(programs_of(folder)));
        }
    }
    for (place, verdict) in places.into_iter().zip(vet(&units)?) {
        if let (Some(problem), Some(one)) = (verdict, found.get_mut(place)) {
            one.folder = Err(catalog::Error::Definition {
                place: format!("definition {}", one.id),
                problem,
            });
        }
    }
    Ok(())
}

/// A folder without what is never compiled: its cases and texts may change unvetted.
fn programs_of(folder: &Folder) -> Folder {
    let mut programs = folder.clone();
    programs
        .files
        .retain(|file, _| file.ends_with(".vrl") || file.ends_with(".toml"));
    programs
}

struct Apart {
    program: PathBuf,
    arguments: &'static [&'static str],
    /// Sources that were compiled apart, and lived: a reload vets only what has changed.
    seen: Mutex<HashSet<Hash>>,
}

/// A unit that no process has lived through yet.
struct Unseen {
    /// Among all that were given.
    index: usize,
    line: String,
    hash: Hash,
}

impl Apart {
    fn vet(&self, units: &[Unit]) -> anyhow::Result<Vec<Option<String>>> {
        let mut verdicts = vec![None; units.len()];
        let mut unseen = Vec::new();
        for (index, unit) in units.iter().enumerate() {
            let mut line = serde_json::to_string(unit)?;
            line.push('\n');
            let mut hash = Hash::default();
            hash.copy_from_slice(digest(&SHA256, line.as_bytes()).as_ref());
            if !self.seen().contains(&hash) {
                unseen.push(Unseen { index, line, hash });
            }
        }
        let mut left = unseen.as_slice();
        while !left.is_empty() {
            let (some, _) = left.split_at(left.len().min(UNITS_MAX));
            let (lived, status) = self.compile(some)?;
            self.remember(some.iter().take(lived));
            left = left.get(lived..).unwrap_or_default();
            // The process' time and memory were for all: only the first of a fresh one has had them
            // to itself, and any other is tried again as such.
            if lived == 0
                && let Some((culprit, rest)) = left.split_first()
            {
                left = rest;
                if let Some(verdict) = verdicts.get_mut(culprit.index) {
                    *verdict = told(status);
                }
            }
        }
        Ok(verdicts)
    }

    fn remember<'a>(&self, lived: impl Iterator<Item = &'a Unseen>) {
        let mut seen = self.seen();
        for one in lived {
            if seen.len() >= SEEN_MAX {
                seen.clear();
            }
            seen.insert(one.hash);
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashSet<Hash>> {
        // A set of hashes is whole after any panic.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of the units a process has lived through, and how it ended.
    fn compile(&self, units: &[Unseen]) -> anyhow::Result<(usize, ExitStatus)> {
        let mut process = Command::new(&self.program)
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process to compile programs in")?;
        if let Some(mut stdin) = process.stdin.take() {
            for unit in units {
                // One that ends early closes its side: that is no fault of this one.
                if stdin.write_all(unit.line.as_bytes()).is_err() {
                    break;
                }
            }
        }
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if begun.elapsed() > WAIT_MAX {
                process.kill()?;
                break process.wait()?;
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let mut said = Vec::new();
        if let Some(mut stdout) = process.stdout.take() {
            stdout.read_to_end(&mut said)?;
        }
        let lived = said.iter().filter(|byte| **byte == LIVED).count();
        Ok((lived.min(units.len()), status))
    }
}

/// Only a process that was ended is a verdict: one that ends by itself has no wish to say anything
/// about the programs.
fn told(status: ExitStatus) -> Option<String> {
    status.code().is_none().then(|| {
        format!(
            "compiling it ended the process that did ({status}; the limits are \
             {ADDRESS_SPACE_BYTES_MAX} bytes and {CPU_S_MAX} s): make it simpler"
        )
    })
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
    use super::*;

    /// Reads units, and dies of the word "poison"; tells in a file how often it was started.
    const COMPILER: &str = "echo x >> \"$0\"; while read -r line; do \
        case \"$line\" in *poison*) kill -KILL $$;; *leaves*) exit 3;; esac; printf .; done";

    fn apart(asked: &std::path::Path) -> Apart {
        let arguments =
            ["-c", COMPILER, asked.to_str().unwrap()].map(|text| &*text.to_owned().leak());
        Apart {
            program: "/bin/sh".into(),
            arguments: arguments.to_vec().leak(),
            seen: Mutex::default(),
        }
    }

    fn units(texts: &[&str]) -> Vec<Unit> {
        let all = texts.iter().map(|text| Unit::Filter((*text).to_owned()));
        all.collect()
    }

    #[test]
    fn only_a_process_that_dies_is_a_verdict_and_sources_are_compiled_once() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let apart = apart(&asked);
        let times = || {
            std::fs::read_to_string(&asked)
                .unwrap_or_default()
                .lines()
                .count()
        };
        let refused = |texts: &[&str]| -> Vec<bool> {
            let verdicts = apart.vet(&units(texts)).unwrap();
            verdicts.iter().map(Option::is_some).collect()
        };
        assert_eq!(refused(&["a", "b"]), [false; 2]);
        assert_eq!(refused(&["a", "b"]), [false; 2]);
        assert_eq!(times(), 1, "both at once, and the second time none");

        assert_eq!(
            refused(&["a", "c", "poison 1", "d", "poison 2", "e"]),
            [false, false, true, false, true, false],
            "each is judged, also behind one that is refused"
        );
        assert_eq!(
            times(),
            6,
            "one that dies is tried alone, then the others go on"
        );
        assert_eq!(refused(&["c", "d", "e"]), [false; 3]);
        assert_eq!(times(), 6, "who lived beside it is known");
        assert_eq!(refused(&["poison 1"]), [true], "it is not forgiven");
        assert_eq!(refused(&["leaves", "f"]), [false; 2]);
        assert_eq!(
            apart.seen().len(),
            6,
            "what nobody has compiled is not known"
        );
    }

    #[test]
    fn many_units_go_to_several_processes() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let apart = apart(&asked);
        let texts: Vec<String> = (0..=UNITS_MAX).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let verdicts = apart.vet(&units(&texts)).unwrap();
        assert_eq!(verdicts, vec![None; UNITS_MAX + 1]);
        assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), 2);
    }

    #[test]
    fn texts_and_cases_of_a_definition_are_not_compiled() {
        let mut folder = Folder::default();
        for file in ["event.vrl", "destination.toml", "README.md", "cases/a.json"] {
            folder.files.insert(file.to_owned(), String::new());
        }
        let kept: Vec<String> = programs_of(&folder).files.into_keys().collect();
        assert_eq!(kept, ["destination.toml", "event.vrl"]);
    }
}
