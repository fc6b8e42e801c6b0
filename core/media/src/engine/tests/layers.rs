//! Layers within one encoding: what viewers with limits are sent of VP9 and of what dependency descriptors describe.

mod allocations;

use lockgate_model::Codec;
use lockgate_rtp::testing::{Plan, descriptor, template_of, three_by_three};
use lockgate_rtp::{Descriptors, LayerReader};

use super::*;

/// A publisher of three by three layers in one encoding, and what is known of its pictures.
struct Layered {
    world: World,
    publisher: usize,
    codec: Codec,
    plan: Plan,
    /// Counts from the last key frame.
    picture: u32,
    sequence: u16,
    frame: u16,
    timestamp: u32,
    /// How many bytes a frame of each spatial layer has.
    sizes: [usize; 3],
    /// Whether key frames come by themselves when they are asked for.
    answers: bool,
    /// Whether the frames of upper layers bring the structure, too.
    everywhere: bool,
}

impl Layered {
    fn new(codec: Codec, at_key_frames: bool) -> Self {
        let mut world = World::new();
        let edit = |offer: String| {
            let offer = offer.replace("VP8/90000", &format!("{}/90000", codec.rtpmap_name()));
            let extension = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
            let told = if codec == Codec::Vp9 { String::new() } else { format!("a=extmap:11 {extension}\r\n") };
            offer + &told
        };
        let (publisher, _) = world.publisher_within(None, edit);
        Self {
            world,
            publisher,
            codec,
            plan: three_by_three(Some(at_key_frames)),
            picture: 0,
            sequence: 65_000,
            frame: 65_500,
            timestamp: 1000,
            sizes: [100, 200, 400],
            answers: true,
            everywhere: false,
        }
    }

    /// A publisher none of whose layers needs another, as in `S3T3`.
    fn apart() -> Self {
        Self { plan: three_by_three(None), everywhere: true, ..Self::new(Codec::Av1, false) }
    }

    fn viewer(&mut self, max_layer: Layer) -> usize {
        self.world.viewer("camera", Limits { max_layer, ..Limits::default() })
    }

    fn limit(&mut self, viewer: usize, max_layer: Layer) {
        let (transport, limits) = (self.world.clients[viewer].transport, Limits { max_layer, ..Limits::default() });
        self.world.engine.set_limits(self.world.now, transport, &track("camera"), limits);
        self.world.pump();
    }

    /// So many pictures at 30 a second.
    fn run(&mut self, pictures: usize) {
        for _ in 0..pictures {
            if self.answers && self.world.key_frame_requests(self.publisher) > 0 {
                self.picture = 0;
            }
            for packet in self.next() {
                self.world.send(self.publisher, &packet);
            }
            self.world.advance(Duration::from_millis(33));
        }
    }

    /// The packets of the next picture: two of each spatial layer.
    fn next(&mut self) -> Vec<Vec<u8>> {
        let temporal = if self.picture == 0 { 0 } else { [0, 2, 1, 2][self.picture as usize % 4] };
        let mut packets = Vec::new();
        for spatial in 0..3_u8 {
            for part in 0..2 {
                packets.push(self.packet(spatial, temporal, part == 0, part == 1));
                self.sequence = self.sequence.wrapping_add(1);
            }
            self.frame = self.frame.wrapping_add(1);
        }
        self.picture += 1;
        self.timestamp += 3000;
        packets
    }

    fn packet(&self, spatial: u8, temporal: u8, begins: bool, ends: bool) -> Vec<u8> {
        let mut elements = vec![4, 1, b'0'];
        if self.codec != Codec::Vp9 {
            let brings = self.picture == 0 && begins && (spatial == 0 || self.everywhere);
            let attached = brings.then_some(&self.plan);
            let mut value =
                descriptor(self.plan.offset + template_of(self.picture, spatial), self.frame, attached, None);
            value[0] = value[0] & 0x3f | u8::from(begins) << 7 | u8::from(ends) << 6;
            elements.extend_from_slice(&[11, value.len() as u8]);
            elements.extend_from_slice(&value);
        }
        elements.resize(elements.len().next_multiple_of(4), 0);
        let marker = ends && spatial == 2;
        let mut packet = vec![0x90, u8::from(marker) << 7 | 96];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 9, 0x10, 0, 0, (elements.len() / 4) as u8]);
        packet.extend_from_slice(&elements);
        if self.codec == Codec::Vp9 {
            let first = 0xa0 | u8::from(self.picture > 0) << 6 | u8::from(begins) << 3 | u8::from(ends) << 2;
            let id = 0x8000 | (self.timestamp / 3000) as u16;
            packet.push(first | u8::from(spatial == 2));
            packet.extend_from_slice(&id.to_be_bytes());
            packet.extend_from_slice(&[temporal << 5 | 0x10 | spatial << 1 | u8::from(spatial > 0), 7]);
        }
        packet.extend_from_slice(&vec![spatial << 4 | temporal; self.sizes[usize::from(spatial)]]);
        packet
    }

    /// What a viewer got: of each packet its layers, its picture's time and the marker.
    fn got(&mut self, viewer: usize) -> Vec<Got> {
        let packets = std::mem::take(&mut self.world.clients[viewer].peer.rtp);
        let got = packets.into_iter().map(|packet| {
            let header = Header::parse(&packet).unwrap();
            let payload = header.payload(&packet).unwrap();
            let layers = if payload.len() > 2 { packet[payload.end - 1] } else { 0xff };
            let described = header.extensions(&packet).find(|one| one.id == 4).map(|one| one.value.to_vec());
            let payload = packet[payload].to_vec();
            Got { header, spatial: layers >> 4, temporal: layers & 15, described, payload }
        });
        got.collect()
    }
}

struct Got {
    header: Header,
    spatial: u8,
    temporal: u8,
    described: Option<Vec<u8>>,
    payload: Vec<u8>,
}

/// Numbers have no gap, and each picture ends with the marker, which nothing else has.
fn assert_whole(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        assert_eq!(pair[0].header.marker, pair[0].header.timestamp != pair[1].header.timestamp);
    }
    assert!(got.last().unwrap().header.marker);
}

fn highest(got: &[Got]) -> (u8, u8) {
    (got.iter().map(|one| one.spatial).max().unwrap(), got.iter().map(|one| one.temporal).max().unwrap())
}

#[test]
fn a_capped_viewer_gets_whole_pictures_of_the_lower_layers() {
    for codec in [Codec::Vp9, Codec::Av1, Codec::H264] {
        let mut call = Layered::new(codec, false);
        let viewers = [(0, 0), (1, 1), (2, 2), (0, 2)].map(|(s, t)| (call.viewer(Layer::new(s, t)), (s, t)));
        call.run(60);
        for (viewer, layer) in viewers {
            let got = call.got(viewer);
            assert_whole(&got);
            assert_eq!(highest(&got), layer, "{codec:?}");
            let pictures = got.iter().filter(|one| one.header.marker).count();
            let wanted = 60 >> (2 - layer.1);
            assert!((wanted - 4..=wanted + 4).contains(&pictures), "{pictures} pictures for {layer:?}");
        }
        assert_eq!(call.world.dropped(DropReason::Descriptor), 0);
    }
}

#[test]
fn fewer_layers_come_at_once_and_more_with_a_key_frame_that_is_asked_for() {
    let mut call = Layered::new(Codec::Vp9, false);
    let viewer = call.viewer(Layer::MAX);
    call.run(30);
    assert_eq!(highest(&call.got(viewer)), (2, 2));
    call.answers = false;
    call.limit(viewer, Layer::new(0, 7));
    call.run(20);
    let got = call.got(viewer);
    assert_whole(&got);
    assert_eq!(
        (highest(&got), got.iter().filter(|one| one.header.marker).count()),
        ((0, 2), 20),
        "not one is left out"
    );
    assert_eq!(call.world.key_frame_requests(call.publisher), 0);
    call.limit(viewer, Layer::new(1, 7));
    call.run(3);
    assert_eq!(highest(&call.got(viewer)).0, 0);
    call.answers = true;
    call.run(10);
    let got = call.got(viewer);
    assert_whole(&got);
    assert_eq!(highest(&got), (1, 2));
    let told = |event: &RouterEvent| match event {
        RouterEvent::LayerChanged { layer, .. } => layer.map(|layer| layer.spatial),
        _ => None,
    };
    let told: Vec<_> = call.world.events.iter().filter_map(told).collect();
    assert_eq!(told.last(), Some(&1), "{told:?}");
}

#[test]
fn of_layers_apart_only_one_is_sent_and_limits_end_it_at_once() {
    let mut call = Layered::new(Codec::Av1, true);
    let viewer = call.viewer(Layer::MAX);
    call.run(20);
    let got = call.got(viewer);
    assert_whole(&got);
    let lower = got.iter().filter(|one| one.spatial < 2).count();
    assert!((1..=8).contains(&lower), "of key frames only: {lower}");
    call.answers = false;
    call.limit(viewer, Layer::new(1, 7));
    call.run(5);
    assert_eq!(call.got(viewer).len(), 0, "it may not have the one, and the other cannot be decoded");
    call.answers = true;
    call.run(5);
    let got = call.got(viewer);
    assert_whole(&got);
    assert_eq!(highest(&got).0, 1);
}

#[test]
fn what_a_viewer_loses_comes_again_as_it_was_and_what_it_may_not_have_as_nothing() {
    let mut call = Layered::new(Codec::Vp9, false);
    let viewer = call.viewer(Layer::new(1, 7));
    call.run(6);
    let before = call.got(viewer);
    let (ssrc, last) = (before[0].header.ssrc, before.last().unwrap().header.sequence);
    // Of the next picture the packets of the highest layer come when the one after that has.
    let (mut first, second) = (call.next(), call.next());
    let late = first.split_off(4);
    for packet in first.iter().chain(&second).chain(&late) {
        call.world.send(call.publisher, packet);
    }
    let got = call.got(viewer);
    assert!(got.iter().all(|one| one.spatial < 2));
    let expected: Vec<_> = (1..=10).map(|step| last.wrapping_add(step)).collect();
    let missing: Vec<_> =
        expected.into_iter().filter(|one| got.iter().all(|own| own.header.sequence != *one)).collect();
    assert_eq!(missing.len(), 2, "their places were given out before they came");
    let wanted = [missing[0], missing[1], got[3].header.sequence];
    call.world.send_rtcp(viewer, &written(|out| write::nack(out, 1, ssrc, &wanted)));
    let again = call.got(viewer);
    assert_eq!(again.iter().map(|one| one.payload.len()).collect::<Vec<_>>()[..2], [2, 2]);
    assert_eq!(again[2].payload[2..], got[3].payload);
    assert!(got[3].header.marker && again[2].header.marker, "which the publisher's packet has not");
}

#[test]
fn descriptors_tell_a_viewer_the_targets_that_it_gets() {
    let mut call = Layered::new(Codec::Av1, false);
    let (capped, free) = (call.viewer(Layer::new(1, 1)), call.viewer(Layer::MAX));
    call.run(20);
    let (got, whole) = (call.got(capped), call.got(free));
    let mut known = Descriptors::default();
    let read = got.iter().map(|one| known.read(one.described.as_ref().unwrap(), false).unwrap());
    let told: Vec<_> = read.filter_map(|one| one.active).collect();
    assert!(told.len() > 4 && told.iter().all(|mask| *mask == 0b1_1011), "{told:?}");
    assert_eq!(known.active(), 0b1_1011);
    let mut known = Descriptors::default();
    let read = whole.iter().map(|one| known.read(one.described.as_ref().unwrap(), false).unwrap());
    let read: Vec<_> = read.collect();
    assert!(read.iter().all(|one| one.active.is_none()));
    let numbers: Vec<_> = read.iter().filter(|one| one.begins).map(|one| one.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    call.limit(capped, Layer::MAX);
    call.run(20);
    let mut known = Descriptors::default();
    let got = call.got(capped);
    let read = got.iter().filter_map(|one| known.read(one.described.as_ref().unwrap(), false).ok()).last();
    assert!(read.is_some());
    assert_eq!(known.active(), 0b1_1111_1111, "and all of them again");
}

#[test]
fn descriptors_that_make_no_sense_are_counted_and_go_no_further() {
    let mut call = Layered::new(Codec::Av1, false);
    let viewer = call.viewer(Layer::MAX);
    call.run(3);
    call.got(viewer);
    let mut packets = call.next();
    for packet in &mut packets {
        packet[21] |= 0x3f;
    }
    packets.iter().for_each(|packet| call.world.send(call.publisher, packet));
    let got = call.got(viewer);
    assert_eq!((call.world.dropped(DropReason::Descriptor), got.len()), (6, 6));
    assert!(got.iter().all(|one| one.described.is_none()));
    call.run(4);
    assert!(call.got(viewer).iter().all(|one| one.described.is_some()));
}

#[test]
fn a_structure_that_was_overtaken_by_its_own_frame_counts_all_the_same() {
    let mut call = Layered::new(Codec::Av1, false);
    let capped = call.viewer(Layer::new(0, u8::MAX));
    let mut packets = call.next();
    packets.swap(0, 1);
    packets.iter().for_each(|packet| call.world.send(call.publisher, packet));
    call.got(capped);
    call.answers = false;
    call.run(20);
    let got = call.got(capped);
    assert_whole(&got);
    assert!(got.len() >= 20 && got.iter().all(|one| one.spatial == 0), "{:?}", highest(&got));
}

#[test]
fn a_structure_that_was_lost_is_asked_for() {
    let mut call = Layered::new(Codec::Av1, false);
    let capped = call.viewer(Layer::new(0, u8::MAX));
    call.run(2);
    (call.plan.offset, call.picture) = (30, 0);
    call.next().iter().skip(1).for_each(|packet| call.world.send(call.publisher, packet));
    call.run(10);
    call.got(capped);
    call.run(10);
    let got = call.got(capped);
    assert!(!got.is_empty() && got.iter().all(|one| one.spatial == 0), "its limits are kept again");
}

#[test]
fn of_layers_that_need_no_other_a_capped_viewer_gets_its_own_only() {
    let mut call = Layered::apart();
    let (capped, middle) = (call.viewer(Layer::new(0, u8::MAX)), call.viewer(Layer::new(1, u8::MAX)));
    call.run(40);
    let got = call.got(capped);
    assert_whole(&got);
    assert_eq!(highest(&got).0, 0, "not a packet of another layer, key frames included");
    assert_eq!(highest(&call.got(middle)).0, 1);
    call.limit(capped, Layer::MAX);
    call.run(40);
    assert_eq!(highest(&call.got(capped)).0, 2);
}

#[test]
fn frame_numbers_go_on_over_a_change_of_encodings() {
    let mut call = Layered::new(Codec::Av1, false);
    call.answers = false;
    let edit = |offer: String| {
        let extension = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
        let offer = offer.replace("VP8/90000", "AV1/90000");
        offer + &format!("a=extmap:11 {extension}\r\na=rid:l send\r\na=rid:h send\r\na=simulcast:send l;h\r\n")
    };
    call.world = World::new();
    (call.publisher, _) = call.world.publisher_within(None, edit);
    let viewer = call.viewer(Layer::new(0, 7));
    let rids = |packet: &[u8], ssrc: u8, rid: u8| {
        let mut packet = packet.to_vec();
        packet.splice(16..16, [5, 1, rid, 0]);
        (packet[11], packet[15]) = (ssrc, packet[15] + 1);
        packet
    };
    let send = |call: &mut Layered, ssrc: u8, rid: u8| {
        for packet in call.next() {
            call.world.send(call.publisher, &rids(&packet, ssrc, rid));
        }
        call.world.advance(Duration::from_millis(33));
    };
    (0..5).for_each(|_| send(&mut call, 1, b'l'));
    call.limit(viewer, Layer::MAX);
    // The other encoding counts from elsewhere, backwards for who takes it for the same.
    (call.frame, call.sequence, call.picture) = (call.frame.wrapping_sub(900), 77, 0);
    (0..5).for_each(|_| send(&mut call, 2, b'h'));
    let got = call.got(viewer);
    assert_whole(&got);
    let mut known = Descriptors::default();
    let read = got.iter().map(|one| known.read(one.described.as_ref().unwrap(), false).unwrap());
    let numbers: Vec<_> = read.filter(|one| one.begins).map(|one| one.number).collect();
    assert_eq!(numbers.len(), 30);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
}

#[test]
fn descriptors_are_offered_to_viewers_of_those_who_send_them() {
    for codec in [Codec::Vp9, Codec::Av1] {
        let mut call = Layered::new(codec, false);
        let transport = call.world.engine.create_subscribe_transport(call.world.now, call.world.router).unwrap();
        let viewer = call.world.add_client(transport);
        call.world.subscribe(viewer, "camera", Limits::default());
        let offer = call.world.take_offer(viewer);
        assert_eq!(offer.contains("dependency-descriptor"), codec == Codec::Av1);
    }
}

#[test]
fn a_viewer_with_a_bitrate_gets_the_layers_that_have_no_more() {
    let mut call = Layered::new(Codec::Vp9, false);
    let viewer = call.viewer(Layer::MAX);
    call.run(70);
    call.got(viewer);
    // Some 60 and 180 kbit/s have the lower layers, 390 all of them, half of that with every second picture.
    let transport = call.world.clients[viewer].transport;
    let limits = Limits { max_bitrate: Some(lockgate_model::Bitrate(190_000)), ..Limits::default() };
    call.world.engine.set_limits(call.world.now, transport, &track("camera"), limits);
    call.run(10);
    call.got(viewer);
    call.run(30);
    let got = call.got(viewer);
    assert_whole(&got);
    assert_eq!(highest(&got), (1, 2));
}

#[test]
fn the_reader_of_the_tests_own_packets_agrees() {
    let mut call = Layered::new(Codec::Vp9, false);
    let packet = &call.next()[3];
    let header = Header::parse(packet).unwrap();
    let arrived = lockgate_rtp::Arrived {
        codec: Codec::Vp9,
        payload: &packet[header.payload(packet).unwrap()],
        descriptor: None,
        marker: header.marker,
        late: false,
    };
    let layer = LayerReader::default().read(arrived).0.layer;
    assert_eq!((layer.spatial, layer.begins, layer.ends), (1, false, true));
}
