//! Times as text: RFC 3339 out, and the ISO 8601 that clients really send in.
//!
//! Days and dates are converted by Howard Hinnant's `civil_from_days` and `days_from_civil`
//! (<https://howardhinnant.github.io/date_algorithms.html>), which need no table and no branch.

use model::UnixMillis;

/// `2026-11-23T10:00:00.000Z`: always as long as this, in UTC, with milliseconds.
pub(crate) const TEXT_BYTES: usize = 24;

/// The last millisecond of the year 9999: later times do not fit into four digits.
pub(crate) const LATEST: UnixMillis = UnixMillis(253_402_300_799_999);

const DAY_MS: u64 = 86_400_000;

/// Writes `time` as text; times after [`LATEST`] as [`LATEST`].
pub(crate) fn format(time: UnixMillis) -> [u8; TEXT_BYTES] {
    let time = time.min(LATEST).0;
    let (year, month, day) = civil_from_days(time / DAY_MS);
    let ms = time % DAY_MS;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let fields: [(usize, usize, u64); 7] = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, ms / 3_600_000),
        (14, 2, ms / 60_000 % 60),
        (17, 2, ms / 1_000 % 60),
        (20, 3, ms % 1_000),
    ];
    for (start, digits, mut value) in fields {
        for place in text.iter_mut().skip(start).take(digits).rev() {
            *place = b'0' + u8::try_from(value % 10).expect("a digit");
            value /= 10;
        }
    }
    text
}

/// Reads `YYYY-MM-DD`, optionally followed by `T` or a space, `HH:MM`, `:SS`, a fraction of any
/// length, and `Z` or an offset. Without an offset it is UTC. `None` for anything else, and for
/// times before 1970 or after 9999.
pub(crate) fn parse(text: &str) -> Option<UnixMillis> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4)?;
    reader.byte(b'-')?;
    let month = reader.number(2).filter(|month| (1..=12).contains(month))?;
    reader.byte(b'-')?;
    let day = reader
        .number(2)
        .filter(|day| (1..=days_in(year, month)).contains(day))?;
    let mut ms = days_from_civil(year, month, day)?.checked_mul(DAY_MS)?;
    if !reader.0.is_empty() {
        reader
            .byte(b'T')
            .or_else(|| reader.byte(b't'))
            .or_else(|| reader.byte(b' '))?;
        let hour = reader.number(2).filter(|hour| *hour < 24)?;
        reader.byte(b':')?;
        let minute = reader.number(2).filter(|minute| *minute < 60)?;
        ms += hour * 3_600_000 + minute * 60_000;
        if reader.byte(b':').is_some() {
            // 60 is a leap second: the same instant as the next minute's first.
            ms += reader.number(2).filter(|second| *second <= 60)? * 1_000;
            if reader.byte(b'.').or_else(|| reader.byte(b',')).is_some() {
                ms += reader.fraction_ms()?;
            }
        }
        ms = reader.offset(ms)?;
    }
    reader
        .0
        .is_empty()
        .then_some(UnixMillis(ms))
        .filter(|time| *time <= LATEST)
}

/// What is left to read.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == wanted).then(|| self.0 = rest)
    }

    fn digit(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            u64::from(first - b'0')
        })
    }

    fn number(&mut self, digits: usize) -> Option<u64> {
        let mut value = 0;
        for _ in 0..digits {
            value = value * 10 + self.digit()?;
        }
        Some(value)
    }

    /// The digits after the point, cut (not rounded) to milliseconds.
    fn fraction_ms(&mut self) -> Option<u64> {
        let mut ms = self.digit()? * 100;
        let mut weight = 10;
        while let Some(digit) = self.digit() {
            ms += digit * weight;
            weight /= 10;
        }
        Some(ms)
    }

    /// `local` less the offset that follows.
    fn offset(&mut self, local: u64) -> Option<u64> {
        if self.0.is_empty() || self.byte(b'Z').or_else(|| self.byte(b'z')).is_some() {
            return Some(local);
        }
        let east = self.byte(b'+').is_some();
        if !east {
            self.byte(b'-')?;
        }
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _colon = self.byte(b':');
            self.number(2).filter(|minutes| *minutes < 60)?
        };
        let offset = hours * 3_600_000 + minutes * 60_000;
        if east {
            local.checked_sub(offset)
        } else {
            local.checked_add(offset)
        }
    }
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days since 1970-01-01; `None` before it.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests;
