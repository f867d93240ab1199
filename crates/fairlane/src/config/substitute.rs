//! `${NAME}`, `${NAME:-default}` and `${secret:NAME}` in texts; `$${` stands for `${` itself.
//!
//! What is put in is not looked at again: a variable's value that holds `${` stays as it is.

use std::path::Path;

use super::nearest::did_you_mean;
use super::reader::Inputs;

/// A text after its variables were put in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Substituted {
    pub(super) text: String,
    /// Whether anything was put in.
    pub(super) changed: bool,
}

/// # Errors
/// Every variable that is not there, or is wrongly written, in words for the person who wrote it.
pub(super) fn substitute(text: &str, inputs: &Inputs<'_>) -> Result<Substituted, Vec<String>> {
    let mut out = Substituted {
        text: String::new(),
        changed: false,
    };
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let after = after.strip_prefix("${").unwrap_or(after);
        out.changed = true;
        if let Some(before) = before.strip_suffix('$') {
            out.text.push_str(before);
            out.text.push_str("${");
            rest = after;
            continue;
        }
        out.text.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            wrong.push(
                "\"${\" without \"}\": close it, or write \"$${\" for the text itself".into(),
            );
            break;
        };
        rest = after;
        match look_up(inside, inputs) {
            Ok(value) => out.text.push_str(&value),
            Err(message) => wrong.push(message),
        }
    }
    out.text.push_str(rest);
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(wrong)
    }
}

/// The file that is read where nobody names one.
const FILE_BY_DEFAULT: &str = "fairlane.toml";

/// How a secret is stored for the configuration at `path`: each has a store of its own.
fn secret_set(name: &str, path: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let file = path.display().to_string();
    if file == FILE_BY_DEFAULT {
        format!("fairlane secret set {name}")
    } else if file.chars().all(plain) {
        format!("fairlane secret set -c {file} {name}")
    } else {
        let quoted = file.replace('\'', r"'\''");
        format!("fairlane secret set -c '{quoted}' {name}")
    }
}

fn look_up(inside: &str, inputs: &Inputs<'_>) -> Result<String, String> {
    let environment = inputs.environment;
    if let Some(name) = inside.strip_prefix("secret:") {
        return match (inputs.secrets)(name) {
            Some(secret) => Ok(secret.reveal().to_owned()),
            None => Err(format!(
                "there is no secret {name:?}: store it with `{}`",
                secret_set(name, inputs.path)
            )),
        };
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let first = name.bytes().next();
    let is_name = first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(format!(
            "{name:?} is no variable's name: write ${{NAME}}, ${{NAME:-default}} or \
             ${{secret:NAME}}, or $${{ for the text itself"
        ));
    }
    // As in a shell: `:-` also stands in for an empty variable.
    match (environment.get(name), default) {
        (Some(value), None) => Ok(value.clone()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let near = did_you_mean(name, environment.keys().map(String::as_str));
            Err(format!(
                "the environment variable {name} is not set: set it, or give a default: \
                 ${{{name}:-default}}{near}"
            ))
        }
    }
}
