//! `fairlane secret`: what the configuration names as `${secret:NAME}`.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use model::Secret;

use crate::cli::SecretCommand;
use crate::config::File;
use crate::serve::open_store;

/// Longest secret, in bytes: a private key in PEM fits.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

pub fn run(command: &SecretCommand) -> anyhow::Result<()> {
    match command {
        SecretCommand::Set { config, name } => {
            let store = open_store(&File::read(&config.config)?)?;
            if std::io::stdin().is_terminal() {
                eprintln!("the value, then Enter and Ctrl-D:");
            }
            let mut value = String::new();
            std::io::stdin()
                .take(SECRET_BYTES_MAX + 1)
                .read_to_string(&mut value)
                .context("cannot read the value from standard input as text")?;
            if u64::try_from(value.len()).is_ok_and(|bytes| bytes > SECRET_BYTES_MAX) {
                bail!("the value is longer than {SECRET_BYTES_MAX} bytes");
            }
            let value = value.trim_end_matches(['\r', '\n']);
            if value.is_empty() {
                bail!(
                    "nothing came on standard input: `echo -n VALUE | fairlane secret set {name}`"
                );
            }
            store.put_secret(name, &Secret::new(value), crate::serve::now())?;
            println!("{name} is stored, sealed; use it as \"${{secret:{name}}}\"");
        }
        SecretCommand::List { config } => {
            let store = open_store(&File::read(&config.config)?)?;
            for (name, updated_at) in store.list_secrets()? {
                println!("{name}  (since {})", crate::serve::rfc3339(updated_at));
            }
        }
        SecretCommand::Remove { config, name } => {
            let store = open_store(&File::read(&config.config)?)?;
            if !store.remove_secret(name)? {
                bail!("there is no secret named {name}: `fairlane secret list` shows them");
            }
            println!("{name} is forgotten; a configuration that names it no longer loads");
        }
    }
    Ok(())
}
