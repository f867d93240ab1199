//! Where the program's memory comes from.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{c_int, c_long};
use std::time::{Duration, Instant};

use catalog::alloc::CountingAllocator;
use mimalloc::MiMalloc;

/// Counts each thread's live bytes, so that a transform cannot take all memory; mimalloc does the
/// allocating.
#[global_allocator]
static ALLOCATOR: CountingAllocator<MiMalloc> = CountingAllocator::new(MiMalloc);

/// How often a thread gives freed memory back to the system.
const EVERY: Duration = Duration::from_secs(1);

/// mimalloc's own default.
const PURGE_DELAY_MS: c_long = 10;

/// `mi_option_purge_delay` of mimalloc 2's `mi_option_e`: the crate does not name it.
const MI_OPTION_PURGE_DELAY: c_int = 15;

thread_local! {
    static GAVE_BACK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From now on memory goes back to the system as soon as it is freed: right for a start that has read
/// much and keeps little, and too dear for what follows, which begins with [`give_back_later`].
pub fn give_back_at_once() {
    set_purge_delay(0);
}

/// As the allocator does by itself.
pub fn give_back_later() {
    set_purge_delay(PURGE_DELAY_MS);
}

/// Gives freed memory back to the system, now and from now on. Left alone, the allocator does so
/// only when more is allocated: after a large configuration was read, or a burst, that may be never.
pub async fn give_back_for_ever() -> Infallible {
    loop {
        give_back();
        tokio::time::sleep(EVERY).await;
    }
}

/// Gives back what this thread has no more use for, if it did not do so just before. What other
/// threads freed of its memory, no other thread can give back.
pub fn give_back() {
    let is_early = |at: Instant| at.elapsed() < EVERY / 2;
    if GAVE_BACK.get().is_some_and(is_early) {
        return;
    }
    GAVE_BACK.set(Some(Instant::now()));
    collect();
}

#[allow(unsafe_code, reason = "the crate offers no safe form of this call")]
fn set_purge_delay(ms: c_long) {
    // SAFETY: sets one of mimalloc's options, which it reads atomically.
    unsafe { libmimalloc_sys::mi_option_set(MI_OPTION_PURGE_DELAY, ms) }
}

#[allow(unsafe_code, reason = "the crate offers no safe form of this call")]
fn collect() {
    // SAFETY: mimalloc's documentation allows it at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
