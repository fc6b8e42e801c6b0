//! The whole system under test: real binaries and a real browser.
