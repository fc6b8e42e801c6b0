//! Threads and sockets around the engine, and the async handles.
