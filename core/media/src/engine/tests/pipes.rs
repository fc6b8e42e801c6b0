//! Two engines with a part of one room each, joined by a pipe.

mod damaged;
mod moving;

use lockgate_model::testing::cases;
use proptest::prelude::*;

use super::*;
use crate::ids::PipeId;
use crate::pipe::{Encodings, Frame as PipeFrame, Frames, Piped, PipedTrack};

/// Two engines and the pipe between them. What goes over it is counted.
pub(super) struct Pair {
    pub(super) home: World,
    pub(super) away: World,
    pub(super) ends: [PipeId; 2],
    pub(super) carried: [usize; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        let (mut home, mut away) = (World::new(), World::new());
        // One timeline, like the workers of a process.
        home.now = home.now.max(away.now);
        away.now = home.now;
        let ends = [home, away].map(|mut world| {
            let pipe = world.engine.open_pipe(world.now, world.router).unwrap();
            (world, pipe)
        });
        let [(home, first), (away, second)] = ends;
        let mut pair = Self { home, away, ends: [first, second], carried: [0, 0] };
        pair.carry();
        pair
    }

    /// Takes what waits for one direction.
    pub(super) fn take(&mut self, from: usize) -> Vec<u8> {
        let (ends, worlds) = (self.ends, [&mut self.home, &mut self.away]);
        let world = &mut *worlds.into_iter().nth(from).unwrap();
        while world.engine.poll_pipe().is_some() {}
        world.engine.pipe_bytes(ends[from]).map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn give(&mut self, to: usize, batch: &[u8]) {
        let (ends, worlds) = (self.ends, [&mut self.home, &mut self.away]);
        let world = &mut *worlds.into_iter().nth(to).unwrap();
        let mut taken = 0;
        while taken < batch.len() {
            taken += world.engine.handle_pipe(world.now, ends[to], &batch[taken..]);
            world.pump();
        }
        world.engine.handle_timeout(world.now);
        world.pump();
    }

    /// Carries everything to where it belongs until nothing moves.
    pub(super) fn carry(&mut self) {
        loop {
            self.home.pump();
            self.away.pump();
            let batches = [self.take(0), self.take(1)];
            if batches.iter().all(Vec::is_empty) {
                return;
            }
            for (from, batch) in batches.iter().enumerate() {
                self.carried[from] += batch.len();
                self.give(1 - from, batch);
            }
        }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.home.advance(time);
        self.away.advance(time);
        self.carry();
    }

    pub(super) fn publisher(&mut self, rids: &[&str]) -> usize {
        let publisher = self.home.publisher("camera", rids);
        self.away.now = self.home.now;
        self.carry();
        publisher
    }

    /// A viewer away from the publisher.
    pub(super) fn viewer(&mut self, limits: Limits) -> usize {
        let viewer = self.away.viewer("camera", limits);
        self.home.now = self.away.now;
        self.home.engine.handle_timeout(self.home.now);
        self.carry();
        viewer
    }

    pub(super) fn send(&mut self, publisher: usize, picture: &Picture) {
        self.home.send(publisher, &picture.bytes());
        self.carry();
    }

    /// What went from home to the other engine since this was last asked.
    pub(super) fn carried(&mut self) -> usize {
        std::mem::take(&mut self.carried[0])
    }
}

/// Answers offers until there are no more.
pub(super) fn answer_all(world: &mut World, client: usize) {
    let own = world.clients[client].transport;
    let is_own = |event: &RouterEvent| matches!(event, RouterEvent::Offer { transport, .. } if *transport == own);
    world.pump();
    while world.events.iter().any(is_own) {
        let offer = world.take_offer(client);
        world.answer(client, &offer);
    }
}

fn payloads(got: &[(Header, Vec<u8>)]) -> Vec<Vec<u8>> {
    got.iter().map(|(_, payload)| payload.clone()).collect()
}

#[test]
fn a_viewer_of_another_engine_gets_every_packet_as_the_publisher_sent_it() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let (here, there) = (pair.home.viewer("camera", Limits::default()), pair.viewer(Limits::default()));
    pair.send(publisher, &Picture::new(9, 65_534).key());
    for sequence in [65_535, 0, 1, 2] {
        pair.send(publisher, &Picture::new(9, sequence));
    }
    let (here, there) = (pair.home.received(here), pair.away.received(there));
    assert_eq!(there.len(), 5);
    assert_eq!(payloads(&there), payloads(&here));
    assert!(there.windows(2).all(|two| two[1].0.sequence == two[0].0.sequence.wrapping_add(1)));
    let (home, away) = (pair.home.engine.counters(), pair.away.engine.counters());
    assert_eq!((home.piped_out, away.piped_in, away.packets_in), (5, 5, 0));
    assert_eq!((home.tracks, away.tracks, home.pipes, away.pipes), (1, 0, 1, 1));
}

#[test]
fn a_track_costs_nothing_over_the_pipe_until_somebody_there_wants_it_and_when_nobody_does_any_more() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    pair.send(publisher, &Picture::new(9, 1).key());
    pair.carried();
    (2..50).for_each(|sequence| pair.send(publisher, &Picture::new(9, sequence)));
    pair.advance(Duration::from_millis(1100));
    assert_eq!(pair.carried(), 0, "nobody watches");
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 50).key());
    assert_eq!(pair.away.received(viewer).len(), 1);
    let transport = pair.away.clients[viewer].transport;
    pair.away.engine.unsubscribe(pair.away.now, transport, &track("camera"), 1);
    pair.carry();
    pair.carried();
    (51..60).for_each(|sequence| pair.send(publisher, &Picture::new(9, sequence)));
    assert_eq!(pair.carried(), 0, "the only viewer left");
    pair.away.subscribe(viewer, "camera", Limits::default());
    answer_all(&mut pair.away, viewer);
    pair.carry();
    pair.send(publisher, &Picture::new(9, 60).key());
    assert_eq!(pair.away.received(viewer).len(), 1);
    pair.away.engine.close_transport(pair.away.now, transport);
    pair.carry();
    pair.carried();
    pair.send(publisher, &Picture::new(9, 61));
    assert_eq!(pair.carried(), 0, "its connection is closed");
}

#[test]
fn only_the_encodings_that_viewers_get_go_over_the_pipe() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&["low", "high"]);
    let both = |pair: &mut Pair, sequence: u16, key: bool| {
        for (ssrc, rid) in [(20, "low"), (30, "high")] {
            let picture = Picture::new(ssrc, sequence).rid(rid);
            pair.send(publisher, &if key { picture.key() } else { picture });
        }
    };
    both(&mut pair, 1, true);
    let capped = pair.viewer(Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    both(&mut pair, 2, true);
    both(&mut pair, 3, false);
    assert_eq!((pair.away.received(capped).len(), pair.away.engine.counters().piped_in), (2, 2), "the small one only");
    let free = pair.viewer(Limits::default());
    both(&mut pair, 4, true);
    both(&mut pair, 5, false);
    assert_eq!((pair.away.received(free).len(), pair.away.received(capped).len()), (2, 2));
    assert_eq!(pair.away.engine.counters().piped_in, 6, "both now");
    let transport = pair.away.clients[capped].transport;
    pair.away.engine.set_limits(
        pair.away.now,
        transport,
        &track("camera"),
        Limits { paused: true, ..Limits::default() },
    );
    pair.carry();
    both(&mut pair, 6, false);
    assert_eq!((pair.away.received(free).len(), pair.away.engine.counters().piped_in), (1, 7), "the large one only");
}

#[test]
fn a_viewer_over_a_pipe_changes_encodings_without_a_break() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&["low", "high"]);
    let low = |sequence| Picture::new(20, sequence).rid("low");
    pair.send(publisher, &low(1).key());
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &low(2).key());
    pair.send(publisher, &Picture::new(30, 1).rid("high").key());
    pair.send(publisher, &low(3));
    pair.advance(Duration::from_millis(500));
    pair.send(publisher, &Picture::new(30, 2).rid("high").key());
    pair.send(publisher, &low(4));
    pair.send(publisher, &Picture::new(30, 3).rid("high"));
    let got = pair.away.received(viewer);
    assert_eq!(got.len(), 4, "2 of the small one, all of the large one: it was wanted before it came");
    assert!(got.windows(2).all(|two| two[1].0.sequence == two[0].0.sequence.wrapping_add(1)));
    let layers: Vec<_> =
        pair.away.events.iter().filter(|event| matches!(event, RouterEvent::LayerChanged { .. })).collect();
    assert!(!layers.is_empty());
}

#[test]
fn packets_that_are_asked_for_again_come_from_the_engine_of_the_viewer() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 1).key());
    pair.send(publisher, &Picture::new(9, 2));
    let got = pair.away.received(viewer);
    let before = pair.carried;
    pair.away.send_rtcp(viewer, &written(|out| write::nack(out, 1, got[0].0.ssrc, &[got[1].0.sequence])));
    pair.carry();
    let again = pair.away.received(viewer);
    assert_eq!((again.len(), &again[0].1[2..]), (1, &got[1].1[..]));
    assert_eq!(pair.carried, before, "nobody else was asked");
}

#[test]
fn wishes_for_key_frames_from_both_engines_are_one_request_to_the_publisher() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    pair.send(publisher, &Picture::new(9, 1).key());
    let (near, far) = (pair.home.viewer("camera", Limits::default()), [(); 2].map(|()| pair.viewer(Limits::default())));
    pair.send(publisher, &Picture::new(9, 2).key());
    pair.advance(Duration::from_secs(1));
    pair.home.key_frame_requests(publisher);
    let ssrc = pair.home.received(near)[0].0.ssrc;
    pair.home.send_rtcp(near, &written(|out| write::pli(out, 1, ssrc)));
    for viewer in far {
        let ssrc = pair.away.received(viewer)[0].0.ssrc;
        pair.away.send_rtcp(viewer, &written(|out| write::pli(out, 1, ssrc)));
    }
    pair.advance(Duration::from_millis(1));
    pair.advance(Duration::from_millis(1));
    assert_eq!(pair.home.key_frame_requests(publisher), 1);
    pair.advance(Duration::from_secs(2));
    assert!(pair.home.key_frame_requests(publisher) > 0, "none came: it is asked for again");
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_over_the_pipe() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 1).key());
    (2..5).for_each(|sequence| pair.home.send(publisher, &Picture::new(9, sequence).bytes()));
    assert!(!pair.take(0).is_empty(), "this batch is lost");
    pair.send(publisher, &Picture::new(9, 5));
    assert_eq!(pair.away.received(viewer).len(), 2);
    pair.advance(Duration::from_millis(10));
    let got = pair.away.received(viewer);
    assert_eq!(got.len(), 3);
    assert_eq!(
        payloads(&got),
        [2, 3, 4].map(|sequence| {
            let bytes = Picture::new(9, sequence).bytes();
            let header = Header::parse(&bytes).unwrap();
            bytes[header.payload(&bytes).unwrap()].to_vec()
        })
    );
    assert_eq!(pair.home.engine.counters().nacks_out, 0, "the publisher was not asked");
}

#[test]
fn a_publisher_that_begins_anew_under_another_source_is_followed() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 40_000).key());
    pair.send(publisher, &Picture::new(10, 7).key());
    pair.send(publisher, &Picture::new(10, 8));
    let got = pair.away.received(viewer);
    assert_eq!(got.len(), 3);
    assert!(got.windows(2).all(|two| two[1].0.sequence == two[0].0.sequence.wrapping_add(1)));
}

#[test]
fn sender_reports_and_mutes_go_over_the_pipe() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 1).key());
    let got = pair.away.received(viewer);
    let info = SenderInfo { ssrc: 9, ntp: 77 << 32, rtp: 3000, packets: 5, octets: 6 };
    pair.home.send_rtcp(publisher, &written(|out| write::sender_report(out, info, "x")));
    pair.carry();
    let told = pair.away.feedback(viewer);
    let reports = feedback(&told);
    let Some(Feedback::Sender(report)) = reports.first() else { panic!("{reports:?}") };
    assert_eq!((report.ssrc, report.ntp, report.rtp), (got[0].0.ssrc, info.ntp, got[0].0.timestamp));
    pair.home.engine.set_muted(pair.home.router, &track("camera"), true);
    pair.send(publisher, &Picture::new(9, 2));
    assert_eq!(pair.away.received(viewer).len(), 0);
    pair.home.key_frame_requests(publisher);
    pair.home.engine.set_muted(pair.home.router, &track("camera"), false);
    pair.send(publisher, &Picture::new(9, 3));
    assert_eq!(pair.away.received(viewer).len(), 0, "a decoder cannot go on with it");
    pair.advance(Duration::from_millis(400));
    assert!(pair.home.key_frame_requests(publisher) > 0);
    pair.send(publisher, &Picture::new(9, 4).key());
    assert_eq!(pair.away.received(viewer)[0].0.sequence, got[0].0.sequence.wrapping_add(1));
}

#[test]
fn the_recorder_is_fed_where_the_publisher_is() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    for world in [&mut pair.home, &mut pair.away] {
        world.engine.record(world.now, world.router, &track("camera"), TrackNumber(5));
    }
    let viewer = pair.viewer(Limits::default());
    pair.send(publisher, &Picture::new(9, 1).key());
    assert_eq!(pair.away.received(viewer).len(), 1);
    let waits = |world: &mut World| !world.engine.recorder(world.now).unsent().is_empty();
    assert!(waits(&mut pair.home) && !waits(&mut pair.away));
}

#[test]
fn viewers_of_another_engine_are_viewers_to_the_source() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&["low", "high"]);
    let steered = |pair: &mut Pair| {
        let told = pair.home.events.extract_if(.., |event| matches!(event, RouterEvent::Steered { .. }));
        let told = told.map(|event| match event {
            RouterEvent::Steered { encodings, .. } => encodings.into_iter().map(|(_, active)| active).collect(),
            _ => Vec::new(),
        });
        told.collect::<Vec<_>>()
    };
    let mut sequence = 0;
    let mut run = |pair: &mut Pair, seconds: u32, rids: &[(u32, &'static str)]| {
        for _ in 0..seconds * 5 {
            sequence += 1;
            for (ssrc, rid) in rids {
                pair.send(publisher, &Picture::new(*ssrc, sequence).rid(rid).key());
            }
            pair.advance(Duration::from_millis(200));
            pair.home.keep_alive();
            pair.away.keep_alive();
        }
    };
    let both = [(20, "low"), (30, "high")];
    run(&mut pair, 10, &both);
    assert_eq!(steered(&mut pair), [[false, false]]);
    run(&mut pair, 5, &[]);
    let viewer = pair.viewer(Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    assert_eq!(steered(&mut pair), [[true, false]]);
    run(&mut pair, 2, &both[..1]);
    assert!(!pair.away.received(viewer).is_empty());
    let transport = pair.away.clients[viewer].transport;
    pair.away.engine.set_limits(pair.away.now, transport, &track("camera"), Limits::default());
    pair.carry();
    assert_eq!(steered(&mut pair), [[true, true]], "the large one rests there, and can be had");
    run(&mut pair, 1, &both);
    let told: Vec<_> =
        pair.away.events.iter().rev().filter(|event| matches!(event, RouterEvent::LayerChanged { .. })).collect();
    assert!(matches!(told[0], RouterEvent::LayerChanged { layer: Some(layer), .. } if layer.spatial == 1), "{told:?}");
}
