//! Work on many definitions, all cores at it.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use catalog::STACK_BYTES_MIN;

/// `work` on each item, in any order, on as many threads as there are cores; the results in the
/// items' order. The threads have the stack that programs need.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return done;
            };
            done.push((index, work(item)));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut done = std::thread::scope(|scope| -> anyhow::Result<Vec<_>> {
        let threads = (0..cores.min(items.len())).map(|_| {
            std::thread::Builder::new()
                .name("catalog".to_owned())
                .stack_size(STACK_BYTES_MIN)
                .spawn_scoped(scope, run)
        });
        let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
        let mut done = Vec::with_capacity(items.len());
        for thread in threads {
            let part = thread.join();
            done.extend(part.map_err(|_| anyhow::anyhow!("a thread that ran programs panicked"))?);
        }
        Ok(done)
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_the_items_order() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = super::map(&items, |item| item * 2).unwrap();
        assert_eq!(
            doubled,
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert_eq!(super::map(&[], |item: &u8| *item).unwrap(), [0_u8; 0]);
    }
}
