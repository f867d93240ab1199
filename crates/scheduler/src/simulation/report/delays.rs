//! A histogram of delays: eight buckets for each doubling, so within an eighth of the truth.

/// How long something took, in microseconds, for many such things.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// As many as the longest delay needs: each of 88,000 lanes has its own.
    buckets: Vec<u32>,
    count: u64,
    us_max: u64,
}

impl Delays {
    pub fn add(&mut self, us: u64) {
        let bucket = bucket_of(us);
        self.grow(bucket + 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.us_max = self.us_max.max(us);
    }

    pub fn merge(&mut self, other: &Self) {
        self.grow(other.buckets.len());
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*count);
        }
        self.count += other.count;
        self.us_max = self.us_max.max(other.us_max);
    }

    /// The longest of them, exactly.
    #[must_use]
    pub fn us_max(&self) -> u64 {
        self.us_max
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The delay that `percent` of 100 do not exceed, in microseconds; 0 where there is none.
    #[must_use]
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && seen > 0 {
                return upper_bound(index);
            }
        }
        0
    }

    /// How many took no longer than that, give or take an eighth of it.
    #[must_use]
    pub fn within(&self, us: u64) -> u64 {
        let buckets = self.buckets.iter().take(bucket_of(us) + 1);
        buckets.map(|count| u64::from(*count)).sum()
    }

    fn grow(&mut self, buckets: usize) {
        if self.buckets.len() < buckets {
            self.buckets.reserve_exact(buckets - self.buckets.len());
            self.buckets.resize(buckets, 0);
        }
    }
}

pub(super) fn bucket_of(us: u64) -> usize {
    if us < 8 {
        return usize::try_from(us).unwrap_or(0);
    }
    let doubling = us.ilog2() - 2;
    let eighth = (us >> (doubling - 1)) & 7;
    usize::try_from(u64::from(doubling) * 8 + eighth).unwrap_or(0)
}

pub(super) fn upper_bound(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(0);
    let (doubling, eighth) = (index / 8, index % 8);
    match doubling {
        0 => index,
        _ => ((8 + eighth + 1) << (doubling - 1)) - 1,
    }
}
