//! What ends, comes back, or goes over to another engine.

use super::*;

#[test]
fn a_track_that_ends_at_home_ends_for_viewers_everywhere() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    pair.home.engine.close_transport(pair.home.now, pair.home.clients[publisher].transport);
    pair.carry();
    assert!(pair.away.take_offer(viewer).contains("a=inactive"));
    assert_eq!(pair.away.engine.counters().subscriptions, 0);
}

#[test]
fn the_end_of_a_pipe_ends_what_came_out_of_it_and_nothing_else() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let (here, there) = (pair.home.viewer("camera", Limits::default()), pair.viewer(Limits::default()));
    pair.away.engine.close_pipe(pair.away.now, pair.ends[1]);
    pair.home.engine.close_pipe(pair.home.now, pair.ends[0]);
    pair.carry();
    assert!(pair.away.take_offer(there).contains("a=inactive"));
    pair.send(publisher, &Picture::new(9, 1).key());
    assert_eq!(pair.home.received(here).len(), 1);
    assert_eq!((pair.home.engine.counters().pipes, pair.away.engine.counters().pipes), (0, 0));
}

#[test]
fn a_viewer_may_be_subscribed_before_the_track_is_announced_and_only_until_it_is_told_otherwise() {
    let mut pair = Pair::new();
    let transport = pair.away.engine.create_subscribe_transport(pair.away.now, pair.away.router).unwrap();
    let viewer = pair.away.add_client(transport);
    pair.away.subscribe(viewer, "camera", Limits::default());
    let publisher = pair.publisher(&[]);
    let offer = pair.away.take_offer(viewer);
    assert_eq!(pair.away.clients[viewer].tracks, ["camera"]);
    pair.away.answer(viewer, &offer);
    pair.away.connect(viewer, &offer);
    pair.home.now = pair.away.now;
    pair.carry();
    pair.send(publisher, &Picture::new(9, 1).key());
    assert_eq!(pair.away.received(viewer).len(), 1);

    pair.away.subscribe(viewer, "screen", Limits::default());
    pair.away.engine.unsubscribe(pair.away.now, transport, &track("screen"), 1);
    pair.home.publisher("screen", &[]);
    pair.away.now = pair.home.now;
    pair.carry();
    assert_eq!(pair.away.engine.counters().subscriptions, 1, "it was told not to wait");

    pair.away.subscribe(viewer, "slides", Limits::default());
    pair.advance(Duration::from_secs(6));
    pair.home.publisher("slides", &[]);
    pair.away.now = pair.home.now;
    pair.carry();
    assert_eq!(pair.away.engine.counters().subscriptions, 1, "that was too late");
}

#[test]
fn a_track_in_another_shape_keeps_its_viewers_everywhere() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    pair.home.engine.set_muted(pair.home.router, &track("camera"), true);
    let offer = publish_offer(&pair.home.clients[publisher].peer.fingerprint(), &["camera"], &["low", "high"]);
    let transport = pair.home.clients[publisher].transport;
    pair.home.engine.accept_offer(pair.home.now, transport, &offer, &admitted(&["camera"])).unwrap();
    pair.carry();
    answer_all(&mut pair.away, viewer);
    assert_eq!(pair.away.clients[viewer].tracks, ["camera"]);
    pair.carry();
    for muted in [true, false] {
        pair.home.engine.set_muted(pair.home.router, &track("camera"), muted);
        pair.carry();
        for (ssrc, rid) in [(20, "low"), (30, "high")] {
            pair.send(publisher, &Picture::new(ssrc, 2 - u16::from(muted)).rid(rid).key());
        }
        assert_eq!(pair.away.received(viewer).len(), usize::from(!muted));
    }
}

#[test]
fn a_publisher_that_goes_over_to_the_other_engine_takes_its_track_along() {
    let mut pair = Pair::new();
    let old = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    let own = pair.home.viewer("camera", Limits::default());
    // The new connection is there before the end of the old one has gone over the pipe.
    let new = pair.away.publisher("camera", &[]);
    pair.home.now = pair.away.now;
    pair.carry();
    pair.home.engine.close_transport(pair.home.now, pair.home.clients[old].transport);
    pair.carry();
    for (world, client) in [(&mut pair.away, viewer), (&mut pair.home, own)] {
        world.subscribe(client, "camera", Limits::default());
        answer_all(world, client);
    }
    pair.carry();
    pair.away.send(new, &Picture::new(50, 1).key().bytes());
    pair.carry();
    assert_eq!(pair.away.received(viewer).len(), 1);
    assert_eq!(pair.home.received(own).len(), 1);
    assert_eq!((pair.home.engine.counters().tracks, pair.away.engine.counters().tracks), (0, 1));
}
