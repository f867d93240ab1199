//! The functions that programs may call: pure ones only, and none whose one call could take a
//! process' memory or time.

use std::sync::LazyLock;

use vrl::compiler::Function;
use vrl::compiler::value::kind;

use super::barrier;
use super::guarded::guarded;
use super::own;
use super::typed::typed;

/// VRL's own. Left out are all that reach clock, randomness, network, environment, files or log; and
/// those whose output has no bound that their input has (`decode_gzip`), whose recursion has none
/// (`parse_xml`, `unflatten`), or which `own` replaces.
const STANDARD: &[&str] = &[
    "abs",
    "array",
    "bool",
    "camelcase",
    "ceil",
    "compact",
    "contains",
    "contains_all",
    "decode_base16",
    "decode_base64",
    "decode_percent",
    "del",
    "downcase",
    "encode_base16",
    "encode_base64",
    "encode_percent",
    "ends_with",
    "exists",
    "filter",
    "find",
    "flatten",
    "float",
    "floor",
    "for_each",
    "format_int",
    "format_timestamp",
    "from_entries",
    "from_unix_timestamp",
    "get",
    "includes",
    "int",
    "is_array",
    "is_boolean",
    "is_empty",
    "is_float",
    "is_integer",
    "is_ipv4",
    "is_ipv6",
    "is_json",
    "is_null",
    "is_nullish",
    "is_object",
    "is_string",
    "is_timestamp",
    "kebabcase",
    "keys",
    "length",
    "map_keys",
    "map_values",
    "match",
    "match_any",
    "merge",
    "mod",
    "object",
    "object_from_array",
    "parse_duration",
    "parse_float",
    "parse_int",
    "parse_regex",
    "parse_timestamp",
    "pascalcase",
    "pop",
    "remove",
    "round",
    "screamingsnakecase",
    "slice",
    "snakecase",
    "starts_with",
    "string",
    "strip_whitespace",
    "strlen",
    "timestamp",
    "to_bool",
    "to_entries",
    "to_float",
    "to_int",
    "to_string",
    "to_unix_timestamp",
    "truncate",
    "unique",
    "upcase",
    "values",
    "zip",
];

static COMPILED: LazyLock<Vec<Box<dyn Function>>> = LazyLock::new(|| {
    let mut functions = vrl::stdlib::all();
    functions.retain(|function| STANDARD.contains(&function.identifier()));
    let standard = functions.into_iter().map(guarded);
    let mut functions: Vec<_> = standard.chain(own::all()).map(typed).collect();
    functions.push(barrier::function());
    functions
});

/// All functions that the compiler may meet: those that a program may call, and the barrier, last.
pub(super) fn compiled() -> &'static [Box<dyn Function>] {
    &COMPILED
}

/// All functions that a program may call.
pub(super) fn allowed() -> &'static [Box<dyn Function>] {
    COMPILED.split_last().map_or(&[], |(_, allowed)| allowed)
}

/// Whether a function's result may have the members of its arguments' types. Ours never do.
pub(super) fn carries_members(name: &str) -> bool {
    let known = allowed()
        .iter()
        .find(|function| function.identifier() == name);
    known.is_none_or(|function| function.return_kind() & kind::CONTAINER != 0 && !own::is_own(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_function_exists_in_this_version_of_vrl() {
        let all = vrl::stdlib::all();
        for name in STANDARD {
            assert!(
                all.iter().any(|function| function.identifier() == *name),
                "{name}"
            );
        }
        assert_eq!(allowed().len(), STANDARD.len() + own::all().len());
    }
}
