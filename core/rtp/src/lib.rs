//! RTP and RTCP packets as views, extended numbers, codec descriptors.
//!
//! Nothing here owns a packet or keeps time: functions read bytes that somebody else holds, and never panic on any of them.

mod allocation;
mod codec;
mod extension;
mod header;
mod level;
mod number;
mod rtcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use allocation::LayersAllocation;
pub use codec::{
    Arrived, Descriptor, DescriptorError, DescriptorFacts, Descriptors, Indication, LayerFacts, LayerReader,
    MAX_DESCRIPTOR, MaskPlace, Needs, PacketFacts, PictureNumbers, References, Renumbered, Target, Targets, inspect,
};
pub use extension::{Element, Extensions, Profile};
pub use header::{Header, HeaderError};
pub use level::audio_level;
pub use number::{Unwrapper, ntp_middle};
pub use rtcp::{Feedback, Missing, ReportBlock, SenderInfo, TwccFeedback, TwccPacket, is_rtcp, parse_rtcp, write};
