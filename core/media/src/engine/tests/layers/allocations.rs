//! What a publisher says of its own encodings: the video-layers-allocation extension.

use super::*;

/// A publisher of two encodings that tells what it spends on each, and a viewer.
fn allocating() -> (World, usize, usize) {
    let mut world = World::new();
    let edit = |offer: String| {
        let allocation = "a=extmap:9 http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00\r\n";
        offer + allocation + "a=rid:low send\r\na=rid:high send\r\na=simulcast:send low;high\r\n"
    };
    let (publisher, answer) = world.publisher_within(None, edit);
    assert!(answer.contains("a=extmap:9 http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"));
    let viewer = world.viewer("camera", Limits::default());
    (world, publisher, viewer)
}

/// A picture of the lower (20) or the higher encoding (30) that says what is spent on both.
fn telling(ssrc: u32, sequence: u16, key: bool, told: &[u8]) -> Vec<u8> {
    let picture = Picture::new(ssrc, sequence).rid(if ssrc == 20 { "low" } else { "high" });
    let mut packet = if key { picture.key() } else { picture }.bytes();
    let element = [&[0x90 | (told.len() as u8 - 1)], told].concat();
    let filled = element.len().next_multiple_of(4);
    let block = Header::parse(&packet).unwrap().len;
    packet.splice(block..block, element.into_iter().chain(std::iter::repeat(0)).take(filled));
    packet[15] += (filled / 4) as u8;
    packet
}

/// Both streams have a layer; this is on the one of them.
fn both(stream: u8) -> [u8; 5] {
    [stream << 6 | 0x11, 0, 100, 0x90, 0x03]
}

/// The first stream of two has a layer, the second none.
const LOWER_ONLY: [u8; 4] = [0x10, 0x10, 0, 100];

#[test]
fn an_encoding_that_its_publisher_turns_off_is_left_at_once() {
    let (mut world, publisher, viewer) = allocating();
    world.send(publisher, &telling(20, 1, true, &both(0)));
    world.send(publisher, &telling(30, 1, true, &both(1)));
    world.received(viewer);
    world.send(publisher, &telling(30, 2, true, &both(1)));
    assert_eq!(world.received(viewer).len(), 1, "the higher one");
    world.key_frame_requests(publisher);
    world.send(publisher, &telling(20, 3, false, &LOWER_ONLY));
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1);
    world.send(publisher, &telling(20, 4, true, &LOWER_ONLY));
    assert_eq!(world.received(viewer).len(), 1, "not three seconds later");
}

#[test]
fn what_a_publisher_says_once_and_soon_is_followed_a_little_later() {
    let (mut world, publisher, viewer) = allocating();
    world.send(publisher, &telling(30, 1, true, &both(1)));
    world.send(publisher, &telling(20, 1, true, &LOWER_ONLY));
    world.advance(Duration::from_millis(400));
    world.send(publisher, &telling(30, 2, true, &both(1)));
    world.received(viewer);
    world.advance(Duration::from_millis(100));
    world.send(publisher, &telling(20, 2, false, &LOWER_ONLY));
    world.key_frame_requests(publisher);
    world.advance(Duration::from_millis(250));
    assert!(world.key_frame_requests(publisher) > 0, "for who is to go over to the lower one");
    world.send(publisher, &Picture::new(20, 3).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 1, "not three seconds later");
}

#[test]
fn an_encoding_that_is_turned_off_and_on_with_every_packet_moves_nobody_as_often() {
    let (mut world, publisher, viewer) = allocating();
    world.send(publisher, &telling(20, 1, true, &both(0)));
    world.send(publisher, &telling(30, 1, true, &both(1)));
    world.events.clear();
    for step in 2..202 {
        let told = if step % 2 == 0 { LOWER_ONLY.to_vec() } else { both(0).to_vec() };
        world.send(publisher, &telling(20, step, true, &told));
        world.send(publisher, &telling(30, step, true, &both(1)));
        world.advance(Duration::from_millis(10));
    }
    let told = world.events.iter().filter(|event| matches!(event, RouterEvent::LayerChanged { .. })).count();
    assert!((1..=16).contains(&told), "{told} in two seconds");
    assert!(world.received(viewer).len() > 150, "and there is always a picture");
}

#[test]
fn of_an_encoding_that_limits_forbid_nothing_is_sent_again() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    let viewer = world.viewer("camera", Limits::default());
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, 1).rid(rid).key().bytes());
    }
    world.received(viewer);
    world.send(publisher, &Picture::new(30, 2).rid("high").key().bytes());
    let got = world.received(viewer).pop().unwrap().0;
    let mut again = |most| {
        let (transport, limits) = (world.clients[viewer].transport, Limits { max_layer: most, ..Limits::default() });
        world.engine.set_limits(world.now, transport, &track("camera"), limits);
        world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got.ssrc, &[got.sequence])));
        world.received(viewer).pop().unwrap().1.len()
    };
    assert!(again(Layer::MAX) > 2);
    assert_eq!(again(Layer::new(0, 7)), 2, "its number, and that it is nothing");
}
