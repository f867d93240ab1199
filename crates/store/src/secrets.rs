//! Secrets by name: what `${secret:NAME}` in the configuration stands for.

use model::{Secret, UnixMillis};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;
use crate::number::{to_sql, u64_at};
use crate::seal::{Place, Sealer};

const NAME_BYTES_MAX: usize = 128;
/// The largest secret: a service account's key file fits many times.
const SECRET_BYTES_MAX: usize = 64 << 10;

pub(crate) fn put(
    tx: &Connection,
    sealer: &Sealer,
    name: &str,
    secret: &Secret,
    now: UnixMillis,
) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(Error::BadSecretName(name.to_owned()));
    }
    let plain = secret.reveal().as_bytes();
    if plain.len() > SECRET_BYTES_MAX {
        return Err(Error::SecretTooLarge {
            bytes: plain.len(),
            bytes_max: SECRET_BYTES_MAX,
        });
    }
    tx.prepare_cached(
        "INSERT INTO secrets (name, sealed, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET
             sealed = excluded.sealed, updated_at = excluded.updated_at",
    )?
    .execute(params![
        name,
        sealer.seal(place(name), plain)?,
        to_sql(now.0)
    ])?;
    Ok(())
}

pub(crate) fn get(
    connection: &Connection,
    sealer: &Sealer,
    name: &str,
) -> Result<Option<Secret>, Error> {
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached("SELECT sealed FROM secrets WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let plain = sealer.open(place(name), &sealed)?;
    let text = String::from_utf8(plain).expect("only texts are sealed, and the tag was right");
    Ok(Some(Secret::new(text)))
}

/// Names and when each was last set; by name.
pub(crate) fn list(connection: &Connection) -> Result<Vec<(String, UnixMillis)>, Error> {
    let mut rows =
        connection.prepare_cached("SELECT name, updated_at FROM secrets ORDER BY name")?;
    let names = rows.query_map([], |row| Ok((row.get(0)?, UnixMillis(u64_at(row, 1)?))))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Whether there was one to remove.
pub(crate) fn remove(tx: &Connection, name: &str) -> Result<bool, Error> {
    Ok(tx
        .prepare_cached("DELETE FROM secrets WHERE name = ?1")?
        .execute([name])?
        > 0)
}

fn place(name: &str) -> Place<'_> {
    Place {
        kind: "secret",
        name,
        field: "value",
    }
}
