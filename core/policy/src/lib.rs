//! The WASM plugin host: load, limit, ask, merge.
