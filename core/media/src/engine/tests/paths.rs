//! By which ways a client is reached, and when it is gone.

use super::*;

/// Whose connections ended because nothing was heard of them.
fn closed(world: &World) -> Vec<TransportId> {
    let silent = |event: &RouterEvent| match event {
        RouterEvent::Closed { transport, reason: CloseReason::Silent } => Some(*transport),
        _ => None,
    };
    world.events.iter().filter_map(silent).collect()
}

#[test]
fn who_sends_media_by_the_path_that_is_sent_by_needs_no_checks() {
    let mut world = World::new();
    let (talking, elsewhere) = (world.publisher("camera", &[]), world.publisher("screen", &[]));
    let (transport, ended) = (world.clients[talking].transport, world.clients[elsewhere].transport);
    let other = Path { socket: 0, remote: "192.0.2.9:1000".parse().unwrap() };
    let (ufrag, password) = world.clients[elsewhere].server.clone();
    world.engine.handle_datagram(world.now, other, &mut check(&ufrag, &password, false));
    world.clients[elsewhere].path = other;
    for second in 1..=40 {
        world.advance(Duration::from_secs(1));
        world.send(talking, &Picture::new(9, second).key().bytes());
        world.send(elsewhere, &Picture::new(10, second).key().bytes());
    }
    assert_eq!(closed(&world), [ended]);
    // What somebody else has made is no sign of it, wherever it seems to come from.
    let path = world.clients[talking].path;
    for _ in 0..20 {
        world.advance(Duration::from_secs(1));
        world.engine.handle_datagram(world.now, path, &mut [128; 40]);
    }
    assert_eq!(closed(&world), [ended, transport]);
}

#[test]
fn a_viewer_that_sends_rtcp_needs_no_checks() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    for second in 2..=40 {
        world.advance(Duration::from_secs(1));
        world.send(publisher, &Picture::new(9, second).bytes());
        world.send_rtcp(viewer, &written(|out| write::pli(out, 1, 7)));
    }
    assert!(closed(&world).is_empty());
}

#[test]
fn a_client_that_comes_from_another_address_is_answered_and_sent_to_there() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let seen = |world: &World| world.clients[viewer].peer.rtp.len();
    for (number, address) in (2..).zip(["192.0.2.9:1000", "[2001:db8::9]:1000", "192.0.2.9:1001"]) {
        let path = Path { socket: 0, remote: address.parse().unwrap() };
        let (ufrag, password) = world.clients[viewer].server.clone();
        world.engine.handle_datagram(world.now, path, &mut check(&ufrag, &password, true));
        world.clients[viewer].path = path;
        let before = seen(&world);
        world.send(publisher, &Picture::new(9, number).bytes());
        assert!(seen(&world) > before, "{address}");
    }
}

#[test]
fn a_peer_that_falls_silent_is_closed_and_forgotten() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let transport = world.clients[publisher].transport;
    for _ in 0..20 {
        world.advance(Duration::from_secs(1));
    }
    assert!(world.events.contains(&RouterEvent::Closed { transport, reason: CloseReason::Silent }));
    let counters = world.engine.counters();
    assert_eq!((counters.transports, counters.tracks), (0, 0));
    let path = world.clients[publisher].path;
    world.engine.handle_datagram(world.now, path, &mut [128; 40]);
    assert_eq!(world.dropped(DropReason::Stray), 1);
}

#[test]
fn a_stream_that_ends_takes_its_path_along_but_not_the_client_which_goes_on_by_the_next_one() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let seen = |world: &World| world.clients[viewer].peer.rtp.len();
    let (before, first) = (seen(&world), world.clients[viewer].path);
    assert!(before > 0 && world.engine.has_path(&first));

    world.engine.forget_path(first);
    assert!(!world.engine.has_path(&first));
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    assert_eq!((seen(&world), world.engine.counters().transports), (before, 2), "it is there, and not reached");
    world.engine.handle_datagram(world.now, first, &mut [128; 40]);
    assert_eq!(world.dropped(DropReason::Stray), 1, "what comes by the path is nobody's");

    // The same addresses: only the socket is another.
    let second = Path { socket: 64, ..first };
    let (ufrag, password) = world.clients[viewer].server.clone();
    world.engine.handle_datagram(world.now, second, &mut check(&ufrag, "another password", false));
    assert!(!world.engine.has_path(&second), "whoever does not know the password gets no path");
    world.engine.handle_datagram(world.now, second, &mut check(&ufrag, &password, false));
    world.clients[viewer].path = second;
    assert!(world.engine.has_path(&second) && !world.engine.has_path(&first));
    world.send(publisher, &Picture::new(9, 3).key().bytes());
    assert!(seen(&world) > before);
}
