//! One peer's connection, sans-I/O: ICE-lite, DTLS, SRTP, SDP, TWCC.

pub mod dtls;
