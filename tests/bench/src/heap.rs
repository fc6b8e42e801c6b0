//! What this process has on its heap, and how often a thread asked for memory.
//!
//! The cryptographic library allocates with C's `malloc`, as Rust's own allocator does: so the sum of both is asked of that.

#![allow(unsafe_code, reason = "an allocator that counts, and the C library's statistics, cannot be had without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The system's allocator, counted.
pub(crate) struct Counting;

/// A thread's account.
struct Account {
    /// The system's number of the thread; 0: of none yet.
    thread: AtomicI32,
    allocations: AtomicU64,
}

static ACCOUNTS: [Account; THREADS] =
    [const { Account { thread: AtomicI32::new(0), allocations: AtomicU64::new(0) } }; THREADS];
static OPENED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's account, once it has one.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How often Rust code of a thread of this process, by the system's number, asked for memory, or for more of it; none if no
/// account is kept of it, as it has asked for none or came after [`THREADS`] others.
pub(crate) fn allocations(thread: i32) -> Option<u64> {
    let own = ACCOUNTS.iter().find(|account| account.thread.load(Ordering::Relaxed) == thread)?;
    Some(own.allocations.load(Ordering::Relaxed))
}

/// Bytes that this process, Rust and C, has allocated now, with what the allocator adds to them.
pub(crate) fn in_use() -> u64 {
    // SAFETY: it only reads the allocator's own books, under its locks.
    let books = unsafe { libc::mallinfo2() };
    (books.uordblks + books.hblkhd) as u64
}

fn count() {
    // What a thread asks for while it ends is nobody's.
    let own = OWN.try_with(|own| own.get().unwrap_or_else(|| open(own)));
    if let Some(account) = own.ok().and_then(|own| ACCOUNTS.get(own)) {
        account.allocations.fetch_add(1, Ordering::Relaxed);
    }
}

fn open(own: &Cell<Option<usize>>) -> usize {
    let index = OPENED.fetch_add(1, Ordering::Relaxed);
    own.set(Some(index));
    if let Some(account) = ACCOUNTS.get(index) {
        account.thread.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    }
    index
}

// SAFETY: each call is passed on as it came, to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

/// More than a worker's process has.
const THREADS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_seen_and_what_is_let_go_is_not() {
        let own = nix::unistd::gettid().as_raw();
        let (calls, before) = (allocations(own).unwrap(), in_use());
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        // Other tests of this process come and go meanwhile, with less than that.
        assert!(in_use() >= before + (48 << 20));
        drop(held);
        assert!(in_use() < before + (16 << 20));
        assert_eq!(allocations(own), Some(calls + 1));
        assert_eq!(allocations(-1), None, "and of no other thread");
    }
}
