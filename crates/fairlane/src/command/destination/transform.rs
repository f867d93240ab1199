//! `fairlane destination transform`: what a definition makes of events.

use std::io::Write as _;

use catalog::{parse_answers, play_line};

use super::{find, lines_of_input, read, settings_from, transformer};
use crate::cli::TransformArgs;

pub fn run(args: &TransformArgs) -> anyhow::Result<()> {
    let definition = find(&args.overlay, &args.id)?;
    let answers = match &args.responses {
        None => Vec::new(),
        Some(path) => parse_answers(&read(path)?)
            .map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))?,
    };
    let mut transformer = transformer(&definition, settings_from(&definition, &args.settings)?)?;
    let mut out = std::io::stdout().lock();
    for line in lines_of_input() {
        let line = line?;
        if !line.trim().is_empty() {
            let outcome = play_line(&mut transformer, line.as_bytes(), &answers);
            writeln!(out, "{}", outcome.to_line())?;
        }
    }
    Ok(())
}
