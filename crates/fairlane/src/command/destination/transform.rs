//! `fairlane destination transform`: what a definition makes of events.

use std::io::Write as _;

use anyhow::bail;
use catalog::play::check_line;
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
    let (mut events, mut wrong) = (0_usize, None);
    for (index, line) in lines_of_input().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        events += 1;
        if check_line(line.as_bytes()).is_err() {
            wrong.get_or_insert(index + 1);
        }
        let outcome = play_line(&mut transformer, line.as_bytes(), &answers);
        writeln!(out, "{}", outcome.to_line())?;
    }
    if events == 0 {
        bail!("there are no events on standard input: give one as JSON on each line");
    }
    if let Some(line) = wrong {
        bail!("line {line} is no JSON object");
    }
    Ok(())
}
