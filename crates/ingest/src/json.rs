//! JSON as spans: one pass that checks every byte of a text and remembers only where things are.
//!
//! [`Scanner`] is iterative, so no input can exhaust the stack, and it limits depth and keys, so
//! every parser behind it meets tame input only. It accepts exactly what RFC 8259 does, less
//! numbers that no double can hold (a property test holds it against `serde_json`).

use std::borrow::Cow;

use model::limits::JSON_DEPTH_MAX;

/// Where something stands in a text: bytes, end exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// The text itself.
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.start..self.end)
            .expect("spans are cut at ASCII bytes of this text")
    }

    pub(crate) const fn len(self) -> usize {
        self.end - self.start
    }
}

/// One `"key": value` of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// The key without its quotes, still escaped.
    pub(crate) key: Span,
    pub(crate) key_escaped: bool,
    /// The value without space around it.
    pub(crate) value: Span,
}

impl Member {
    /// The key as the client meant it.
    pub(crate) fn name<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let raw = self.key.of(text);
        if self.key_escaped {
            unescape(raw)
        } else {
            Cow::Borrowed(raw)
        }
    }
}

/// What a JSON string stands for; `raw` is without quotes.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    // A string that does not decode (half a surrogate pair) names nothing we know.
    serde_json::from_str::<String>(&format!("\"{raw}\"")).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// Why a text is refused, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why} at byte {at}")]
pub struct JsonError {
    pub at: usize,
    pub why: Why,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Why {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the text ends too early")]
    End,
    #[error("unexpected {:?}", char::from(*.0))]
    Unexpected(u8),
    #[error("a control character or a bad escape in a string")]
    BadString,
    #[error("a number that no double can hold")]
    BadNumber,
    #[error("nested deeper than {JSON_DEPTH_MAX}")]
    TooDeep,
    #[error("an object with more than {0} keys")]
    TooManyKeys(usize),
    #[error("a JSON object is expected here")]
    NotAnObject,
}

/// Reads one text from its start to its end.
pub(crate) struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    keys_max: usize,
    /// Where escapes stand that are half of a surrogate pair. JavaScript writes them when it cuts
    /// an emoji in two; most parsers refuse them.
    pub(crate) lone_surrogates: Vec<usize>,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str, keys_max: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            keys_max,
            lone_surrogates: Vec::new(),
        }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not space, not consumed.
    ///
    /// # Errors
    /// [`Why::End`] at the end of the text.
    pub(crate) fn peek(&mut self) -> Result<u8, JsonError> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.error(Why::End)),
            }
        }
    }

    /// Consumes the byte that `peek` showed.
    pub(crate) const fn bump(&mut self) {
        self.at += 1;
    }

    /// Moves to the next member of the object whose `{` is consumed: up to its value. `None` when
    /// the object's `}` is consumed. `keys` counts the object's members; begin with 0.
    pub(crate) fn next_key(&mut self, keys: &mut usize) -> Result<Option<(Span, bool)>, JsonError> {
        match self.peek()? {
            b'}' => {
                self.bump();
                return Ok(None);
            }
            b',' if *keys > 0 => {
                self.bump();
                self.peek()?;
            }
            b'"' if *keys == 0 => {}
            other => return Err(self.error(Why::Unexpected(other))),
        }
        *keys += 1;
        self.key(*keys).map(Some)
    }

    /// Moves to the next element of the array whose `[` is consumed. False when the array's `]` is
    /// consumed.
    pub(crate) fn next_element(&mut self, first: &mut bool) -> Result<bool, JsonError> {
        match self.peek()? {
            b']' if *first => {
                self.bump();
                Ok(false)
            }
            _ if *first => {
                *first = false;
                Ok(true)
            }
            b']' => {
                self.bump();
                Ok(false)
            }
            b',' => {
                self.bump();
                self.peek()?;
                Ok(true)
            }
            other => Err(self.error(Why::Unexpected(other))),
        }
    }

    /// Checks and passes one whole value that stands inside `depth` containers.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Span, JsonError> {
        let first = self.peek()?;
        let start = self.at;
        if matches!(first, b'{' | b'[') {
            self.container(depth)?;
        } else {
            self.scalar(first)?;
        }
        Ok(Span {
            start,
            end: self.at,
        })
    }

    /// Nothing but space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Ok(byte) => Err(self.error(Why::Unexpected(byte))),
            Err(_) => Ok(()),
        }
    }

    pub(crate) const fn error(&self, why: Why) -> JsonError {
        JsonError { at: self.at, why }
    }

    /// An object or array. The open containers are a stack of bits, not of calls.
    fn container(&mut self, depth: usize) -> Result<(), JsonError> {
        let mut keys = [0_usize; JSON_DEPTH_MAX];
        let mut objects: u64 = 0;
        let mut level = depth;
        'value: loop {
            let first = self.peek()?;
            if matches!(first, b'{' | b'[') {
                let is_object = first == b'{';
                let count = keys
                    .get_mut(level)
                    .ok_or_else(|| self.error(Why::TooDeep))?;
                self.bump();
                *count = 0;
                objects = (objects << 1) | u64::from(is_object);
                level += 1;
                let close = if is_object { b'}' } else { b']' };
                if self.peek()? != close {
                    if is_object {
                        *count = 1;
                        self.key(1)?;
                    }
                    continue 'value;
                }
            } else {
                self.scalar(first)?;
            }
            loop {
                if level == depth {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.bump();
                        if is_object {
                            let count = keys.get_mut(level - 1).expect("this level was opened");
                            *count += 1;
                            let count = *count;
                            self.peek()?;
                            self.key(count)?;
                        }
                        continue 'value;
                    }
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    other => return Err(self.error(Why::Unexpected(other))),
                }
                self.bump();
                objects >>= 1;
                level -= 1;
            }
        }
    }

    /// A key and its colon; `count` is how many keys its object has by now.
    fn key(&mut self, count: usize) -> Result<(Span, bool), JsonError> {
        if count > self.keys_max {
            return Err(self.error(Why::TooManyKeys(self.keys_max)));
        }
        match self.peek()? {
            b'"' => {}
            other => return Err(self.error(Why::Unexpected(other))),
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let key = Span {
            start,
            end: self.at - 1,
        };
        match self.peek()? {
            b':' => self.bump(),
            other => return Err(self.error(Why::Unexpected(other))),
        }
        self.peek()?;
        Ok((key, escaped))
    }

    fn scalar(&mut self, first: u8) -> Result<(), JsonError> {
        match first {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            other => Err(self.error(Why::Unexpected(other))),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        for expected in literal {
            match self.bytes.get(self.at) {
                Some(byte) if byte == expected => self.at += 1,
                Some(byte) => return Err(self.error(Why::Unexpected(*byte))),
                None => return Err(self.error(Why::End)),
            }
        }
        Ok(())
    }

    /// From the opening quote past the closing one; whether it held an escape.
    fn string(&mut self) -> Result<bool, JsonError> {
        self.at += 1;
        let mut escaped = false;
        loop {
            // Eight bytes at a time: strings are most of an event.
            while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                match first_special(u64::from_le_bytes(*chunk)) {
                    None => self.at += 8,
                    Some(skip) => {
                        self.at += skip;
                        break;
                    }
                }
            }
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.error(Why::BadString)),
                Some(_) => self.at += 1,
                None => return Err(self.error(Why::End)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = self
                    .code_unit(self.at)
                    .ok_or_else(|| self.error(Why::BadString))?;
                let low = matches!(self.code_unit(self.at + 6), Some(0xdc00..=0xdfff));
                match unit {
                    0xd800..=0xdbff if low => {
                        self.at += 12;
                        return Ok(());
                    }
                    0xd800..=0xdfff => self.lone_surrogates.push(self.at),
                    _ => {}
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => Err(self.error(Why::BadString)),
            None => Err(self.error(Why::End)),
        }
    }

    /// The value of the `\uXXXX` that stands at `at`, if one does.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| {
            char::from(*digit)
                .to_digit(16)
                .map(|digit| unit * 16 + digit)
        })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut extreme = self.at - start > 300;
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            extreme = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        if extreme {
            let text = self
                .bytes
                .get(start..self.at)
                .and_then(|raw| str::from_utf8(raw).ok());
            if !text
                .and_then(|text| text.parse::<f64>().ok())
                .is_some_and(f64::is_finite)
            {
                return Err(JsonError {
                    at: start,
                    why: Why::BadNumber,
                });
            }
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at > start {
            return Ok(());
        }
        match self.bytes.get(self.at) {
            Some(byte) => Err(self.error(Why::Unexpected(*byte))),
            None => Err(self.error(Why::End)),
        }
    }
}

/// Which of eight bytes (little-endian) is the first quote, backslash or control character.
///
/// The classic carry trick: subtracting borrows into a byte's top bit where the byte was too small.
/// A borrow may run on into later bytes, never into earlier ones, so the first hit is exact.
fn first_special(word: u64) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_in(word ^ u64::from_le_bytes([b'"'; 8]));
    let backslash = zero_in(word ^ u64::from_le_bytes([b'\\'; 8]));
    let control = word.wrapping_sub(u64::from_le_bytes([0x20; 8])) & !word;
    let hits = (quote | backslash | control) & TOPS;
    (hits != 0).then(|| usize::try_from(hits.trailing_zeros() / 8).expect("at most 8"))
}

/// Calls `each` with every member of the object `text`. What is no object has no members.
pub(crate) fn members(text: &str, mut each: impl FnMut(Member)) {
    let mut scanner = Scanner::new(text, usize::MAX);
    if scanner.peek() != Ok(b'{') {
        return;
    }
    scanner.bump();
    let mut keys = 0;
    while let Ok(Some((key, key_escaped))) = scanner.next_key(&mut keys) {
        // The text was checked when it came in: a value that fails here cannot be.
        let Ok(value) = scanner.value(1) else { return };
        each(Member {
            key,
            key_escaped,
            value,
        });
    }
}

#[cfg(test)]
mod tests;
