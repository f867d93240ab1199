//! A global allocator that counts the bytes each thread holds, so that a program can be stopped
//! before it takes the process' memory.
//!
//! ```text
//! alloc on this thread    live += size
//! dealloc on this thread  live -= size       (freed elsewhere: the sum drifts, and a run looks
//!                                             only at the difference from its own start)
//! ```

// `GlobalAlloc` cannot be implemented without `unsafe`; nothing here does more than count and pass
// the call on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    // Constant and without a destructor: it can be used while a thread ends, and never allocates.
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
    #[cfg(test)]
    static PEAK_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Counts what `A` hands out.
#[derive(Debug, Default)]
pub struct CountingAllocator<A>(A);

impl<A> CountingAllocator<A> {
    #[must_use]
    pub const fn new(inner: A) -> Self {
        Self(inner)
    }
}

/// Bytes allocated less bytes freed by this thread. Always 0 where no [`CountingAllocator`] is the
/// global allocator: the limit of live bytes is inactive then.
#[must_use]
pub fn live_bytes() -> i64 {
    LIVE_BYTES.with(Cell::get)
}

/// The most that this thread has held since [`reset_peak`].
#[cfg(test)]
pub(crate) fn peak_bytes() -> i64 {
    PEAK_BYTES.with(Cell::get)
}

#[cfg(test)]
pub(crate) fn reset_peak() {
    PEAK_BYTES.with(|peak| peak.set(live_bytes()));
}

fn count(bytes: usize, sign: i64) {
    // No allocation is larger than `isize::MAX`, so the conversion cannot fail.
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    LIVE_BYTES.with(|live| live.set(live.get().wrapping_add(sign * bytes)));
    #[cfg(test)]
    PEAK_BYTES.with(|peak| peak.set(peak.get().max(live_bytes())));
}

// SAFETY: every method passes its arguments unchanged to the inner allocator and returns what that
// returns; counting touches no memory that is handed out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's contract is the inner allocator's.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, 1);
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, new_size) }
    }
}
