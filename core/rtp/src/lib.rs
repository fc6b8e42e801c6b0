//! RTP and RTCP packets as views, extended numbers, codec descriptors.
