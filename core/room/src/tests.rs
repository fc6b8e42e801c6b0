//! The room, driven by a policy that is a closure.
