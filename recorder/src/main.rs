//! The recorder process.

fn main() {}
