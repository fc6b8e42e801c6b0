//! Sound over a link that loses packets.

use lockgate_rtp::ReportBlock;

use super::publishers::sound;
use super::*;

/// A microphone and somebody who listens to it; `edit` changes what is answered.
fn call(edit: impl FnOnce(String) -> String) -> (World, usize, usize) {
    let mut world = World::new();
    let publisher = world.sound_publisher(&["microphone"]);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let viewer = world.add_client(transport);
    world.subscribe(viewer, "microphone", Limits::default());
    let offer = world.take_offer(viewer);
    let answer = edit(answer_to(&offer, &world.clients[viewer].peer.fingerprint()));
    world.take_answer(transport, None, &answer).unwrap();
    world.connect(viewer, &offer);
    (world, publisher, viewer)
}

/// Fifty packets a second for some seconds, of which the viewer says that so many 256ths are lost.
fn speak(
    world: &mut World,
    (publisher, viewer): (usize, usize),
    sequences: std::ops::Range<u16>,
    lost: u8,
) -> Vec<(Header, Vec<u8>)> {
    let mut got = Vec::new();
    for sequence in sequences {
        let mut packet = sound(7, sequence, Some(b'0'));
        packet.push(sequence as u8);
        world.send(publisher, &packet);
        got.extend(world.received(viewer));
        if sequence % 25 == 0
            && let Some((header, _)) = got.last()
        {
            let (ssrc, highest) = (header.ssrc, header.sequence.into());
            let block = ReportBlock { ssrc, fraction_lost: lost, lost: 0, highest, jitter: 0, last_sr: 0, delay: 0 };
            world.send_rtcp(viewer, &written(|out| write::receiver_report(out, 1, &[block])));
        }
        world.advance(Duration::from_millis(20));
        if sequence % 50 == 0 {
            world.keep_alive();
        }
    }
    got
}

#[test]
fn a_listener_who_loses_packets_gets_each_twice_and_one_who_does_not_once() {
    let (mut world, publisher, viewer) = call(|answer| answer);
    let ends = (publisher, viewer);
    let plain = speak(&mut world, ends, 1..200, 0);
    assert!(
        plain.len() > 150 && plain.iter().all(|(header, payload)| header.payload_type == 96 && payload.len() == 41)
    );
    speak(&mut world, ends, 200..400, 13);
    let twice = speak(&mut world, ends, 400..500, 13);
    assert_eq!(twice.len(), 100);
    for (place, (header, payload)) in twice.iter().enumerate() {
        let (sequence, behind) = (400 + place as u16, &payload[5..]);
        assert_eq!(header.payload_type, 97);
        // One more follows, of type 96, 960 ticks before, 41 bytes long; then the last, of type 96 (RFC 2198 §3).
        assert_eq!(payload[..5], [0x80 | 96, (960 >> 6) as u8, ((960 & 0x3f) << 2) as u8, 41, 96]);
        assert_eq!((behind.len(), behind[40], behind[81]), (82, (sequence - 1) as u8, sequence as u8));
    }
    assert!(twice.windows(2).all(|two| two[1].0.sequence == two[0].0.sequence.wrapping_add(1)));
    speak(&mut world, ends, 500..1700, 0);
    let plain = speak(&mut world, ends, 1700..1720, 0);
    assert!(plain.iter().all(|(header, _)| header.payload_type == 96), "the link is good again");
}

#[test]
fn who_does_not_understand_redundancy_gets_none() {
    let (mut world, publisher, viewer) = call(|answer| answer.replace("a=fmtp:97 96/96\r\n", ""));
    let got = speak(&mut world, (publisher, viewer), 1..400, 26);
    assert!(got.len() > 350 && got.iter().all(|(header, payload)| header.payload_type == 96 && payload.len() == 41));
}
