//! By which ways a client is reached, and when it is gone.

use super::*;

#[test]
fn media_is_no_consent_and_checks_are() {
    let mut world = World::new();
    let (silent, talking) = (world.publisher("camera", &[]), world.publisher("screen", &[]));
    let transport = world.clients[silent].transport;
    let (ufrag, password) = world.clients[talking].server.clone();
    for second in 1..=40 {
        world.advance(Duration::from_secs(1));
        let path = world.clients[talking].path;
        world.engine.handle_datagram(world.now, path, &mut check(&ufrag, &password, true));
        world.send(silent, &Picture::new(9, second).key().bytes());
    }
    let closed: Vec<_> = world.events.iter().filter(|event| matches!(event, RouterEvent::Closed { .. })).collect();
    assert_eq!(closed, [&RouterEvent::Closed { transport, reason: CloseReason::Silent }]);
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
