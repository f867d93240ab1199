//! Cutting off what would be kept beyond its limit.

/// The beginning of a text, whole characters only.
pub(crate) fn clipped(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

/// The beginning of some bytes.
pub(crate) fn head(bytes: &[u8], bytes_max: usize) -> &[u8] {
    bytes.get(..bytes_max).unwrap_or(bytes)
}
