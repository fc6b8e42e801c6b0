//! The sans-I/O forwarding engine.
