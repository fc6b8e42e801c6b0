//! Viewers that offer by themselves: tracks take their lines, and another one goes on where one ended.

use super::*;

/// What a viewer of WHEP offers: so many lines for VP8, or for another codec.
fn offer(fingerprint: &str, lines: usize, ufrag: &str, codec: &str) -> String {
    let names: Vec<_> = (0..lines).map(|_| "none").collect();
    let offer = publish_offer(fingerprint, &names, &[]).replace("a=sendonly", "a=recvonly");
    let offer = offer.replace("a=msid:s none\r\n", "").replace("VP8", codec);
    offer.replace("a=ice-ufrag:peer", &format!("a=ice-ufrag:{ufrag}"))
}

/// A viewer that offered so many lines and watches a track; connected. Its answer comes back.
fn viewer(world: &mut World, lines: usize) -> (usize, String) {
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let offer = offer(&world.clients[client].peer.fingerprint(), lines, "peer", "VP8");
    world.engine.answer_receiver(world.now, transport, &offer).unwrap();
    world.subscribe(client, "camera", Limits::default());
    let answer = world.engine.answer_receiver(world.now, transport, &offer).unwrap();
    assert_eq!(answer.tracks, [("0".to_owned(), track("camera"))]);
    world.connect(client, &answer.sdp);
    (client, answer.sdp)
}

fn ssrc(answer: &str, line: usize) -> u32 {
    let section = answer.split("m=video").nth(line + 1).unwrap();
    section.split("a=ssrc:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn placed(world: &World) -> Vec<Vec<(String, TrackId)>> {
    let placed = |event: &RouterEvent| match event {
        RouterEvent::Placed { tracks, .. } => Some(tracks.clone()),
        RouterEvent::Offer { .. } => panic!("whoever offers is offered nothing"),
        _ => None,
    };
    world.events.iter().filter_map(placed).collect()
}

#[test]
fn a_track_is_sent_on_the_line_that_was_offered_for_it() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let (viewer, answer) = viewer(&mut world, 2);
    assert!(answer.contains("a=setup:passive") && !answer.contains("a=recvonly"), "{answer}");
    assert_eq!(answer.matches("a=sendonly").count(), 2, "the other line is for what comes later: {answer}");
    assert!(answer.contains("a=msid:42 camera\r\n") && answer.contains("a=fmtp:97 apt=96"), "{answer}");
    world.send(publisher, &Picture::new(9, 1).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    let got = world.received(viewer);
    assert_eq!((got[0].0.ssrc, got[0].0.payload_type), (ssrc(&answer, 0), 96));
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[0].0.sequence])));
    assert_eq!(world.received(viewer)[0].0.payload_type, 97, "retransmissions have the viewer's type");
}

#[test]
fn a_viewer_that_takes_descriptors_is_promised_those_of_what_has_them() {
    let descriptors =
        "a=extmap:11 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n";
    let mut world = World::new();
    world.publisher_within(None, |offer| offer + descriptors);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let offer = offer(&world.clients[client].peer.fingerprint(), 1, "peer", "VP8") + descriptors;
    // The door asks once for the lines, before there is anything on them.
    let empty = world.engine.answer_receiver(world.now, transport, &offer).unwrap();
    assert!(empty.tracks.is_empty());
    world.subscribe(client, "camera", Limits::default());
    let answer = world.engine.answer_receiver(world.now, transport, &offer).unwrap();
    assert!(answer.sdp.contains("a=extmap:11 "), "{}", answer.sdp);
}

#[test]
fn another_track_goes_on_where_one_ended() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let (viewer, answer) = viewer(&mut world, 1);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.send(publisher, &Picture::new(9, 2).bytes());
    let before = world.received(viewer);
    let transport = world.clients[publisher].transport;
    world.engine.close_transport(world.now, transport);
    world.pump();
    assert_eq!(placed(&world).last(), Some(&Vec::new()));
    let second = world.publisher("again", &[]);
    world.subscribe(viewer, "again", Limits::default());
    assert_eq!(placed(&world).last(), Some(&vec![("0".to_owned(), track("again"))]));
    world.send(second, &Picture::new(70, 499).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(second), 1);
    world.send(second, &Picture::new(70, 500).key().bytes());
    let after = world.received(viewer);
    let (last, next) = (&before[1].0, &after[0].0);
    assert_eq!((next.ssrc, next.sequence), (ssrc(&answer, 0), last.sequence.wrapping_add(1)));
    assert!(next.timestamp.wrapping_sub(last.timestamp) < 90_000, "the picture's time goes on");
}

#[test]
fn what_finds_no_line_is_counted_and_told_like_what_does() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    world.publisher("screen", &[]);
    let (viewer, _) = viewer(&mut world, 1);
    world.subscribe(viewer, "screen", Limits::default());
    assert_eq!(world.dropped(DropReason::NoLine), 1);
    assert_eq!(placed(&world).last(), Some(&vec![("0".to_owned(), track("camera"))]));
    world.engine.unsubscribe(world.now, world.clients[viewer].transport, &track("camera"), 42);
    world.subscribe(viewer, "screen", Limits::default());
    assert_eq!(placed(&world).last(), Some(&vec![("0".to_owned(), track("screen"))]));
}

#[test]
fn other_credentials_restart_ice_and_other_lines_are_refused() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let (viewer, before) = viewer(&mut world, 1);
    let (transport, fingerprint) = (world.clients[viewer].transport, world.clients[viewer].peer.fingerprint());
    let ufrag = |sdp: &str| sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap().to_owned();
    let answer = |world: &mut World, sdp: &str| world.engine.answer_receiver(world.now, transport, sdp);
    let same = answer(&mut world, &offer(&fingerprint, 1, "peer", "VP8")).unwrap();
    assert_eq!(ufrag(&same.sdp), ufrag(&before), "nothing has changed");
    let restarted = answer(&mut world, &offer(&fingerprint, 1, "other", "VP8")).unwrap();
    assert_ne!(ufrag(&restarted.sdp), ufrag(&before));
    assert_eq!(answer(&mut world, &offer(&fingerprint, 2, "third", "VP8")).unwrap_err(), NegotiateError::OtherOffer);
    let stranger = Peer::default().fingerprint();
    assert_eq!(answer(&mut world, &offer(&stranger, 1, "third", "VP8")).unwrap_err(), NegotiateError::OtherCertificate);
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    assert_eq!(world.received(viewer).len(), 1, "media goes on");
}

#[test]
fn a_line_without_a_codec_of_the_track_stays_empty_and_an_offer_without_any_is_refused() {
    let mut world = World::new();
    world.publisher("camera", &[]);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let fingerprint = world.clients[client].peer.fingerprint();
    let refused = world.engine.answer_receiver(world.now, transport, &offer(&fingerprint, 1, "peer", "H263"));
    assert_eq!(refused.unwrap_err(), NegotiateError::NothingReceived);
    let other = offer(&fingerprint, 1, "peer", "VP9");
    world.engine.answer_receiver(world.now, transport, &other).unwrap();
    world.subscribe(client, "camera", Limits::default());
    assert_eq!(world.engine.answer_receiver(world.now, transport, &other).unwrap().tracks, []);
}
