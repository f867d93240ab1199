//! A program's value, read: requests, an entry, or a refusal.

use model::{FilterReason, RejectReason};
use vrl::value::{ObjectMap, Value};

use super::{Entry, Refusal, Transformer, bad_request};
use crate::error::shorten;
use crate::json;
use crate::limits::{BODY_BYTES_MAX, DETAIL_BYTES_MAX, FIRST_BYTES_MAX, REQUESTS_MAX};
use crate::request;

pub(super) enum Reply {
    Requests {
        requests: Vec<request::RequestPlan>,
        state: Value,
    },
    Entry(Entry),
}

impl Transformer {
    /// See "A program returns one of" in `docs/reference/destination.md`. `entries`: of a batch.
    pub(super) fn reply(&self, value: Value, entries: Option<&Value>) -> Result<Reply, Refusal> {
        let mut map = match value {
            Value::Null => return Err(Refusal::filtered(FilterReason::Destination)),
            Value::Object(map) => map,
            other => {
                let problem = format!("the program's value is {}, not an object", other.kind_str());
                return Err(bad_request(problem));
            }
        };
        let ends = ["filtered", "rejected"]
            .into_iter()
            .find(|end| map.contains_key(*end));
        if let Some(end) = ends.filter(|_| map.len() > 1) {
            let problem = format!("{end} stands alone: nothing is sent with it");
            return Err(bad_request(problem));
        }
        if let Some(why) = map.remove("filtered") {
            return Err(Refusal::Filtered(FilterReason::Destination, reason(&why)));
        }
        if let Some(why) = map.remove("rejected") {
            return Err(Refusal::Rejected(RejectReason::Invalid, reason(&why)));
        }
        if let Some(value) = map.remove("entry") {
            return self.entry(value, map);
        }
        let Some(list) = map.remove("requests") else {
            let request = self.request(map, entries)?;
            return Ok(Reply::Requests {
                requests: vec![request],
                state: Value::Null,
            });
        };
        let state = map.remove("state").unwrap_or(Value::Null);
        only(map, "requests and state")?;
        let Value::Array(list) = list else {
            return Err(bad_request(format!(
                "requests must be a list, not {}",
                list.kind_str()
            )));
        };
        if list.len() > REQUESTS_MAX {
            let problem = format!(
                "{} requests of one event: the limit is {REQUESTS_MAX}",
                list.len()
            );
            return Err(bad_request(problem));
        }
        let requests = list.into_iter().map(|item| match item {
            Value::Object(map) => self.request(map, entries),
            other => Err(bad_request(format!(
                "a request is {}, not an object",
                other.kind_str()
            ))),
        });
        Ok(Reply::Requests {
            requests: requests.collect::<Result<_, _>>()?,
            state,
        })
    }

    fn request(
        &self,
        map: ObjectMap,
        entries: Option<&Value>,
    ) -> Result<request::RequestPlan, Refusal> {
        request::plan(&self.binding, &self.definition, map, entries).map_err(bad_request)
    }

    fn entry(&self, value: Value, mut map: ObjectMap) -> Result<Reply, Refusal> {
        let Some(limits) = self.definition.batch else {
            return Err(bad_request(
                "an entry needs [batch] in destination.toml".to_owned(),
            ));
        };
        let group = match map.remove("group") {
            None | Some(Value::Null) => None,
            Some(group) => Some(group.to_str().map(str::to_owned).ok_or_else(|| {
                bad_request(format!("group must be a string, not {}", group.kind_str()))
            })?),
        };
        let first = map.remove("first").unwrap_or(Value::Null);
        json::write(&first, FIRST_BYTES_MAX)
            .map_err(|problem| bad_request(format!("first is {problem}")))?;
        only(map, "entry, group and first")?;
        let bytes_max = usize::try_from(limits.bytes_max).unwrap_or(BODY_BYTES_MAX);
        let bytes = json::write(&value, bytes_max).map_err(|problem| {
            Refusal::rejected(RejectReason::TooLarge, format!("its entry is {problem}"))
        })?;
        Ok(Reply::Entry(Entry {
            value,
            group,
            first,
            bytes: bytes.len(),
        }))
    }
}

/// # Errors
/// The object holds more than it should: mostly a mistyped key.
fn only(map: ObjectMap, known: &str) -> Result<(), Refusal> {
    match map.into_keys().next() {
        Some(key) => Err(bad_request(format!(
            "{:?} does not belong beside {known}",
            key.as_str()
        ))),
        None => Ok(()),
    }
}

fn reason(why: &Value) -> String {
    shorten(&why.to_string_lossy(), DETAIL_BYTES_MAX).to_owned()
}
