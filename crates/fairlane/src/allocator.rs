//! Where the program's memory comes from.

use std::convert::Infallible;
use std::time::Duration;

use catalog::alloc::CountingAllocator;
use mimalloc::MiMalloc;

/// Counts each thread's live bytes, so that a transform cannot take all memory; mimalloc does the
/// allocating.
#[global_allocator]
static ALLOCATOR: CountingAllocator<MiMalloc> = CountingAllocator::new(MiMalloc);

/// How often freed memory is given back to the system.
const EVERY: Duration = Duration::from_secs(1);

/// Gives freed memory back to the system, now and from now on. Left alone, the allocator does so
/// only when more is allocated: after a large configuration was read, or a burst, that may be never.
pub async fn give_back_for_ever() -> Infallible {
    loop {
        collect();
        tokio::time::sleep(EVERY).await;
    }
}

#[allow(unsafe_code, reason = "the crate offers no safe form of this call")]
fn collect() {
    // SAFETY: mimalloc's documentation allows it at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
