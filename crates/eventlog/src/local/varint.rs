//! Small numbers in few bytes: seven bits a byte, low ones first, as in LEB128.

pub(crate) fn put(mut value: u64, out: &mut Vec<u8>) {
    while let Some(high) = std::num::NonZeroU64::new(value >> 7) {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        out.push(low | 0x80);
        value = high.get();
    }
    out.push(u8::try_from(value).expect("less than 128 here"));
}

/// A difference of either sign: small ones stay small.
pub(crate) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

/// Takes numbers from the front of bytes. `None` where they end too early or make no sense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn u64(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.u64()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.u64()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests;
