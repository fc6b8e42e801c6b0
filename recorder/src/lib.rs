//! Turns recorded RTP into WebM archives.
