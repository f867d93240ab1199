//! Where the program's memory comes from.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use catalog::alloc::CountingAllocator;
use mimalloc::MiMalloc;

/// Counts each thread's live bytes, so that a transform cannot take all memory; mimalloc does the
/// allocating.
#[global_allocator]
static ALLOCATOR: CountingAllocator<MiMalloc> = CountingAllocator::new(MiMalloc);

/// How often a thread gives freed memory back to the system.
const EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static GAVE_BACK: Cell<Option<Instant>> = const { Cell::new(None) };
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
fn collect() {
    // SAFETY: mimalloc's documentation allows it at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
