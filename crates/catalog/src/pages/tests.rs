//! The committed pages are those of the definitions.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn the_committed_pages_are_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = pages(&Catalog::embedded().unwrap());
    let mut stale: Vec<String> = pages
        .iter()
        .filter(|(path, text)| fs::read_to_string(docs.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.clone())
        .collect();
    for entry in fs::read_dir(docs.join("destinations"))
        .into_iter()
        .flatten()
    {
        let path = format!(
            "destinations/{}",
            entry.unwrap().file_name().to_string_lossy()
        );
        if !pages.contains_key(&path) {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "run `{COMMAND}` and commit what it writes; stale are docs/{}",
        stale.join(", docs/")
    );
}

#[test]
fn a_page_tells_what_an_operator_needs() {
    let catalog = Catalog::embedded().unwrap();
    let page = page(&catalog.get("webhook").unwrap());
    assert!(page.starts_with("# Webhook\n\n<!-- Made from destinations/webhook: `cargo run"));
    assert!(is_page(&page) && is_page(&index(&catalog)) && !is_page("# Webhook"));
    assert_eq!(page.matches("\n# ").count(), 0, "one title: {page}");
    for part in [
        "- Type `webhook`, category ",
        "- Requests go to `{{settings.url}}`\n",
        "| `url` | url | required |",
        "settings = { url = \"https://..\" }\n",
    ] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
}
