//! A WebRTC SFU whose doors are programmable.
