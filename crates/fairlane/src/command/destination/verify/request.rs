//! When two requests are equal.

use std::collections::BTreeMap;

use catalog::compare::{Difference, differences};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

/// A request that is known to be right, and what it is compared by.
#[derive(Deserialize)]
pub(super) struct FactRequest {
    pub(super) method: String,
    pub(super) url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    form: Option<Value>,
    body: Option<Value>,
}

impl FactRequest {
    /// Where a request that was made differs from this one.
    pub(super) fn differences(&self, made: &Value) -> Vec<Difference> {
        differences(&self.comparable(made), &comparable_made(self, made))
    }

    fn comparable(&self, made: &Value) -> Value {
        let headers: Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let name = name.to_ascii_lowercase();
                let value = header(&name, value);
                (name, value)
            })
            .collect();
        let body = if let Some(json) = &self.json {
            plain_numbers(json.clone())
        } else if let Some(form) = &self.form {
            form_pairs(form)
        } else {
            match &self.body {
                // Lines of JSON are shown as a list.
                Some(Value::String(text)) if made.get("body").is_some_and(Value::is_array) => {
                    text.lines().map(parsed).collect()
                }
                Some(Value::String(text)) => parsed(text),
                Some(other) => plain_numbers(other.clone()),
                None => Value::Null,
            }
        };
        json!({"method": self.method, "url": url_parts(&self.url), "headers": headers, "body": body})
    }
}

/// A request that was made, in the same shape: only the headers that the fact names.
fn comparable_made(fact: &FactRequest, made: &Value) -> Value {
    let text = |key: &str| made.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut headers = Map::new();
    for name in fact.headers.keys() {
        let name = name.to_ascii_lowercase();
        let value = made.get("headers").and_then(|headers| headers.get(&name));
        if let Some(value) = value.and_then(Value::as_str) {
            let value = header(&name, value);
            headers.insert(name, value);
        }
    }
    let body = match made.get("body") {
        None => Value::Null,
        Some(Value::String(text)) if fact.form.is_some() => {
            let pairs = url::form_urlencoded::parse(text.as_bytes());
            sorted(
                pairs
                    .map(|(name, value)| json!([name, parsed(&value)]))
                    .collect(),
            )
        }
        Some(Value::String(text)) if fact.json.is_none() => parsed(text),
        Some(body) => plain_numbers(body.clone()),
    };
    json!({"method": text("method"), "url": url_parts(text("url")), "headers": headers, "body": body})
}

/// A content type is the same with other parameters (`charset`).
fn header(name: &str, value: &str) -> Value {
    match name {
        "content-type" => value.split(';').next().unwrap_or_default().trim().into(),
        _ => value.into(),
    }
}

fn url_parts(text: &str) -> Value {
    let Ok(url) = Url::parse(text) else {
        return text.into();
    };
    let query = url.query_pairs().map(|(name, value)| json!([name, value]));
    let query = sorted(query.collect());
    let mut place = url.clone();
    place.set_query(None);
    place.set_fragment(None);
    json!({"place": place.as_str(), "query": query})
}

fn form_pairs(form: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::String(text) => parsed(text),
        other => plain_numbers(other.clone()),
    };
    let pairs = match form {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| json!([name, text(value)]))
            .collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([name, value]) => json!([name, text(value)]),
                _ => pair.clone(),
            })
            .collect(),
        Value::String(text) => url::form_urlencoded::parse(text.as_bytes())
            .map(|(name, value)| json!([name, parsed(&value)]))
            .collect(),
        other => return other.clone(),
    };
    sorted(pairs)
}

fn sorted(mut pairs: Vec<Value>) -> Value {
    pairs.sort_by_key(ToString::to_string);
    pairs.into()
}

/// JSON where it is an object or a list, else the text.
fn parsed(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() || value.is_array() => plain_numbers(value),
        _ => text.into(),
    }
}

/// `1.0` is `1`.
fn plain_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Written without a fraction, and parsed again: no cast that could cut it off.
            Some(float) if number.is_f64() && float.fract() == 0.0 => {
                let whole: Result<i64, _> = format!("{float:.0}").parse();
                whole.map_or(Value::Number(number), Value::from)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(plain_numbers).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, plain_numbers(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(value: Value) -> FactRequest {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_means_the_same_is_equal() {
        let wanted = fact(json!({"method": "POST", "url": "https://a.example?b=2&a=1",
            "headers": {"Content-Type": "application/json"}, "json": {"n": 1.0, "m": [2]}}));
        let made = json!({"method": "POST", "url": "https://a.example/?a=1&b=2",
            "headers": {"content-type": "application/json; charset=utf-8", "x-more": "1"},
            "body": {"m": [2], "n": 1}});
        assert_eq!(wanted.differences(&made), []);
        let form = fact(json!({"method": "POST", "url": "https://a.example/",
            "form": {"b": "{\"x\": 1}", "a": "1 2"}}));
        let made = json!({"method": "POST", "url": "https://a.example/",
            "body": "a=1+2&b=%7B%22x%22%3A1.0%7D"});
        assert_eq!(form.differences(&made), []);
        let lines = fact(json!({"method": "POST", "url": "https://a.example/",
            "body": "{\"a\":1}\n{\"b\":2}\n"}));
        let made = json!({"method": "POST", "url": "https://a.example/",
            "body": [{"a": 1}, {"b": 2}]});
        assert_eq!(lines.differences(&made), []);
    }

    #[test]
    fn what_differs_is_told_by_its_place() {
        let wanted = fact(json!({"method": "PUT", "url": "https://a.example/x?q=1",
            "headers": {"authorization": "Bearer t"}, "json": {"n": 1, "text": "1"}}));
        let made = json!({"method": "POST", "url": "https://a.example/x?q=2",
            "headers": {}, "body": {"n": "1", "text": 1}});
        let told: Vec<String> = wanted
            .differences(&made)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "body.n: 1 -> \"1\"",
                "body.text: \"1\" -> 1",
                "headers.authorization: \"Bearer t\" -> nothing",
                "method: \"PUT\" -> \"POST\"",
                "url.query[0][1]: \"1\" -> \"2\"",
            ]
        );
    }
}
