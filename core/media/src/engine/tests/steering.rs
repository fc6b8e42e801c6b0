//! What publishers are asked to send: all that somebody watches, and after a while no more than that.

use lockgate_model::Bitrate;

use super::*;

const FREE: Limits = Limits {
    max_layer: Layer::MAX,
    granted: Layer::MAX,
    max_bitrate: None,
    paused: false,
    waits: false,
    priority: Limits::DEFAULT_PRIORITY,
};

/// A publisher of two encodings that does what it is asked to.
struct Source {
    world: World,
    publisher: usize,
    sends: Vec<bool>,
    told: Vec<Vec<bool>>,
    sequence: u16,
}

impl Source {
    fn new() -> Self {
        let mut world = World::new();
        let publisher = world.publisher("camera", &["low", "high"]);
        Self { world, publisher, sends: vec![true, true], told: Vec::new(), sequence: 0 }
    }

    fn viewer(&mut self, limits: Limits) -> usize {
        let viewer = self.world.viewer("camera", limits);
        self.soon();
        viewer
    }

    fn limit(&mut self, viewer: usize, limits: Limits) {
        let transport = self.world.clients[viewer].transport;
        self.world.engine.set_limits(self.world.now, transport, &track("camera"), limits);
        self.soon();
    }

    /// Lets the engine turn once more.
    fn soon(&mut self) {
        self.world.pump();
        self.world.advance(Duration::from_millis(1));
        self.obey();
    }

    /// So many seconds of ten key frames each, 16 kbit/s of the small ones and 80 of the large ones.
    fn run(&mut self, seconds: u32) {
        for step in 0..seconds * 10 {
            self.sequence += 1;
            for (ssrc, rid, size, sends) in [(20, "low", 200, self.sends[0]), (30, "high", 1000, self.sends[1])] {
                if sends {
                    let mut packet = Picture::new(ssrc, self.sequence).rid(rid).key().bytes();
                    packet.resize(size, ssrc as u8);
                    self.world.send(self.publisher, &packet);
                }
            }
            self.world.advance(Duration::from_millis(100));
            if step % 10 == 0 {
                self.world.keep_alive();
            }
            self.obey();
        }
    }

    fn obey(&mut self) {
        for event in self.world.events.extract_if(.., |event| matches!(event, RouterEvent::Steered { .. })) {
            let RouterEvent::Steered { encodings, .. } = event else { continue };
            assert_eq!(
                encodings.iter().map(|(name, _)| name.as_deref()).collect::<Vec<_>>(),
                [Some("low"), Some("high")]
            );
            self.sends = encodings.into_iter().map(|(_, active)| active).collect();
            self.told.push(self.sends.clone());
        }
    }

    /// What it was asked for since the last look.
    fn told(&mut self) -> Vec<Vec<bool>> {
        std::mem::take(&mut self.told)
    }

    /// Whether the last packet that a viewer got is of the large encoding; none: it got nothing.
    fn gets_high(&mut self, viewer: usize) -> Option<bool> {
        self.world.received(viewer).last().map(|(_, payload)| payload.len() > 500)
    }
}

#[test]
fn what_nobody_watches_is_not_sent_and_comes_back_with_the_first_viewer() {
    let mut source = Source::new();
    source.run(7);
    assert!(source.told().is_empty(), "somebody may come");
    source.run(3);
    assert_eq!(source.told(), [[false, false]]);
    source.run(30);
    assert!(source.told().is_empty());
    let viewer = source.viewer(FREE);
    assert_eq!(source.told(), [[true, true]]);
    source.run(1);
    assert_eq!(source.gets_high(viewer), Some(true));
    let transport = source.world.clients[viewer].transport;
    source.world.engine.unsubscribe(source.world.now, transport, &track("camera"), 42);
    source.run(10);
    assert_eq!(source.told(), [[false, false]]);
}

#[test]
fn the_large_encoding_rests_while_it_is_too_large_for_everybody() {
    let mut source = Source::new();
    let capped = Limits { max_layer: Layer::new(0, 7), ..FREE };
    let viewer = source.viewer(capped);
    source.run(10);
    assert_eq!(source.told(), [[true, false]]);
    assert_eq!(source.gets_high(viewer), Some(false));
    source.run(10);
    source.world.events.clear();
    source.limit(viewer, FREE);
    assert_eq!(source.told(), [[true, true]], "at once");
    source.run(1);
    assert_eq!(source.gets_high(viewer), Some(true));
    let told = source.world.events.iter().filter_map(|event| match event {
        RouterEvent::LayerChanged { layer, reason, .. } => Some((layer.map(|layer| layer.spatial), *reason)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(Some(1), LayerReason::Requested)]);
    source.limit(viewer, Limits { paused: true, ..FREE });
    source.run(5);
    source.limit(viewer, FREE);
    source.run(10);
    assert!(source.told().is_empty(), "a moment of looking elsewhere");
    assert_eq!(source.gets_high(viewer), Some(true));
}

#[test]
fn an_encoding_that_rests_is_still_counted_by_what_it_had() {
    let mut source = Source::new();
    let slow = Limits { max_bitrate: Some(Bitrate(50_000)), ..FREE };
    let viewer = source.viewer(slow);
    source.run(15);
    assert_eq!(source.told(), [[true, false]]);
    source.limit(viewer, Limits { max_bitrate: Some(Bitrate(70_000)), ..FREE });
    source.run(15);
    assert!(source.told().is_empty(), "80 kbit/s are still too much");
    source.limit(viewer, Limits { max_bitrate: Some(Bitrate(90_000)), ..FREE });
    assert_eq!(source.told(), [[true, true]]);
    source.run(5);
    assert_eq!(source.gets_high(viewer), Some(true));
}

#[test]
fn an_encoding_that_does_not_come_back_is_not_waited_for() {
    let mut source = Source::new();
    let viewer = source.viewer(Limits { max_layer: Layer::new(0, 7), ..FREE });
    source.run(10);
    source.limit(viewer, FREE);
    source.told();
    source.sends = vec![true, false];
    for _ in 0..8 {
        source.run(1);
        assert_eq!(source.gets_high(viewer), Some(false), "what comes is sent meanwhile");
    }
    source.run(10);
    assert!(
        source.told().is_empty(),
        "it was asked for, and still is: the publisher's link may have no room for it yet"
    );
    source.sends = vec![true, true];
    source.run(1);
    assert_eq!(source.gets_high(viewer), Some(true));
}

#[test]
fn a_mute_lets_the_source_rest_and_the_recorder_watches_everything() {
    let mut source = Source::new();
    source.world.engine.record(source.world.now, source.world.router, &track("camera"), TrackNumber(5));
    source.run(20);
    assert!(source.told().is_empty());
    source.world.set_muted(true);
    source.run(10);
    assert_eq!(source.told(), [[false, false]]);
    source.world.set_muted(false);
    source.soon();
    assert_eq!(source.told(), [[true, true]]);
    let now = source.world.now;
    let waiting = source.world.engine.recorder(now).unsent().len();
    source.world.engine.recorder(now).sent(waiting);
    source.run(2);
    let now = source.world.now;
    assert!(source.world.engine.recorder(now).unsent().len() > 10_000, "the large ones");
}

#[test]
fn a_publisher_that_does_not_listen_is_watched_all_the_same() {
    let mut source = Source::new();
    source.run(10);
    assert_eq!(source.told(), [[false, false]]);
    source.sends = vec![true, true];
    source.run(10);
    let viewer = source.viewer(FREE);
    assert_eq!(source.told(), [[true, true]]);
    source.run(1);
    assert_eq!(source.gets_high(viewer), Some(true));
}

#[test]
fn a_track_that_is_published_again_is_asked_for_anew() {
    let mut source = Source::new();
    source.run(10);
    assert_eq!(source.told(), [[false, false]]);
    let transport = source.world.clients[source.publisher].transport;
    source.world.engine.unpublish(source.world.now, transport, &track("camera"));
    let offer =
        publish_offer(&source.world.clients[source.publisher].peer.fingerprint(), &["camera"], &["low", "high"]);
    source.world.engine.accept_offer(source.world.now, transport, &offer, &admitted(&["camera"])).unwrap();
    let viewer = source.viewer(FREE);
    assert_eq!(source.told(), [[true, true]], "its client may still have them switched off");
    source.run(1);
    assert_eq!(source.gets_high(viewer), Some(true));
}

#[test]
fn a_track_that_comes_later_and_that_nobody_watches_is_switched_off_like_the_first() {
    let mut source = Source::new();
    source.run(10);
    assert_eq!(source.told(), [[false, false]]);
    let (publisher, world) = (source.publisher, &mut source.world);
    let transport = world.clients[publisher].transport;
    let names = ["camera", "screen"];
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &names, &["low", "high"]);
    world.engine.accept_offer(world.now, transport, &offer, &admitted(&names)).unwrap();
    let mut told = Vec::new();
    for _ in 0..20 {
        world.keep_alive();
        world.advance(Duration::from_secs(1));
        for event in std::mem::take(&mut world.events) {
            let RouterEvent::Steered { track, encodings, .. } = event else { continue };
            told.push((track.to_string(), encodings.into_iter().map(|(_, active)| active).collect::<Vec<_>>()));
        }
    }
    assert_eq!(told, [("screen".to_owned(), vec![false, false])]);
}
