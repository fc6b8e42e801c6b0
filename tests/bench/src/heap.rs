//! What this process has on its heap, and how often it asked for memory.
//!
//! The cryptographic library allocates with C's `malloc`, as Rust's own allocator does: so the sum of both is asked of that.

#![allow(unsafe_code, reason = "an allocator that counts, and the C library's statistics, cannot be had without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, counted.
pub(crate) struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// How often Rust code of this process asked for memory, or for more of it.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes that this process, Rust and C, has allocated now, with what the allocator adds to them.
pub(crate) fn in_use() -> u64 {
    // SAFETY: it only reads the allocator's own books, under its locks.
    let books = unsafe { libc::mallinfo2() };
    (books.uordblks + books.hblkhd) as u64
}

fn count() {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_seen_and_what_is_let_go_is_not() {
        let (calls, before) = (allocations(), in_use());
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        // Other tests of this process come and go meanwhile, with less than that.
        assert!(in_use() >= before + (48 << 20));
        drop(held);
        assert!(in_use() < before + (16 << 20));
        assert!(allocations() > calls);
    }
}
