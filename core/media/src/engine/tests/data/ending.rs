//! What becomes of messages when something ends.

use super::*;

#[test]
fn what_was_said_last_reaches_viewers_before_the_channel_ends() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    let words: Vec<_> = (0..4).map(|_| binary(100_000)).chain([text("bye")]).collect();
    words.iter().for_each(|message| send(&mut world, ann, 0, message.clone()));
    let now = world.now;
    world.clients[ann].peer.data.as_mut().unwrap().close(now, 0);
    run(&mut world, 500);
    let data = world.clients[bob].peer.data.as_mut().unwrap();
    assert!(data.messages.iter().map(|(_, message)| message).eq(&words));
    assert_eq!((data.closed.len(), world.engine.counters().data_channels), (1, 0));
    assert!(world.events.iter().any(|event| matches!(event, RouterEvent::ChannelClosed { stream: 0, .. })));
}

#[test]
fn what_was_taken_away_is_not_delivered_any_more() {
    for (way, delivered) in [("closed", 3), ("unpublished", 0), ("refused", 0), ("gone", 0)] {
        let mut world = World::new();
        let ann = publisher(&mut world);
        publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
        let bob = late_viewer(&mut world, &["chat"]);
        (0..3).for_each(|_| send(&mut world, ann, 0, binary(10_000)));
        assert!(waiting(&mut world, bob) > 30_000, "{way}");
        let (now, transport) = (world.now, world.clients[ann].transport);
        match way {
            "closed" => world.clients[ann].peer.data.as_mut().unwrap().close(now, 0),
            "unpublished" => world.engine.unpublish(now, transport, &track("chat")),
            "refused" => world.engine.refuse_channel(now, transport, 0),
            _ => {
                world.engine.close_transport(now, transport);
                world.clients[ann].peer.data = None;
            }
        }
        run(&mut world, 20);
        world.clients[bob].peer.start_data(world.now);
        run(&mut world, 1_000);
        assert_eq!(world.clients[bob].peer.data.as_ref().unwrap().messages.len(), delivered, "{way}");
        assert_eq!(waiting(&mut world, bob), 0, "{way}");
    }
}

/// What takes its last messages from a viewer, or leaves them to it.
type Discard<'a> = &'a dyn Fn(&mut Engine, Instant, TransportId);

#[test]
fn what_was_said_last_is_for_those_only_who_may_still_have_it() {
    let named = |name| Some(BTreeSet::from([track(name)]));
    let ways: [(&str, Discard<'_>, usize); 7] = [
        ("nothing more is expected", &|engine, _, viewer| engine.expect_no_more(viewer, &track("chat")), 3),
        ("unsubscribed", &|engine, now, viewer| engine.unsubscribe(now, viewer, &track("chat"), 42), 3),
        ("all", &|engine, now, viewer| engine.discard_last(now, viewer, None, None), 0),
        ("its publisher's", &|engine, now, viewer| engine.discard_last(now, viewer, Some(42), None), 0),
        ("another's", &|engine, now, viewer| engine.discard_last(now, viewer, Some(7), None), 3),
        ("by name", &|engine, now, viewer| engine.discard_last(now, viewer, Some(42), named("chat").as_ref()), 0),
        ("another name", &|engine, now, viewer| engine.discard_last(now, viewer, None, named("camera").as_ref()), 3),
    ];
    for (way, discard, delivered) in ways {
        let mut world = World::new();
        let ann = publisher(&mut world);
        publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
        let bob = late_viewer(&mut world, &["chat"]);
        (0..3).for_each(|_| send(&mut world, ann, 0, binary(10_000)));
        let (now, viewer) = (world.now, world.clients[bob].transport);
        world.clients[ann].peer.data.as_mut().unwrap().close(now, 0);
        run(&mut world, 20);
        assert!(waiting(&mut world, bob) > 30_000, "{way}");
        discard(&mut world.engine, world.now, viewer);
        world.clients[bob].peer.start_data(world.now);
        run(&mut world, 1_000);
        assert_eq!(world.clients[bob].peer.data.as_ref().unwrap().messages.len(), delivered, "{way}");
        assert_eq!(waiting(&mut world, bob), 0, "{way}");
    }
}

#[test]
fn nothing_waits_for_a_viewer_whose_association_ended_before_the_last_messages_were_sent() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    let path = std::mem::replace(&mut world.clients[bob].path.remote, SocketAddr::from(([127, 0, 0, 1], 1)));
    (0..4).for_each(|_| send(&mut world, ann, 0, binary(50_000)));
    let now = world.now;
    world.clients[ann].peer.data.as_mut().unwrap().close(now, 0);
    run(&mut world, 20);
    assert!(waiting(&mut world, bob) > 50_000);
    world.clients[bob].path.remote = path;
    world.clients[bob].peer.data.as_mut().unwrap().abort();
    run(&mut world, 1);
    assert_eq!(waiting(&mut world, bob), 0);
}

#[test]
fn messages_grow_too_old_also_after_the_end_of_their_channel() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("cursor", true, Reliability::Lifetime(100)));
    let bob = late_viewer(&mut world, &["cursor"]);
    send(&mut world, ann, 0, text("here"));
    let now = world.now;
    world.clients[ann].peer.data.as_mut().unwrap().close(now, 0);
    run(&mut world, 150);
    world.clients[bob].peer.start_data(world.now);
    run(&mut world, 100);
    assert_eq!((world.clients[bob].peer.data.as_ref().unwrap().messages.len(), waiting(&mut world, bob)), (0, 0));
    assert_eq!(world.dropped(DropReason::DataLate), 1);
}
