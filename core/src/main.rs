//! The Lockgate node.

fn main() {}
