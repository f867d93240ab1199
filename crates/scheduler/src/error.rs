//! Settings that cannot be: found when they are loaded, not when they first matter.

/// Why options or a policy are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{setting} is {value}: it must be at least {least}")]
    TooSmall {
        setting: &'static str,
        value: u64,
        least: u64,
    },
    #[error("{setting} is {value}: it must be at most {most}")]
    TooLarge {
        setting: &'static str,
        value: u64,
        most: u64,
    },
    #[error("{setting} is {value}: it must be a number above 0, or not be set")]
    NotARate {
        setting: &'static str,
        value: String,
    },
}

pub(crate) fn check(setting: &'static str, value: u64, least: u64, most: u64) -> Result<(), Error> {
    if value < least {
        return Err(Error::TooSmall {
            setting,
            value,
            least,
        });
    }
    if value > most {
        return Err(Error::TooLarge {
            setting,
            value,
            most,
        });
    }
    Ok(())
}
