//! Work on several threads whose results come out in the order the work went in.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

/// Results that wait for one before them.
struct Waiting<R, S> {
    next: usize,
    ready: BTreeMap<usize, R>,
    sink: S,
}

/// Hands each item to `work` on one of `threads` threads, and each result to `sink`, in
/// the items' order. Holds a few items a thread at most, whatever their number.
pub(super) fn in_order<T, R: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut sink: impl FnMut(R) + Send,
) {
    if threads <= 1 {
        items.for_each(|item| sink(work(item)));
        return;
    }
    let items = Mutex::new(items.enumerate());
    let waiting = Mutex::new(Waiting { next: 0, ready: BTreeMap::new(), sink });
    let moved = Condvar::new();
    let most_ahead = 8 * threads;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((at, item)) = lock(&items).next() else { break };
                    let result = work(item);
                    let mut waiting = lock(&waiting);
                    // One slow item must not let the others pile up results.
                    while at > waiting.next + most_ahead {
                        waiting = moved.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
                    }
                    waiting.ready.insert(at, result);
                    let state = &mut *waiting;
                    while let Some(result) = state.ready.remove(&state.next) {
                        (state.sink)(result);
                        state.next += 1;
                    }
                    moved.notify_all();
                }
            });
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            // Work of very different sizes.
            let work = |item: u64| (item, (0..(item * 7919 % 13) * 1000).fold(0_u64, |sum, one| sum.wrapping_add(one)));
            in_order(threads, 0..200, work, |(item, _)| seen.push(item));
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
        }
    }
}
