//! Judging an answer: the definition's own rules first, then the default table.

use model::{Failure, FilterReason, JobResult, RejectReason};
use vrl::compiler::runtime::Runtime;
use vrl::value::{ObjectMap, Value};

use crate::definition::{Definition, PartialRule, Verdict};
use crate::error::Error;
use crate::json;
use crate::program::scope::{BODY, HEADERS, JOBS, STATUS, Slot};
use crate::program::{Scope, Source, run};
use crate::status::StatusSet;

/// What became of the jobs of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    All(JobResult),
    /// One for each job, in the order of the batch.
    Each(Vec<JobResult>),
}

/// Judges the answer, received at `now_unix_s`, to a request that carried `jobs` jobs. `cut_off`:
/// `body` is only the beginning. A rule whose program fails on the answer does not apply.
pub(crate) fn judge(
    definition: &Definition,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    cut_off: bool,
    jobs: usize,
    now_unix_s: u64,
) -> Judged {
    let retry_after_s = retry_after_s(headers, now_unix_s);
    let result = |verdict| job_result(verdict, jobs, retry_after_s);
    let needs_answer = !definition.partials.is_empty() || !definition.responses.is_empty();
    if needs_answer {
        let says_which = |rule: &PartialRule| applies(rule.status.as_ref(), status);
        if cut_off && jobs > 1 && definition.partials.iter().any(says_which) {
            // Nobody knows which of them failed. Of fewer at once less is said.
            return Judged::All(JobResult::Failed(Failure::BatchRefused { too_large: true }));
        }
        let mut answer = Answer::new(status, headers, body, jobs);
        for rule in &definition.partials {
            if applies(rule.status.as_ref(), status)
                && let Some(each) = answer.partial(definition, rule, jobs, retry_after_s)
            {
                return match each.as_slice() {
                    [only] => Judged::All(*only),
                    _ => Judged::Each(each),
                };
            }
        }
        for rule in &definition.responses {
            let holds = applies(rule.status.as_ref(), status)
                && rule
                    .when
                    .as_ref()
                    .is_none_or(|when| answer.holds(definition, when));
            if holds {
                return Judged::All(result(rule.result));
            }
        }
    }
    Judged::All(default_result(status, jobs, retry_after_s))
}

fn applies(statuses: Option<&StatusSet>, status: u16) -> bool {
    statuses.is_none_or(|statuses| statuses.contains(status))
}

/// An answer as rules see it.
pub(crate) struct Answer {
    status: Value,
    headers: Value,
    body: Value,
    jobs: Value,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(String, String)], body: &[u8], jobs: usize) -> Self {
        Self {
            status: Value::from(status),
            headers: headers_value(headers),
            body: body_value(body),
            jobs: Value::from(jobs),
        }
    }

    /// The value of a program of the definition; `None` where it fails on this answer.
    pub(crate) fn resolve(&mut self, definition: &Definition, source: &Source) -> Option<Value> {
        let program = definition.program(source).map_err(|error: Error| {
            tracing::warn!(definition = definition.id, %error, "response rule does not compile");
        });
        let mut scope = Scope::Named(vec![
            (STATUS, Slot::Read(&self.status)),
            (HEADERS, Slot::Read(&self.headers)),
            (BODY, Slot::Read(&self.body)),
            (JOBS, Slot::Read(&self.jobs)),
        ]);
        run(&*program.ok()?, &mut scope, &mut Runtime::default()).ok()
    }

    pub(crate) fn holds(&mut self, definition: &Definition, when: &Source) -> bool {
        self.resolve(definition, when) == Some(Value::Boolean(true))
    }

    /// One result for each job, if the rule says that some failed.
    fn partial(
        &mut self,
        definition: &Definition,
        rule: &PartialRule,
        jobs: usize,
        retry_after_s: Option<u64>,
    ) -> Option<Vec<JobResult>> {
        let Value::Array(failed) = self.resolve(definition, &rule.failed)? else {
            return None;
        };
        // Each of these jobs stands alone now: a refused one needs no bisecting.
        let single = |verdict| job_result(verdict, 1, retry_after_s);
        let mut each = vec![single(rule.rest); jobs];
        let mut any = false;
        for item in failed {
            let (index, verdict) = match &item {
                Value::Object(map) => (map.get("index"), map.get("result").and_then(verdict_of)),
                other => (Some(other), None),
            };
            let index = index
                .and_then(Value::as_integer)
                .and_then(|at| usize::try_from(at).ok());
            if let Some(slot) = index.and_then(|index| each.get_mut(index)) {
                *slot = single(verdict.unwrap_or(rule.result));
                any = true;
            }
        }
        any.then_some(each)
    }
}

fn verdict_of(value: &Value) -> Option<Verdict> {
    use serde::Deserialize;
    use serde::de::value::{Error, StrDeserializer};
    let name = value.to_str()?;
    Verdict::deserialize(StrDeserializer::<Error>::new(name)).ok()
}

/// Headers as programs see them: lower-case names, one value each, the last if a name repeats.
pub(crate) fn headers_value(headers: &[(String, String)]) -> Value {
    let mut map = ObjectMap::new();
    for (name, value) in headers {
        map.insert(name.to_ascii_lowercase().into(), value.as_str().into());
    }
    Value::Object(map)
}

/// A body as programs see it: parsed where it is JSON, else a text.
pub(crate) fn body_value(body: &[u8]) -> Value {
    json::parse(body).unwrap_or_else(|_| String::from_utf8_lossy(body).as_ref().into())
}

fn job_result(verdict: Verdict, jobs: usize, retry_after_s: Option<u64>) -> JobResult {
    let refused = |reason, too_large| match jobs {
        0 | 1 => JobResult::Rejected(reason),
        _ => JobResult::Failed(Failure::BatchRefused { too_large }),
    };
    match verdict {
        Verdict::Delivered => JobResult::Delivered,
        Verdict::Filtered => JobResult::Filtered(FilterReason::Destination),
        Verdict::Refused => refused(RejectReason::Refused, false),
        Verdict::Invalid => refused(RejectReason::Invalid, false),
        Verdict::TooLarge => refused(RejectReason::TooLarge, true),
        Verdict::Retry => JobResult::Failed(Failure::TryAgain),
        Verdict::RateLimited => JobResult::Failed(Failure::RateLimited { retry_after_s }),
        Verdict::Unavailable => JobResult::Failed(Failure::Unavailable { retry_after_s }),
        Verdict::ServerError => JobResult::Failed(Failure::ServerError),
        Verdict::Conflict => JobResult::Failed(Failure::Conflict),
        Verdict::Unauthorized => JobResult::Failed(Failure::Unauthorized),
        Verdict::Forbidden => JobResult::Failed(Failure::Forbidden),
        Verdict::NotFound => JobResult::Failed(Failure::NotFound),
        Verdict::Gone => JobResult::Failed(Failure::Gone),
    }
}

/// The classification table of the delivery policy.
fn default_result(status: u16, jobs: usize, retry_after_s: Option<u64>) -> JobResult {
    let verdict = match status {
        200..=299 => Verdict::Delivered,
        401 => Verdict::Unauthorized,
        403 => Verdict::Forbidden,
        404 => Verdict::NotFound,
        408 | 423 | 425 => Verdict::Retry,
        409 => Verdict::Conflict,
        410 => Verdict::Gone,
        413 => Verdict::TooLarge,
        429 => Verdict::RateLimited,
        400..=499 | 501 => Verdict::Refused,
        500 => Verdict::ServerError,
        505 => return JobResult::Failed(Failure::VersionUnsupported),
        // What stands before the destination could not agree on TLS with it.
        525 | 526 => return JobResult::Failed(Failure::Tls),
        502..=599 => Verdict::Unavailable,
        _ => return JobResult::Failed(Failure::Redirect),
    };
    job_result(verdict, jobs, retry_after_s)
}

/// Seconds of `Retry-After`. A date is taken relative to the answer's own `Date`, as the
/// destination's clock may be wrong; without one, relative to when the answer came (RFC 9110, 6.6.1).
pub(crate) fn retry_after_s(headers: &[(String, String)], now_unix_s: u64) -> Option<u64> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    let text = header("retry-after")?;
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let until = http_date_unix_s(text)?;
    let now = match header("date").and_then(http_date_unix_s) {
        Some(date) => date,
        None => i64::try_from(now_unix_s).ok()?,
    };
    u64::try_from(until.saturating_sub(now).max(0)).ok()
}

/// A date in any of the three forms that a recipient must understand (RFC 9110, 5.6.7).
fn http_date_unix_s(text: &str) -> Option<i64> {
    const RFC_850: &str = "%A, %d-%b-%y %H:%M:%S GMT";
    const ASCTIME: &str = "%a %b %e %H:%M:%S %Y";
    if let Ok(date) = chrono::DateTime::parse_from_rfc2822(text) {
        return Some(date.timestamp());
    }
    let obsolete = [RFC_850, ASCTIME]
        .iter()
        .find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(obsolete.and_utc().timestamp())
}

#[cfg(test)]
mod tests;
