//! Marks: what stands for a secret while a program runs.
//!
//! `{{secret.api_key}}` in a program's text is replaced at load by a mark: 32 random hex digits that
//! this process keeps to itself, and four that number the setting. Only marks are expanded when the
//! request is finished, so event data that spells `{{secret.api_key}}` stays what it is, and no
//! event can spell a mark.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::definition::settings::SettingSpec;

// Randomness is no argument here: it must not be known to anyone, and decides nothing but the
// spelling of marks, which never leave the process.
static PREFIX: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());

const INDEX_DIGITS: usize = 4;

/// Stands for the token of `[auth]`, which is no setting.
pub(crate) const TOKEN: usize = 0xffff;

/// The mark of the setting at `index` of its definition.
pub(crate) fn mark(index: usize) -> String {
    format!("{}{index:04x}", *PREFIX)
}

/// Whether `text` begins with a mark.
pub(crate) fn leads(text: &str) -> bool {
    text.starts_with(PREFIX.as_str())
}

/// Whether `text` holds a mark.
pub(crate) fn any(text: &str) -> bool {
    text.contains(PREFIX.as_str())
}

/// `text` with each mark replaced by what `secret` says of its setting's index. The second argument
/// is whether the mark stands at the very beginning.
pub(crate) fn expand<'a>(
    text: &'a str,
    mut secret: impl FnMut(usize, bool) -> String,
) -> Cow<'a, str> {
    if !any(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX.as_str()) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(PREFIX.len()..).unwrap_or_default();
        let digits = after.get(..INDEX_DIGITS).unwrap_or_default();
        match usize::from_str_radix(digits, 16) {
            Ok(index) => {
                let leading = out.is_empty();
                out.push_str(&secret(index, leading));
                rest = after.get(INDEX_DIGITS..).unwrap_or_default();
            }
            // A program has cut the mark in two: drop what is left of it.
            Err(_) => rest = after,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The indexes of the settings whose marks `text` holds.
pub(crate) fn indexes(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    expand(text, |index, _| {
        found.push(index);
        String::new()
    });
    found
}

/// `text` as a person may see it: marks shown as the placeholders they came from.
pub(crate) fn show(text: &str, settings: &[SettingSpec]) -> String {
    expand(text, |index, _| {
        if index == TOKEN {
            return TOKEN_PLACEHOLDER.to_owned();
        }
        let name = settings
            .get(index)
            .map_or("?", |setting| setting.name.as_str());
        format!("{{{{secret.{name}}}}}")
    })
    .into_owned()
}

const SECRET_PLACEHOLDER: &str = "{{secret.";
const TOKEN_PLACEHOLDER: &str = "{{auth.token}}";

/// What is said where it means nothing.
pub(crate) const NO_TOKEN: &str = "{{auth.token}} needs an [auth] whose token is fetched: oauth2, \
                                   session or google_service_account";

/// A program's text with its `{{secret.NAME}}` and `{{auth.token}}` replaced by marks.
///
/// # Errors
/// The byte position and what is wrong: no such setting, it is no secret, or there is no token.
pub(crate) fn place(
    text: &str,
    settings: &[SettingSpec],
    has_token: bool,
) -> Result<String, (usize, String)> {
    if let (false, Some(at)) = (has_token, text.find(TOKEN_PLACEHOLDER)) {
        return Err((at, NO_TOKEN.to_owned()));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SECRET_PLACEHOLDER) {
        let position = text.len() - rest.len() + at;
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(SECRET_PLACEHOLDER.len()..).unwrap_or_default();
        let Some((name, tail)) = after.split_once("}}") else {
            return Err((position, "\"{{secret.\" without \"}}\"".to_owned()));
        };
        let found = settings
            .iter()
            .position(|setting| setting.name == name && setting.secret);
        let Some(index) = found else {
            let problem = format!(
                "{{{{secret.{name}}}}} names no secret setting; add [settings.{name}] with secret = true"
            );
            return Err((position, problem));
        };
        out.push_str(&mark(index));
        rest = tail;
    }
    out.push_str(rest);
    Ok(out.replace(TOKEN_PLACEHOLDER, &mark(TOKEN)))
}
