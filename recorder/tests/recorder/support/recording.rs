//! A session that is being recorded: what tests of breaks and of full disks begin with.

use lockgate_model::carrier::StartSession;
use lockgate_model::{Codec, Source};

use super::{Clip, Node, Recorder, Sender, session, track};

/// A session of a microphone (track 1) and a camera (track 2) of which 2.5 seconds are in the file.
pub(crate) struct Recording {
    pub(crate) node: Node,
    pub(crate) recorder: Recorder,
    pub(crate) start: StartSession,
    /// What the microphone and the camera send.
    pub(crate) clips: [Clip; 2],
    pub(crate) senders: [Sender; 2],
}

impl Recording {
    /// With clips that last so many seconds.
    pub(crate) fn begin((mut node, recorder): (Node, Recorder), seconds: u32) -> Self {
        let start = session("s1");
        let clips = [Clip::sound(seconds), Clip::picture(Codec::Vp8, "320x240", seconds)];
        let tracks = [track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)];
        node.begin(&start, &tracks);
        let [mut a, mut v] = [Sender::new(1, &clips[0]), Sender::new(2, &clips[1])];
        node.play(&mut [&mut a, &mut v], 2_500_000);
        for sender in [&a, &v] {
            node.expect_ack(sender.track, sender.ssrc, sender.seq);
        }
        Self { node, recorder, start, clips, senders: [a, v] }
    }
}
