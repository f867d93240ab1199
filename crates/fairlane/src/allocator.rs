//! Where the program's memory comes from.

use catalog::alloc::CountingAllocator;
use mimalloc::MiMalloc;

/// Counts each thread's live bytes, so that a transform cannot take all memory; mimalloc does the
/// allocating.
#[global_allocator]
static ALLOCATOR: CountingAllocator<MiMalloc> = CountingAllocator::new(MiMalloc);

/// Gives memory that this thread has freed back to the system now, and not when it allocates
/// again: after reading a large configuration, that may be never.
#[allow(unsafe_code, reason = "the crate offers no safe form of this call")]
pub fn give_back() {
    // SAFETY: mimalloc's documentation allows it at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
