//! What viewers see of a stream: pictures in order, one encoding that stays, and what they cannot be sent.

use super::*;

fn picture_ids(got: &[(Header, Vec<u8>)]) -> Vec<u16> {
    got.iter().map(|(_, payload)| u16::from_be_bytes([payload[2] & 0x7f, payload[3]])).collect()
}

#[test]
fn pictures_that_are_left_out_close_up_however_their_packets_are_ordered() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits { max_layer: Layer::new(0, 0), ..Limits::default() });
    let part = |sequence, picture, temporal| Picture { picture, ..Picture::new(9, sequence).temporal(temporal) };
    world.send(publisher, &part(1, 10, 0).key().bytes());
    for (sequence, picture, temporal) in [(2, 11, 1), (4, 12, 0), (5, 13, 1), (3, 11, 1), (6, 13, 1), (7, 14, 0)] {
        world.send(publisher, &part(sequence, picture, temporal).bytes());
    }
    assert_eq!(picture_ids(&world.received(viewer)), [10, 11, 12]);
}

#[test]
fn pictures_go_on_behind_the_newest_also_when_the_last_one_came_late() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 5).key().bytes());
    [8, 6].into_iter().for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    assert_eq!(picture_ids(&world.received(viewer)), [5, 8, 6]);
    let transport = world.clients[viewer].transport;
    for paused in [true, false] {
        let limits = Limits { paused, ..Limits::default() };
        world.engine.set_limits(world.now, transport, &track("camera"), limits);
    }
    world.send(publisher, &Picture::new(9, 20).key().bytes());
    assert_eq!(picture_ids(&world.received(viewer)), [9]);
}

#[test]
fn an_encoding_stays_while_its_rate_is_a_little_above_what_a_viewer_may_get() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer =
        world.viewer("camera", Limits { max_bitrate: Some(lockgate_model::Bitrate(85_000)), ..Limits::default() });
    let mut sequence = 0;
    // Ten packets a second of each, three seconds long: whether the viewer gets the large ones at the end.
    let mut gets_high = |world: &mut World, size: usize| {
        for _ in 0..30 {
            sequence += 1;
            for (ssrc, rid, size) in [(20, "low", 200), (30, "high", size)] {
                let mut packet = Picture::new(ssrc, sequence).rid(rid).key().bytes();
                packet.resize(size, 7);
                world.send(publisher, &packet);
            }
            world.advance(Duration::from_millis(100));
        }
        world.received(viewer).last().unwrap().1.len() > 500
    };
    assert!(gets_high(&mut world, 1000), "80 kbit/s");
    assert!(gets_high(&mut world, 1100), "88 kbit/s: it is not left for that");
    assert!(!gets_high(&mut world, 1450), "116 kbit/s");
    assert!(!gets_high(&mut world, 1100), "nor is it gone over to");
    assert!(gets_high(&mut world, 1000));
}

#[test]
fn the_engine_is_full_when_what_is_to_be_sent_should_be() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let (path, info) = (world.clients[publisher].path, SenderInfo { ssrc: 9, ntp: 1, rtp: 1, packets: 1, octets: 1 });
    let plain = written(|out| write::sender_report(out, info, "x"));
    let reports = (0..4000).take_while(|_| {
        let mut sealed = world.clients[publisher].peer.seal_rtcp(&plain);
        world.engine.handle_datagram(world.now, path, &mut sealed);
        !world.engine.is_full()
    });
    assert!(reports.count() < 4000, "each of them is handed on at once");
    world.pump();
    assert!(!world.engine.is_full());
}

#[test]
fn tracks_for_which_no_payload_type_is_left_are_not_sent_and_counted() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let publisher = world.add_client(transport);
    let names: Vec<_> = (0..40).map(|number| format!("camera-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut number = 0;
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &names, &[]);
    let lines = offer.lines().map(|line| {
        number += usize::from(line.starts_with("a=rtpmap:96"));
        if line == "a=fmtp:97 apt=96" {
            format!("{line}\r\na=fmtp:96 max-fr={number}\r\n")
        } else {
            format!("{line}\r\n")
        }
    });
    let offer: String = lines.collect();
    world.engine.accept_offer(world.now, transport, &offer, &admitted(&names)).unwrap();
    let viewer = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    for name in names {
        let wanted = Subscription { track: track(name), stream: "1".into(), cause: 1, limits: Limits::default() };
        world.engine.subscribe(world.now, viewer, wanted);
    }
    assert_eq!((world.engine.counters().subscriptions, world.dropped(DropReason::NoLine)), (30, 10));
}
