//! From one encoding to another and back: to the viewer it is one stream, without a seam.

use super::*;

/// Two encodings of one camera, 30 pictures a second, whose numbers, clocks and indexes have nothing in common.
struct Two {
    world: World,
    publisher: usize,
    viewer: usize,
    step: u16,
    keys: [bool; 2],
    indexes: [u8; 2],
}

/// What the viewer got of a picture, one packet each.
struct Got {
    source: u32,
    sequence: u16,
    timestamp: u32,
    picture: u16,
    /// TL0PICIDX and KEYIDX (RFC 7741 §4.2).
    base: u8,
    key_index: u8,
    is_key: bool,
    /// 0: of the low encoding.
    encoding: u8,
}

const FIRST: [(u32, u16, u32, u16); 2] = [(20, 65_500, 7_000, 0x7fe0), (30, 900, 4_294_000_000, 77)];

impl Two {
    fn new() -> Self {
        let mut world = World::new();
        let publisher = world.publisher("camera", &["low", "high"]);
        let viewer = world.viewer("camera", Limits { max_layer: Layer::new(0, u8::MAX), ..Limits::default() });
        Self { world, publisher, viewer, step: 0, keys: [true; 2], indexes: [9, 21] }
    }

    fn allow(&mut self, spatial: u8) {
        let (now, transport) = (self.world.now, self.world.clients[self.viewer].transport);
        let limits = Limits { max_layer: Layer::new(spatial, u8::MAX), ..Limits::default() };
        self.world.engine.set_limits(now, transport, &track("camera"), limits);
        self.world.pump();
    }

    /// Sends so many pictures of both. What comes of them.
    fn run(&mut self, pictures: u16) -> Vec<Got> {
        for _ in 0..pictures {
            self.world.advance(Duration::from_nanos(33_333_333));
            for one in feedback(&self.world.feedback(self.publisher)) {
                if let Feedback::KeyFrameRequest { ssrc } = one {
                    self.keys[usize::from(ssrc == FIRST[1].0)] = true;
                }
            }
            if self.step.is_multiple_of(30) {
                self.world.keep_alive();
                (0..2).for_each(|encoding| self.report(encoding));
            }
            (0..2).for_each(|encoding| self.picture(encoding));
            self.step += 1;
        }
        self.world.received(self.viewer).iter().map(|(header, payload)| Got::read(header, payload)).collect()
    }

    fn picture(&mut self, encoding: usize) {
        let (ssrc, sequence, timestamp, picture) = FIRST[encoding];
        let key = std::mem::take(&mut self.keys[encoding]);
        self.indexes[encoding] += u8::from(key);
        let one = Picture {
            timestamp: timestamp.wrapping_add(u32::from(self.step) * 3000),
            picture: picture.wrapping_add(self.step) & 0x7fff,
            key,
            ..Picture::new(ssrc, sequence.wrapping_add(self.step))
        };
        let mut packet = one.rid(["low", "high"][encoding]).bytes();
        // The last five bytes are flags, TL0PICIDX, TID and KEYIDX, and two of the codec's own.
        let (kind, indexes) = (packet.len() - 7, packet.len() - 3);
        packet[kind] |= 0x10;
        packet[indexes] |= self.indexes[encoding] & 0x1f;
        packet.push(encoding as u8);
        self.world.send(self.publisher, &packet);
    }

    /// Both clocks at this moment (RFC 3550 §6.4.1).
    fn report(&mut self, encoding: usize) {
        let (ssrc, _, timestamp, _) = FIRST[encoding];
        let ntp = (1_000_u64 << 32) + ((u64::from(self.step) << 32) / 30);
        let rtp = timestamp.wrapping_add(u32::from(self.step) * 3000);
        let info = SenderInfo { ssrc, ntp, rtp, packets: 1, octets: 1 };
        self.world.send_rtcp(self.publisher, &written(|out| write::sender_report(out, info, "ann")));
    }
}

impl Got {
    fn read(header: &Header, payload: &[u8]) -> Self {
        assert_eq!(payload[1], 0xf0, "picture id, TL0PICIDX, TID and KEYIDX");
        Self {
            source: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            picture: u16::from_be_bytes([payload[2] & 0x7f, payload[3]]),
            base: payload[4],
            key_index: payload[5] & 0x1f,
            is_key: payload[6] & 1 == 0,
            encoding: payload[8],
        }
    }
}

/// Of one stream: everything counts on by one, time too, and the index of key frames at each of them.
fn assert_seamless(got: &[Got]) {
    for pair in got.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let at = (before.encoding, after.encoding, after.sequence);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1), "{at:?}");
        assert_eq!(after.picture, (before.picture + 1) & 0x7fff, "{at:?}");
        assert_eq!(after.base, before.base.wrapping_add(1), "{at:?}");
        assert_eq!(after.key_index, (before.key_index + u8::from(after.is_key)) & 0x1f, "{at:?}");
        let ticks = after.timestamp.wrapping_sub(before.timestamp);
        assert!(ticks.abs_diff(3000) <= 1, "{at:?}: {ticks} ticks");
        assert!(before.encoding == after.encoding || after.is_key, "{at:?}: a decoder cannot begin with it");
    }
}

#[test]
fn an_encoding_goes_on_where_the_other_one_ended() {
    let mut two = Two::new();
    let mut got = two.run(60);
    for spatial in [1, 0, 1] {
        two.allow(spatial);
        got.extend(two.run(30));
        assert_eq!(got.last().map(|one| one.encoding), Some(spatial));
    }
    assert!(got.len() >= 145, "{}", got.len());
    assert_seamless(&got);
}

#[test]
fn what_was_lost_before_another_encoding_came_is_sent_again() {
    let mut two = Two::new();
    let before = two.run(60);
    two.allow(1);
    let after = two.run(10);
    let (lost, of_now) = (&before[before.len() - 3], after.last().unwrap());
    assert_eq!((lost.encoding, of_now.encoding), (0, 1));
    for wanted in [lost, of_now] {
        let nack = written(|out| write::nack(out, 1, wanted.source, &[wanted.sequence]));
        two.world.send_rtcp(two.viewer, &nack);
        let again = two.world.received(two.viewer);
        assert_eq!(again.len(), 1);
        let (number, payload) = again[0].1.split_at(2);
        let again = Got::read(&again[0].0, payload);
        assert_eq!(number, wanted.sequence.to_be_bytes());
        let facts = |one: &Got| (one.timestamp, one.picture, one.base, one.key_index, one.encoding);
        assert_eq!(facts(&again), facts(wanted));
    }
}
