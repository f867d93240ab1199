//! `fairlane destination docs`: the catalog's pages of documentation, written anew.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use catalog::pages::{is_page, pages};

use super::catalog;
use crate::cli::DocsArgs;

pub fn run(args: &DocsArgs) -> anyhow::Result<()> {
    let pages = pages(&catalog(&args.overlay)?);
    let dir = args.out.join("destinations");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut removed = 0;
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_stale = !pages.contains_key(&format!("destinations/{name}"));
        // Only what this command has written: the directory may hold a page of a person's own.
        if is_stale && fs::read_to_string(&path).is_ok_and(|text| is_page(&text)) {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    let mut written = 0;
    for (path, text) in &pages {
        written += usize::from(write(&args.out.join(path), text)?);
    }
    println!(
        "{} pages under {}: {written} written, {removed} removed",
        pages.len(),
        args.out.display()
    );
    Ok(())
}

/// Whether the file had to be changed.
fn write(path: &Path, text: &str) -> anyhow::Result<bool> {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
