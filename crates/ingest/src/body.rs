//! Bodies: received into one buffer, unpacked, never larger than they may be.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, EXPECT};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::admission::Reservation;
use crate::answer::Refusal;
use crate::options::Options;

/// A tiny body may unpack to this much, whatever its ratio.
const INFLATED_BYTES_ALWAYS: usize = 4 * 1024;

/// Room that is made at once for a body. More comes as the body does: with many clients that only
/// say how much they will send, what they say would be the memory that we need.
const ROOM_AT_FIRST: usize = 16 * 1024;

/// What Content-Encoding says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// # Errors
    /// [`Refusal::UnknownEncoding`].
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(CONTENT_ENCODING) else {
            return Ok(Self::Identity);
        };
        match value.as_bytes() {
            b"" => Ok(Self::Identity),
            name if name.eq_ignore_ascii_case(b"identity") => Ok(Self::Identity),
            name if name.eq_ignore_ascii_case(b"gzip") => Ok(Self::Gzip),
            name if name.eq_ignore_ascii_case(b"x-gzip") => Ok(Self::Gzip),
            _ => Err(Refusal::UnknownEncoding),
        }
    }
}

/// Receives the whole body as it was sent. How long that may take is watched by the connection.
///
/// # Errors
/// Too large, no room for it, or cut short.
pub(crate) async fn receive(
    body: &mut Incoming,
    reservation: &mut Reservation,
    options: &Options,
    overloaded: impl Fn() -> Refusal,
) -> Result<Bytes, Refusal> {
    let bytes_max = options.body_bytes_max;
    let declared = body
        .size_hint()
        .upper()
        .and_then(|bytes| usize::try_from(bytes).ok());
    if declared.is_some_and(|declared| declared > bytes_max) {
        return Err(Refusal::BodyTooLarge { bytes_max });
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyCut)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > bytes_max {
            return Err(Refusal::BodyTooLarge { bytes_max });
        }
        if !reservation.grow(data.len()) {
            return Err(overloaded());
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if whole.is_empty() {
            whole.reserve(declared.unwrap_or(0).min(ROOM_AT_FIRST).max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on after a refusal and throws it away, so that the connection can go on. Only where that
/// is cheap: a body of ordinary size that is on its way already. False where it was not done.
pub(crate) async fn discard(body: &mut Incoming, headers: &HeaderMap, options: &Options) -> bool {
    let declared = body
        .size_hint()
        .upper()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let ordinary = declared.is_some_and(|declared| declared <= options.body_bytes_max);
    if !ordinary || headers.contains_key(EXPECT) {
        return false;
    }
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

/// Unpacks gzip, holding at most what a body may have.
///
/// # Errors
/// Too large, too good to be true, or no gzip.
pub(crate) fn inflate(packed: &[u8], options: &Options) -> Result<Vec<u8>, Refusal> {
    let by_ratio = packed.len().saturating_mul(options.inflate_ratio_max);
    let by_ratio = by_ratio.max(INFLATED_BYTES_ALWAYS);
    let bytes_max = options.body_bytes_max.min(by_ratio);
    let limit = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut whole = Vec::new();
    MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut whole)
        .map_err(|_| Refusal::BadGzip)?;
    if whole.len() <= bytes_max {
        Ok(whole)
    } else if bytes_max == by_ratio {
        Err(Refusal::InflatesTooMuch {
            ratio_max: options.inflate_ratio_max,
        })
    } else {
        Err(Refusal::BodyTooLarge { bytes_max })
    }
}

#[cfg(test)]
mod tests;
