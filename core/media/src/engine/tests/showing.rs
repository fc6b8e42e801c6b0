//! What viewers are told of what they get: once for each change, with its reason.

use lockgate_model::{Bitrate, LayerReason};

use super::*;

/// What was told of a track since the last look: the spatial layer (none: nothing is sent), and why.
fn told(world: &mut World, name: &str) -> Vec<(Option<u8>, LayerReason)> {
    let is_of =
        |event: &RouterEvent| matches!(event, RouterEvent::LayerChanged { track, .. } if track.as_str() == name);
    let events = world.events.extract_if(.., |event| is_of(event));
    let told = events.filter_map(|event| match event {
        RouterEvent::LayerChanged { layer, reason, .. } => Some((layer.map(|layer| layer.spatial), reason)),
        _ => None,
    });
    told.collect()
}

/// A key frame of each encoding.
fn key_frames(world: &mut World, publisher: usize, sequence: u16) {
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, sequence).rid(rid).key().bytes());
    }
}

#[test]
fn a_viewer_is_told_of_each_change_once_and_why() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer = world.viewer("camera", Limits::default());
    let transport = world.clients[viewer].transport;
    let free = Limits::default();
    (1..4).for_each(|sequence| key_frames(&mut world, publisher, sequence));
    assert_eq!(told(&mut world, "camera").last(), Some(&(Some(1), LayerReason::Source)));
    let capped = Limits { max_layer: Layer::new(0, 7), ..free };
    let turns = [
        (capped, (Some(0), LayerReason::Requested)),
        (Limits { paused: true, ..capped }, (None, LayerReason::Requested)),
        (free, (Some(1), LayerReason::Requested)),
        (Limits { granted: Layer::new(0, 7), ..capped }, (Some(0), LayerReason::Policy)),
        (Limits { max_bitrate: Some(Bitrate(0)), ..free }, (None, LayerReason::Policy)),
        (free, (Some(1), LayerReason::Policy)),
    ];
    for (turn, (limits, expected)) in (1..).zip(turns) {
        // Rates are those of the last second.
        world.advance(Duration::from_secs(1));
        key_frames(&mut world, publisher, 10 * turn);
        world.advance(Duration::from_secs(1));
        world.events.clear();
        world.engine.set_limits(world.now, transport, &track("camera"), limits);
        (1..4).for_each(|more| key_frames(&mut world, publisher, 10 * turn + more));
        assert_eq!(told(&mut world, "camera"), [expected], "turn {turn}");
    }
}

#[test]
fn a_mute_and_a_publisher_that_falls_silent_are_told_apart() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.viewer("camera", Limits::default());
    (1..4).for_each(|sequence| key_frames(&mut world, publisher, sequence));
    told(&mut world, "camera");
    world.engine.set_muted(world.router, &track("camera"), true);
    key_frames(&mut world, publisher, 4);
    assert_eq!(told(&mut world, "camera"), [(None, LayerReason::Muted)]);
    world.engine.set_muted(world.router, &track("camera"), false);
    key_frames(&mut world, publisher, 5);
    assert_eq!(told(&mut world, "camera"), [(Some(1), LayerReason::Muted)]);
    for _ in 0..5 {
        world.advance(Duration::from_secs(1));
        world.keep_alive();
    }
    assert_eq!(told(&mut world, "camera"), [(None, LayerReason::Source)]);
    (6..8).for_each(|sequence| key_frames(&mut world, publisher, sequence));
    let back = told(&mut world, "camera");
    assert_eq!(back.last(), Some(&(Some(1), LayerReason::Source)), "{back:?}");
}

/// What a receiver without transport-wide feedback says it can take (draft-alvestrand-rmcat-remb-03 §2.2).
fn remb(bitrate: u32) -> Vec<u8> {
    let mut packet = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
    packet.extend_from_slice(b"REMB");
    packet.extend_from_slice(&(1 << 24 | 6 << 18 | bitrate >> 6).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet
}

#[test]
fn a_picture_that_a_link_has_no_room_for_is_paused_and_comes_back() {
    let mut world = World::new();
    let publishers = [world.publisher("camera", &[]), world.publisher("screen", &[])];
    let viewer = world.viewer("camera", Limits::default());
    world.subscribe(viewer, "screen", Limits::default());
    let offer = world.take_offer(viewer);
    world.answer(viewer, &offer);
    let mut sequence = 0;
    let mut seconds = |world: &mut World, seconds: u32, bitrate: u32| {
        for step in 0..seconds * 25 {
            sequence += 1;
            for (publisher, ssrc) in publishers.iter().zip([20, 30]) {
                let mut packet = Picture::new(ssrc, sequence).key().bytes();
                packet.resize(1000, 7);
                world.send(*publisher, &packet);
            }
            if step % 5 == 0 {
                world.send_rtcp(viewer, &remb(bitrate));
            }
            world.advance(Duration::from_millis(40));
        }
        world.keep_alive();
    };
    seconds(&mut world, 3, 5_000_000);
    assert_eq!(told(&mut world, "screen"), [(Some(0), LayerReason::Source)]);
    // Each has 200 kbit/s.
    seconds(&mut world, 3, 300_000);
    assert_eq!(told(&mut world, "screen"), [(None, LayerReason::Bandwidth)]);
    seconds(&mut world, 3, 5_000_000);
    assert_eq!(told(&mut world, "screen"), [(Some(0), LayerReason::Bandwidth)]);
    assert_eq!(told(&mut world, "camera"), [(Some(0), LayerReason::Source)], "the other one was not touched");
}
