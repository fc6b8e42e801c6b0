//! HTTP and WebSocket doors.
