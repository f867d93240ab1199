//! What `send` and `record` share: a definition with an operator's real settings, the same with
//! invented secrets, and the sender.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use catalog::play::TOKEN;
use catalog::struck::{STRUCK_OUT, Strike, strike_settings};
use catalog::{Definition, FinalRequest, Stamp, StepResponse, Transformer};
use delivery::trial::{Answer, Exchange, Trial, Tried};
use delivery::{EgressPolicy, Options};
use model::Secret;
use serde_json::Value;

use super::{check_settings, find, read, transformer};
use crate::cli::TrialArgs;

pub struct Bench {
    pub definition: Arc<Definition>,
    pub settings: BTreeMap<String, Value>,
    options: Options,
}

impl Bench {
    pub fn new(args: &TrialArgs) -> anyhow::Result<Self> {
        let definition = find(&args.overlay, &args.id)?;
        let path = &args.settings;
        let settings = serde_json::from_str(&read(path)?)
            .with_context(|| format!("{} is no JSON object of settings", path.display()))?;
        let egress = EgressPolicy {
            allow: args.allow.clone(),
            ..EgressPolicy::default()
        };
        Ok(Self {
            definition,
            settings,
            options: Options {
                egress,
                ..Options::default()
            },
        })
    }

    /// Sends events with these settings as one attempt would.
    pub fn send(
        &self,
        settings: &BTreeMap<String, Value>,
        filter: Option<String>,
        transform: Option<String>,
        events: Vec<Bytes>,
    ) -> anyhow::Result<Struck> {
        let trial = Trial {
            definition: Arc::clone(&self.definition),
            settings: settings.clone().into(),
            filter,
            transform,
        };
        let invented = strike_settings(&self.definition, settings);
        let checked = check_settings(&self.definition, &invented.clone().into())?;
        let transformer = transformer(&self.definition, checked)
            .context("the definition takes no invented secrets, so nothing can be shown")?;
        let tried = trial.send(&self.options, events).map_err(|error| {
            anyhow::anyhow!("{}", self.strike(settings).text(&error.to_string()))
        })?;
        Ok(Struck::new(
            tried,
            self.strike(settings),
            invented,
            &transformer,
        ))
    }

    fn strike(&self, settings: &BTreeMap<String, Value>) -> Strike {
        Strike::new(&self.definition, settings)
    }
}

/// A trial with its secrets struck out.
pub struct Struck {
    pub exchanges: Vec<(FinalRequest, Result<Answer, String>)>,
    pub results: Vec<model::JobResult>,
    pub detail: String,
    /// With invented secrets.
    pub settings: BTreeMap<String, Value>,
}

impl Struck {
    fn new(
        tried: Tried,
        mut strike: Strike,
        settings: BTreeMap<String, Value>,
        transformer: &Transformer,
    ) -> Self {
        let mut requests: Vec<FinalRequest> = tried
            .exchanges
            .iter()
            .map(|exchange| struck_request(exchange, transformer))
            .collect();
        for (exchange, request) in tried.exchanges.iter().zip(&mut requests) {
            strike.learn(&exchange.request, request);
            if let Some(token) = &exchange.token {
                strike.add_secret(token, TOKEN);
            }
            strike_headers(&exchange.request, request);
        }
        let answers = tried.exchanges.into_iter().map(|exchange| {
            let answer = exchange.answer.map_err(|why| strike.text(&why));
            answer.map(|answer| struck_answer(answer, &strike))
        });
        Self {
            exchanges: requests.into_iter().zip(answers).collect(),
            results: tried.results,
            detail: strike.text(&tried.detail),
            settings,
        }
    }

    /// The answers in order; `None` where a request got none.
    pub fn answers(&self) -> Option<Vec<StepResponse>> {
        let answers = self.exchanges.iter().map(|(_, answer)| {
            let answer = answer.as_ref().ok()?;
            Some(StepResponse {
                status: answer.status,
                headers: answer.headers.clone(),
                body: answer.body.clone(),
            })
        });
        answers.collect()
    }
}

/// The same request with invented secrets.
fn struck_request(exchange: &Exchange, transformer: &Transformer) -> FinalRequest {
    let stamp = Stamp {
        message_id: &exchange.message_id,
        now_unix_s: exchange.now_unix_s,
        token: Some(&Secret::new(TOKEN)),
    };
    transformer.finish(&exchange.plan, stamp)
}

fn struck_answer(answer: Answer, strike: &Strike) -> Answer {
    let text = String::from_utf8_lossy(&answer.body);
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(value) => strike.value(&value).to_string(),
        Err(_) => strike.text(&text),
    };
    let headers = answer.headers.into_iter();
    Answer {
        headers: headers
            .map(|(name, value)| (name, strike.text(&value)))
            .collect(),
        body: body.into(),
        ..answer
    }
}

/// A header that does not show what stands for its secret, as it was signed with it: what comes
/// before that, as `v1,`.
fn strike_headers(real: &FinalRequest, shown: &mut FinalRequest) {
    for ((_, real), (_, shown)) in real.headers.iter().zip(&mut shown.headers) {
        if real == shown || shown.contains(STRUCK_OUT) || shown.ends_with(TOKEN) {
            continue;
        }
        let same = real.bytes().zip(shown.bytes());
        let same = same.take_while(|(one, other)| one == other).count();
        let known = real.get(..same).unwrap_or_default();
        let known = known.trim_end_matches(|char: char| char.is_alphanumeric());
        *shown = format!("{known}{STRUCK_OUT}");
    }
}
