//! The limits of programs and of what they make. They are constants, not options: a definition that
//! runs on one system must run on every other.

use std::time::Duration;

/// The least stack of a thread that runs programs. Values may be nested as deep as a program's time
/// allows, and are cloned and dropped by recursion; a stack overflow cannot be caught.
pub const STACK_BYTES_MIN: usize = 8 * 1024 * 1024;

/// The stack of the thread that parses and compiles a program.
pub const COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;

/// The files of a definition's folder, and their number.
pub const FOLDER_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const FOLDER_FILES_MAX: usize = 1_000;

/// A program's source.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Brackets of any kind inside one another.
pub const BRACKET_DEPTH_MAX: usize = 48;
/// `!` after `!`.
pub const NOT_RUN_MAX: usize = 8;
/// Operators of one chain, and `else if` after `else if`: the compiler walks both by recursion.
pub const CHAIN_MAX: usize = 100;
/// Nodes inside one another in the parsed program, chains not counted.
pub const AST_DEPTH_MAX: usize = 128;
/// Closures of one program; inside one another. Compiling is exponential in their nesting.
pub const CLOSURES_MAX: usize = 12;
pub const CLOSURE_DEPTH_MAX: usize = 4;
/// Function calls inside one another, through their arguments.
pub const CALL_DEPTH_MAX: usize = 16;
/// `if` inside `if`.
pub const IF_DEPTH_MAX: usize = 16;
/// Assignments: compiling is quadratic in them (200 take 0.3 s).
pub const ASSIGNMENTS_MAX: usize = 200;
/// Regular expressions of one program, and the length of one: a short one may compile to megabytes.
pub const REGEXES_MAX: usize = 16;
pub const REGEX_BYTES_MAX: usize = 512;
/// Places of one regular expression, with what it counts written out: `(a|b){100}` has 200. A search
/// may cost as many steps for each byte of a text.
pub const REGEX_PLACES_MAX: usize = 1_000;
/// Parts of one template string: each may insert a long text.
pub const TEMPLATE_PARTS_MAX: usize = 32;
/// An index in a path, written or made: an array is filled up to it.
pub const INDEX_MAX: usize = 1_000;

/// Expressions that one run may evaluate.
pub const STEPS_MAX: u32 = 100_000;
/// How long one run may take. As a thread may be paused, only twice this much ends a run.
pub const RUN_TIME_MAX: Duration = Duration::from_millis(50);
/// Bytes that one run may hold at a time, beyond what was live before it.
pub const LIVE_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// What one call of `replace`, `join`, `encode_json` may return.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// What one call of `parse_json`, `parse_url`, `parse_query_string` may be given.
pub const PARSE_BYTES_MAX: usize = 256 * 1024;
/// What one call may hold against a regular expression. An event's text is shorter.
pub const REGEX_TEXT_BYTES_MAX: usize = 64 * 1024;
/// Its bytes times the places of the expression.
pub const REGEX_WORK_MAX: usize = 2_000_000;
/// Values inside one another that `flatten` takes.
pub const FLAT_DEPTH_MAX: usize = 128;
/// Elements of an array that `split`, `push`, `append` return.
pub const ELEMENTS_MAX: usize = 10_000;
/// Segments of a path, written or given to `set`: values are walked by recursion.
pub const PATH_SEGMENTS_MAX: usize = 32;

/// The body of one request, and the entries of one batch.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Columns of a Parquet body.
pub const PARQUET_COLUMNS_MAX: usize = 1_000;
/// What an entry says of itself as a batch's first, as JSON.
pub const FIRST_BYTES_MAX: usize = 4 * 1024;
/// A request's URL.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Ports that a request may go to: those of the web, and those that no service of a system has.
#[must_use]
pub const fn is_port_allowed(port: u16) -> bool {
    matches!(port, 80 | 443 | 1024..)
}
/// One header's value.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Headers of a request, before auth.
pub const HEADERS_MAX: usize = 64;
/// Requests that one run may ask for.
pub const REQUESTS_MAX: usize = 16;
/// How long the answer to a look-up may be used again.
pub const LOOK_UP_S_MAX: u32 = 3_600;
/// Answers to look-ups that one lane keeps, and their bytes.
pub const LOOK_UPS_MAX: usize = 1_000;
pub const LOOK_UPS_BYTES_MAX: usize = 256 * 1024;
/// One of them: it must not take the place of all others.
pub const LOOK_UP_BYTES_MAX: usize = LOOK_UPS_BYTES_MAX / 8;
/// How long an event may wait for others of its batch.
pub const BATCH_WAIT_MS_MAX: u64 = 3_600_000;
/// A token, which becomes a header.
pub const TOKEN_BYTES_MAX: usize = 7 * 1024;
/// How long a token is taken to live whose answer does not say; and at most.
pub const TOKEN_LIFETIME_S_DEFAULT: u64 = 3_600;
pub const TOKEN_LIFETIME_S_MAX: u64 = 30 * 24 * 3_600;
/// How much is kept of what a token endpoint says is wrong.
pub const TOKEN_ERROR_BYTES_MAX: usize = 500;
/// How much of a program's own text is kept of a reason.
pub const DETAIL_BYTES_MAX: usize = 1_000;

const _: () = assert!(PARSE_BYTES_MAX >= model::limits::RECORD_BYTES_MAX);
const _: () = assert!(TOKEN_BYTES_MAX < HEADER_BYTES_MAX);
const _: () = assert!(COMPILE_STACK_BYTES >= 8 * STACK_BYTES_MIN);
