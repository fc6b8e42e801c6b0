//! What must not leave any more, where an owner's ways hold packets.

use std::collections::BTreeSet;

use super::*;

/// A viewer of a camera that has seen some of it, with a second way to it.
struct Watched {
    world: World,
    publisher: usize,
    viewer: usize,
    paths: [Path; 2],
    /// The stream's source, and that of packets that are sent again.
    sources: [u32; 2],
}

impl Watched {
    fn new() -> Self {
        let mut world = World::new();
        let publisher = world.publisher("camera", &["low", "high"]);
        let (_other, viewer) = (world.viewer("camera", Limits::default()), world.viewer("camera", Limits::default()));
        let first = world.clients[viewer].path;
        let paths = [first, Path { socket: 1 << 13, ..first }];
        let (ufrag, password) = world.clients[viewer].server.clone();
        world.engine.handle_datagram(world.now, paths[1], &mut check(&ufrag, &password, false));
        let mut own = Self { world, publisher, viewer, paths, sources: [0; 2] };
        [1, 2].into_iter().for_each(|sequence| own.play(sequence));
        let got = own.world.received(viewer);
        let ssrc = got[0].0.ssrc;
        own.world.send_rtcp(viewer, &written(|out| write::nack(out, 1, ssrc, &[got[0].0.sequence])));
        own.sources = [ssrc, own.world.received(viewer)[0].0.ssrc];
        assert_eq!(own.withdrawn(), []);
        own
    }

    fn play(&mut self, sequence: u16) {
        for (ssrc, rid) in [(20, "low"), (30, "high")] {
            self.world.send(self.publisher, &Picture::new(ssrc, sequence).rid(rid).key().bytes());
        }
    }

    fn limit(&mut self, limits: Limits) {
        let transport = self.world.clients[self.viewer].transport;
        self.world.engine.set_limits(self.world.now, transport, &track("camera"), limits);
    }

    /// What was withdrawn from the viewer.
    fn withdrawn(&mut self) -> Vec<Withdrawn> {
        let mut all = self.world.engine.take_withdrawn();
        all.retain(|one| self.paths.contains(&one.path));
        all
    }

    /// All that it was sent is withdrawn, by both ways.
    fn assert_withdrawn(&mut self) {
        let withdrawn: BTreeSet<_> = self.withdrawn().iter().map(|one| (one.path.socket, one.source)).collect();
        let wanted = self.paths.iter().flat_map(|path| self.sources.map(|source| (path.socket, Some(source))));
        assert_eq!(withdrawn, wanted.collect());
        assert_eq!(self.withdrawn(), []);
    }
}

#[test]
fn a_track_that_a_viewer_is_not_to_have_is_withdrawn_by_every_way_to_it() {
    let mut watched = Watched::new();
    let transport = watched.world.clients[watched.viewer].transport;
    watched.world.engine.unsubscribe(watched.world.now, transport, &track("camera"), 42);
    watched.assert_withdrawn();
}

#[test]
fn limits_withdraw_what_they_end_and_nothing_else() {
    let mut watched = Watched::new();
    watched.limit(Limits { max_bitrate: Some(lockgate_model::Bitrate(5_000_000)), ..Limits::default() });
    assert_eq!(watched.withdrawn(), [], "it goes on");
    watched.limit(Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    watched.assert_withdrawn();
    watched.play(3);
    let got = watched.world.received(watched.viewer);
    watched.limit(Limits { paused: true, ..Limits::default() });
    watched.assert_withdrawn();
    let (ssrc, sequence) = (got[0].0.ssrc, got[0].0.sequence);
    watched.world.send_rtcp(watched.viewer, &written(|out| write::nack(out, 1, ssrc, &[sequence])));
    assert!(watched.world.received(watched.viewer).is_empty(), "nor does it come back by asking for it again");
}

#[test]
fn limits_of_a_viewer_who_is_sent_nothing_anyway_withdraw_nothing() {
    let mut watched = Watched::new();
    watched.limit(Limits { paused: true, ..Limits::default() });
    watched.assert_withdrawn();
    watched.limit(Limits { paused: true, priority: 7, ..Limits::default() });
    assert_eq!(watched.withdrawn(), [], "it was at rest before");
    let again = Limits { paused: true, ..Limits::default() };
    watched.world.subscribe(watched.viewer, "camera", again);
    assert_eq!(watched.withdrawn(), [], "nor does another subscription");
    watched.limit(Limits::default());
    watched.limit(Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    assert_eq!(watched.withdrawn(), [], "it waits for a key frame");
    watched.limit(again);
    watched.assert_withdrawn();
}

#[test]
fn what_is_withdrawn_twice_is_told_once() {
    let mut watched = Watched::new();
    for sequence in 3..6 {
        watched.limit(Limits { paused: true, ..Limits::default() });
        watched.limit(Limits::default());
        watched.play(sequence);
    }
    let withdrawn = watched.withdrawn();
    assert_eq!(withdrawn.len(), 4, "two sources by two ways: {withdrawn:?}");
    assert!(withdrawn[0].path == withdrawn[1].path && withdrawn[2].path == withdrawn[3].path, "way by way");
}

#[test]
fn a_muted_track_is_withdrawn_and_one_that_is_over() {
    let mut watched = Watched::new();
    let router = watched.world.router;
    watched.world.engine.set_muted(router, &track("camera"), true);
    watched.assert_withdrawn();
    watched.world.engine.set_muted(router, &track("camera"), false);
    assert_eq!(watched.withdrawn(), []);
    let transport = watched.world.clients[watched.publisher].transport;
    watched.world.engine.unpublish(watched.world.now, transport, &track("camera"));
    watched.assert_withdrawn();
}

#[test]
fn of_a_transport_that_is_closed_everything_is_withdrawn() {
    let mut watched = Watched::new();
    let transport = watched.world.clients[watched.viewer].transport;
    watched.world.engine.close_transport(watched.world.now, transport);
    let withdrawn: BTreeSet<_> = watched.withdrawn().iter().map(|one| (one.path.socket, one.source)).collect();
    assert_eq!(withdrawn, watched.paths.map(|path| (path.socket, None)).into());
}

/// With a revoked track waiting on a way that is forgotten, nobody could say later that it is to be dropped.
#[test]
fn a_way_that_is_given_up_is_not_sent_to_and_everything_on_it_is_withdrawn() {
    let mut watched = Watched::new();
    let (ufrag, password) = watched.world.clients[watched.viewer].server.clone();
    let checked_by = |watched: &mut Watched, socket: u32| {
        let path = Path { socket, ..watched.paths[0] };
        watched.world.engine.handle_datagram(watched.world.now, path, &mut check(&ufrag, &password, false));
    };
    // Two are there, the first of them nominated; of 33 the oldest goes.
    (2..32).for_each(|socket| checked_by(&mut watched, socket));
    assert_eq!(watched.withdrawn(), []);
    checked_by(&mut watched, 32);
    assert_eq!(watched.withdrawn(), [Withdrawn { path: watched.paths[0], source: None }]);
    watched.play(3);
    assert!(watched.world.received(watched.viewer).is_empty(), "nothing goes by it any more");
    // Another transport's password is shown on a way.
    let (ufrag, password) = watched.world.clients[watched.publisher].server.clone();
    watched.world.engine.handle_datagram(watched.world.now, watched.paths[1], &mut check(&ufrag, &password, false));
    assert_eq!(watched.withdrawn(), [Withdrawn { path: watched.paths[1], source: None }]);
}
