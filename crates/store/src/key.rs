//! The key that seals secrets: from a file that only its owner may read, or from the environment.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::Error;

/// Where the key is read from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file of mode 0600 with 64 hex digits or base64. Generated if it is absent and nothing was
    /// sealed yet.
    File(PathBuf),
    /// The text of an environment variable: 32 bytes as 64 hex digits or as base64.
    Env { variable: String, text: Secret },
}

impl KeySource {
    /// Where the key was read from, as a person would say it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("the file {}", path.display()),
            Self::Env { variable, .. } => format!("the environment variable {variable}"),
        }
    }

    /// The key, or `None` where its file does not exist.
    pub(crate) fn load(&self) -> Result<Option<Key>, Error> {
        let text = match self {
            Self::File(path) => match read_private(path)? {
                Some(text) => text,
                None => return Ok(None),
            },
            Self::Env { text, .. } => text.reveal().to_owned(),
        };
        match Key::parse(&text) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::BadKey {
                read_from: self.describe(),
            }),
        }
    }

    /// Makes a new key and keeps it where [`KeySource::load`] will find it.
    pub(crate) fn generate(&self) -> Result<Key, Error> {
        let Self::File(path) = self else {
            return Err(Error::BadKey {
                read_from: self.describe(),
            });
        };
        let mut bytes = [0; Key::BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::NoRandomness)?;
        let key = Key(bytes);
        write_private(path, &key.to_hex()).map_err(|source| Error::io(path, source))?;
        tracing::info!(path = %path.display(), "generated the key that seals secrets: back it up");
        Ok(key)
    }
}

/// 32 secret bytes. No `Debug`.
pub(crate) struct Key([u8; Key::BYTES]);

impl Key {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 2 * Self::BYTES {
            decode_hex(text)?
        } else {
            STANDARD.decode(text).ok()?
        };
        Some(Self(bytes.try_into().ok()?))
    }

    fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    Some(
        digits?
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d))
            .collect(),
    )
}

/// The longest key file that is read: a device or a log given by mistake must not fill memory.
const KEY_FILE_BYTES_MAX: u64 = 4 << 10;

fn read_private(path: &Path) -> Result<Option<String>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    // What is not text is no key; the caller says so.
    Ok(Some(String::from_utf8(bytes).unwrap_or_default()))
}

fn write_private(path: &Path, hex: &str) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    // `create_new`: a key is never overwritten, not even by a second process at the same moment.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{hex}\n").as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
