//! What Kafka said, as the HTTP status that means the same.

use rdkafka::error::RDKafkaErrorCode as Code;
use serde_json::json;

/// The status for an error. A status of the records (400, 413) splits a batch until the record is
/// alone; one of the destination holds its lanes (401, 403, 404) or lets them wait (503).
pub(super) fn status(code: Code) -> u16 {
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => 413,
        Code::InvalidMessage
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation
        | Code::InvalidArgument => 400,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => 401,
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => 403,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic => 404,
        _ => 503,
    }
}

/// Of two, the one that says more of the whole: what the destination cannot do at all, then what it
/// cannot do now, then what one record is.
pub(super) fn graver(a: Code, b: Code) -> Code {
    let weight = |code| match (code, status(code)) {
        (Code::SSL, _) | (_, 401 | 403 | 404) => 2,
        (_, 503) => 1,
        _ => 0,
    };
    if weight(b) > weight(a) { b } else { a }
}

/// `reason`: what librdkafka said last, if anything.
pub(super) fn told(code: Code, reason: &str, acknowledged: usize) -> String {
    let message = match reason {
        "" => code.to_string(),
        reason => format!("{code}: {reason}"),
    };
    json!({"error": format!("{code:?}"), "message": message, "acknowledged": acknowledged})
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{Code, graver, status};

    #[test]
    fn the_gravest_error_speaks_for_the_batch() {
        let (large, busy, unknown) = (
            Code::MessageSizeTooLarge,
            Code::NotEnoughReplicas,
            Code::UnknownTopicOrPartition,
        );
        assert_eq!(
            (status(large), status(busy), status(unknown)),
            (413, 503, 404)
        );
        assert_eq!(graver(large, busy), busy);
        assert_eq!(graver(unknown, busy), unknown);
        assert_eq!(graver(Code::AllBrokersDown, Code::SSL), Code::SSL);
        assert_eq!(graver(large, large), large);
    }
}
