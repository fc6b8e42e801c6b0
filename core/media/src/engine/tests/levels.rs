//! How loud publishers are reaches the owner of the room, and every viewer.

use super::*;
use lockgate_model::Heard;

/// A publisher of one Opus track that tells its level by extension 9, connected.
fn microphone(world: &mut World, name: &str) -> usize {
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let offer = publish_offer(&world.clients[client].peer.fingerprint(), &[name], &[]);
    let sound = offer
        .replace("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=audio 9 UDP/TLS/RTP/SAVPF 96")
        .replace("VP8/90000", "opus/48000/2")
        .replace(
            "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
            "a=extmap:9 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
        );
    let answer = world.engine.accept_offer(world.now, transport, &sound, &admitted(&[name])).unwrap();
    assert!(answer.sdp.contains("a=extmap:9 urn:ietf:params:rtp-hdrext:ssrc-audio-level"), "{}", answer.sdp);
    world.connect(client, &answer.sdp);
    client
}

/// A frame of sound that is so many dB below the loudest.
fn sound(ssrc: u32, sequence: u16, below: u8) -> Vec<u8> {
    let mut packet = vec![0x90, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 960).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x40, b'0', 0x90, 0x80 | below, 1, 2, 3]);
    packet
}

fn told(world: &mut World) -> Vec<Vec<Heard>> {
    let (levels, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut world.events).into_iter().partition(|event| matches!(event, RouterEvent::Levels { .. }));
    world.events = others;
    let heard = |event| if let RouterEvent::Levels { heard, .. } = event { heard } else { Vec::new() };
    levels.into_iter().map(heard).collect()
}

fn levels(heard: &Heard) -> Vec<i8> {
    heard.frames.as_slice().iter().map(|frame| frame.dbov()).collect()
}

#[test]
fn what_is_heard_is_told_in_batches_and_silence_is_not() {
    let mut world = World::new();
    let (loud, silent) = (microphone(&mut world, "loud"), microphone(&mut world, "silent"));
    for sequence in 1..=10 {
        world.send(loud, &sound(9, sequence, 20 + sequence as u8));
        world.send(silent, &sound(9, sequence, 127));
        world.advance(Duration::from_millis(20));
    }
    let told = told(&mut world);
    let heard: Vec<_> = told.iter().flatten().map(|heard| (heard.track.as_str(), levels(heard))).collect();
    assert_eq!(heard, [("loud", vec![-21, -22, -23, -24, -25]), ("loud", vec![-26, -27, -28, -29, -30])]);
    (0..20).for_each(|_| world.advance(Duration::from_millis(100)));
    assert_eq!(self::told(&mut world), vec![Vec::new(); 10], "a second of silence, and no more");
    assert!(world.engine.next_timeout().is_none_or(|next| next > world.now), "nothing is due that does not come");
}

#[test]
fn a_muted_track_is_not_heard() {
    let mut world = World::new();
    let publisher = microphone(&mut world, "a");
    world.send(publisher, &sound(9, 1, 20));
    world.engine.set_muted(world.router, &track("a"), true);
    world.send(publisher, &sound(9, 2, 20));
    world.advance(Duration::from_millis(200));
    assert!(told(&mut world).is_empty());
}

#[test]
fn a_viewer_gets_the_level_under_its_own_id_and_nothing_while_it_is_paused() {
    let mut world = World::new();
    let publisher = microphone(&mut world, "a");
    let viewer = world.viewer("a", Limits::default());
    let levels = |world: &mut World| -> Vec<_> {
        let packets = std::mem::take(&mut world.clients[viewer].peer.rtp);
        let level = |packet: &Vec<u8>| {
            let header = Header::parse(packet).unwrap();
            let level = header.extensions(packet).find(|one| one.id == 2).map(|one| one.value[0] & 0x7f);
            (header.sequence, level)
        };
        packets.iter().map(level).collect()
    };
    world.send(publisher, &sound(9, 1, 33));
    let [(first, Some(33))] = levels(&mut world)[..] else { panic!() };
    let transport = world.clients[viewer].transport;
    world.engine.set_limits(world.now, transport, &track("a"), Limits { paused: true, ..Limits::default() });
    (2..50).for_each(|sequence| world.send(publisher, &sound(9, sequence, 40)));
    assert!(levels(&mut world).is_empty());
    assert_eq!(world.dropped(DropReason::Paused), 48);
    world.engine.set_limits(world.now, transport, &track("a"), Limits::default());
    world.send(publisher, &sound(9, 50, 34));
    assert_eq!(levels(&mut world), [(first + 1, Some(34))], "its numbers have no hole");
}
