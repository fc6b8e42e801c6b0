//! What publishers do beside sending pictures: they mute, describe anew, take tracks back, and send too much.

use super::*;

impl World {
    /// A publisher's next offer.
    fn offer_again(&mut self, client: usize, offer: &str, decided: &[AdmittedMedia]) {
        self.engine.accept_offer(self.now, self.clients[client].transport, offer, decided).unwrap();
        self.pump();
    }

    /// Whether a publisher was asked for something again.
    fn is_asked_again(&mut self, client: usize) -> bool {
        feedback(&self.feedback(client)).iter().any(|one| matches!(one, Feedback::Nack { .. }))
    }

    pub(super) fn set_muted(&mut self, muted: bool) {
        self.engine.set_muted(self.router, &track("camera"), muted);
        self.pump();
    }

    /// A publisher of sound, on one line for each name.
    pub(super) fn sound_publisher(&mut self, names: &[&str]) -> usize {
        let transport = self.engine.create_publish_transport(self.now, self.router).unwrap();
        let client = self.add_client(transport);
        let offer = sound_offer(&self.clients[client].peer.fingerprint(), names);
        let answer = self.engine.accept_offer(self.now, transport, &offer, &admitted(names)).unwrap();
        self.connect(client, &answer.sdp);
        client
    }
}

fn sound_offer(fingerprint: &str, names: &[&str]) -> String {
    as_sound(&publish_offer(fingerprint, names, &[]))
}

/// The same lines, of sound.
fn as_sound(offer: &str) -> String {
    let offer = offer.replace("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=audio 9 UDP/TLS/RTP/SAVPF 96");
    let kept = offer.lines().filter(|line| !line.contains(":97 ") && !line.contains("nack") && !line.contains("fir"));
    kept.map(|line| line.replace("VP8/90000", "opus/48000/2") + "\r\n").collect()
}

/// A packet of sound that names its line, or not.
pub(super) fn sound(ssrc: u32, sequence: u16, mid: Option<u8>) -> Vec<u8> {
    let mut packet = vec![if mid.is_some() { 0x90 } else { 0x80 }, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 960).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(mid) = mid {
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x40, mid, 0, 0]);
    }
    packet.extend_from_slice(&[7; 40]);
    packet
}

#[test]
fn what_is_sent_while_muted_leaves_no_hole_and_cannot_be_asked_for() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.set_muted(true);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    (3..40).for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    world.send(publisher, &Picture::new(9, 42).bytes());
    world.advance(Duration::from_millis(50));
    assert!(!world.is_asked_again(publisher), "what is muted is not missed");
    world.set_muted(false);
    world.send(publisher, &Picture::new(9, 43).bytes());
    assert_eq!(world.received(viewer).len(), 1, "a decoder cannot go on with it");
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1);
    world.send(publisher, &Picture::new(9, 44).key().bytes());
    world.send(publisher, &Picture::new(9, 41).bytes());
    world.send(publisher, &Picture::new(9, 45).bytes());
    let got = world.received(viewer);
    assert_eq!(sequences(&got), [0, 1]);
    let (ssrc, first) = (got[0].0.ssrc, got[0].0.sequence);
    let around: Vec<_> = (0..60).map(|back| first.wrapping_sub(50).wrapping_add(back)).collect();
    world.send_rtcp(viewer, &written(|out| write::nack(out, 1, ssrc, &around)));
    assert_eq!(world.received(viewer).len(), 2, "only what was sent since");
}

#[test]
fn sound_goes_on_with_the_next_packet_after_it_was_muted() {
    let mut world = World::new();
    let publisher = world.sound_publisher(&["camera"]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &sound(9, 1, None));
    world.set_muted(true);
    (2..30).for_each(|sequence| world.send(publisher, &sound(9, sequence, None)));
    world.set_muted(false);
    world.send(publisher, &sound(9, 30, None));
    assert_eq!(sequences(&world.received(viewer)), [0, 1]);
}

/// In silence an encoder that may (RFC 7587 §6.1, `usedtx`) sends a packet every 400 ms: pauses are not closed up in time, and nothing is missing.
#[test]
fn sound_that_pauses_in_silence_stays_in_its_time_and_what_it_was_agreed_with_is_handed_on() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let publisher = world.add_client(transport);
    let agreed = "a=fmtp:96 minptime=10;usedtx=1;useinbandfec=1\r\n";
    let offer = sound_offer(&world.clients[publisher].peer.fingerprint(), &["microphone"]) + agreed;
    let answer = world.engine.accept_offer(world.now, transport, &offer, &admitted(&["microphone"])).unwrap();
    world.connect(publisher, &answer.sdp);
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let viewer = world.add_client(transport);
    world.subscribe(viewer, "microphone", Limits::default());
    let offer = world.take_offer(viewer);
    for sdp in [&answer.sdp, &offer] {
        assert!(sdp.contains("usedtx=1") && sdp.contains("useinbandfec=1"), "{sdp}");
    }
    world.answer(viewer, &offer);
    world.connect(viewer, &offer);
    let times = [0_u32, 960, 20_160, 39_360, 40_320];
    for (sequence, time) in (1_u16..).zip(times) {
        let mut packet = sound(9, sequence, Some(b'0'));
        packet[4..8].copy_from_slice(&time.to_be_bytes());
        world.send(publisher, &packet);
    }
    let got = world.received(viewer);
    assert_eq!(sequences(&got), [0, 1, 2, 3, 4]);
    let began = got[0].0.timestamp;
    assert_eq!(got.iter().map(|(header, _)| header.timestamp.wrapping_sub(began)).collect::<Vec<_>>(), times);
}

#[test]
fn a_viewer_that_refuses_a_track_and_takes_it_again_goes_on_without_a_hole() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    let transport = world.clients[viewer].transport;
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    let refusal = answer_to(&offer, &world.clients[viewer].peer.fingerprint()).replace("a=recvonly", "a=inactive");
    world.take_answer(transport, None, &refusal).unwrap();
    (2..40).for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    world.answer(viewer, &offer);
    world.send(publisher, &Picture::new(9, 40).bytes());
    world.send(publisher, &Picture::new(9, 41).key().bytes());
    assert_eq!(sequences(&world.received(viewer)), [0, 1]);
}

#[test]
fn the_recorder_goes_on_at_a_key_frame_after_a_mute_and_is_told_of_the_pause() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    world.engine.record(world.now, world.router, &track("camera"), TrackNumber(5));
    world.send(publisher, &Picture::new(9, 1).key().bytes());
    world.set_muted(true);
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    world.set_muted(false);
    world.send(publisher, &Picture::new(9, 3).bytes());
    world.send(publisher, &Picture::new(9, 4).key().bytes());
    let mut deframer = Deframer::new(MAX_FRAME);
    deframer.extend(world.engine.recorder(world.now).unsent());
    let mut seen = Vec::new();
    while let Some(bytes) = deframer.next_frame().unwrap() {
        match Frame::decode(bytes).unwrap() {
            Frame::Rtp { seq, .. } => seen.push(format!("{}", seq as u16)),
            Frame::Gap { from, to, reason, .. } => {
                seen.push(format!("{}-{} {}", from as u16, to as u16, reason.as_str()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["1", "2-3 paused", "4"]);
}

#[test]
fn a_publisher_that_gives_times_back_has_its_round_trip_told() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    world.viewer("camera", Limits::default());
    for second in 0..5_u16 {
        world.send(publisher, &Picture::new(9, second + 1).key().bytes());
        world.advance(Duration::from_millis(900));
        let compound = world.feedback(publisher);
        let xr = compound.windows(4).position(|head| head == [0x80, 207, 0, 4]);
        if let Some(block) = xr.map(|at| &compound[at + 4..at + 20]) {
            world.advance(Duration::from_millis(80));
            // Half of that it was kept there (RFC 3611 §4.5).
            let mut back = vec![0x80, 207, 0, 5, 0, 0, 0, 9, 5, 0, 0, 3];
            back.extend_from_slice(&block[..4]);
            back.extend_from_slice(&block[10..14]);
            back.extend_from_slice(&(65_536_u32 * 40 / 1000).to_be_bytes());
            world.send_rtcp(publisher, &back);
        }
        world.advance(Duration::from_millis(20));
        world.keep_alive();
    }
    let own = world.clients[publisher].transport;
    let told = world.events.iter().rev().find_map(|event| match event {
        RouterEvent::Quality { transport, quality, .. } if *transport == own => Some(quality.rtt),
        _ => None,
    });
    let rtt = told.expect("it is told every two seconds").expect("it was measured");
    assert!((38..=42).contains(&rtt), "{rtt} ms");
}

#[test]
fn the_same_encodings_described_from_the_largest_again_are_no_change() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["high", "low"]);
    let viewer = world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(20, 1).rid("low").key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &["high", "low"]);
    world.offer_again(publisher, &offer, &admitted(&["camera"]));
    world.send(publisher, &Picture::new(20, 2).rid("low").bytes());
    assert_eq!(world.received(viewer).len(), 1);
    assert!(!world.events.iter().any(|event| matches!(event, RouterEvent::Offer { .. })), "nothing is new to viewers");
}

#[test]
fn a_track_in_another_shape_keeps_its_viewers_and_stays_muted() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &[]);
    let viewer = world.viewer("camera", Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    world.set_muted(true);
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &["low", "high"]);
    world.offer_again(publisher, &offer, &admitted(&["camera"]));
    let offer = world.take_offer(viewer);
    assert_eq!(world.clients[viewer].tracks, ["camera"]);
    world.answer(viewer, &offer);
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, 1).rid(rid).key().bytes());
    }
    assert_eq!(world.received(viewer).len(), 0, "muted");
    world.set_muted(false);
    for (ssrc, rid) in [(20, "low"), (30, "high")] {
        world.send(publisher, &Picture::new(ssrc, 2).rid(rid).key().bytes());
    }
    assert_eq!(world.received(viewer).len(), 1, "within its limits");
}

#[test]
fn a_track_that_was_taken_back_is_not_heard_through_another() {
    let mut world = World::new();
    let publisher = world.sound_publisher(&["microphone", "screen"]);
    let viewer = world.viewer("screen", Limits::default());
    world.send(publisher, &sound(1, 1, Some(b'0')));
    world.send(publisher, &sound(2, 1, Some(b'1')));
    assert_eq!(world.received(viewer).len(), 1);
    let transport = world.clients[publisher].transport;
    world.engine.unpublish(world.now, transport, &track("microphone"));
    world.send(publisher, &sound(1, 2, None));
    let mut offer = sound_offer(&world.clients[publisher].peer.fingerprint(), &["microphone", "screen"]);
    offer = offer.replacen("a=sendonly", "a=inactive", 1);
    world.offer_again(publisher, &offer, &admitted(&["microphone", "screen"])[1..]);
    world.send(publisher, &sound(1, 3, None));
    assert_eq!((world.received(viewer).len(), world.dropped(DropReason::UnknownSource)), (0, 2));
    world.send(publisher, &sound(2, 2, None));
    assert_eq!(world.received(viewer).len(), 1);
}

#[test]
fn a_source_goes_on_when_its_line_is_offered_with_a_track_again() {
    let mut world = World::new();
    let publisher = world.publisher("camera", &["low", "high"]);
    world.send(publisher, &Picture::new(20, 1).rid("low").key().bytes());
    world.engine.unpublish(world.now, world.clients[publisher].transport, &track("camera"));
    let offer = publish_offer(&world.clients[publisher].peer.fingerprint(), &["camera"], &["low", "high"]);
    world.offer_again(publisher, &offer, &admitted(&["camera"]));
    let viewer = world.viewer("camera", Limits::default());
    world.key_frame_requests(publisher);
    // Browsers name the encoding only until they were told that it was received.
    world.send(publisher, &Picture::new(20, 2).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!(world.key_frame_requests(publisher), 1);
    world.send(publisher, &Picture::new(20, 3).key().bytes());
    assert_eq!(world.received(viewer).len(), 1);
}

#[test]
fn what_is_refused_for_its_size_is_not_asked_for_again() {
    let mut world = World::new();
    let (publisher, _) = world.publisher_within(Some(1600), |offer| offer);
    (1..50).for_each(|sequence| world.send(publisher, &Picture::new(9, sequence).bytes()));
    assert!(world.dropped(DropReason::OverBitrate) > 30);
    world.advance(Duration::from_secs(1));
    world.feedback(publisher);
    let mut long = Picture::new(9, 50).bytes();
    long.resize(1600, 7);
    world.send(publisher, &long);
    world.send(publisher, &Picture::new(9, 51).bytes());
    world.advance(Duration::from_millis(50));
    assert_eq!((world.dropped(DropReason::TooLong), world.is_asked_again(publisher)), (1, false));
}

#[test]
fn a_publisher_that_knows_no_other_request_for_a_key_frame_is_asked_by_the_full_one() {
    let mut world = World::new();
    let (publisher, answer) = world.publisher_within(None, |offer| offer.replace("a=rtcp-fb:96 nack pli\r\n", ""));
    assert!(answer.contains("a=rtcp-fb:96 ccm fir\r\n") && !answer.contains("pli"));
    world.viewer("camera", Limits::default());
    world.send(publisher, &Picture::new(9, 1).bytes());
    let commands = |world: &mut World| {
        world.advance(Duration::from_millis(300));
        let told = world.feedback(publisher);
        let asked = feedback(&told).iter().any(|one| matches!(one, Feedback::KeyFrameRequest { ssrc: 9 }));
        let place = told.windows(2).position(|head| head == [0x84, 206]);
        place.filter(|_| asked).map(|start| told[start + 16])
    };
    let first = commands(&mut world).unwrap();
    assert_eq!(commands(&mut world), Some(first), "a repetition");
    world.send(publisher, &Picture::new(9, 2).key().bytes());
    world.set_muted(true);
    world.set_muted(false);
    assert_eq!(commands(&mut world), Some(first.wrapping_add(1)));
}

#[test]
fn encodings_without_names_are_told_apart_by_the_group_of_their_sources() {
    let mut world = World::new();
    let group = "a=ssrc-group:SIM 20 30\r\na=ssrc-group:FID 20 21\r\na=ssrc-group:FID 30 31\r\n\
                 a=ssrc:20 cname:c\r\na=ssrc:21 cname:c\r\na=ssrc:30 cname:c\r\na=ssrc:31 cname:c\r\n";
    let (publisher, _) = world.publisher_within(None, |offer| offer + group);
    let capped = world.viewer("camera", Limits { max_layer: Layer::new(0, 7), ..Limits::default() });
    let free = world.viewer("camera", Limits::default());
    for step in 0..20_u16 {
        let (low, high) = (Picture::new(20, step), Picture::new(30, 900 + step));
        let key = step % 5 == 0;
        world.send(publisher, &if key { low.key() } else { low }.bytes());
        world.send(publisher, &if key { high.key() } else { high }.bytes());
        world.advance(Duration::from_millis(33));
    }
    let got = world.received(capped);
    assert_eq!(sequences(&got), (0..got.len() as u16).collect::<Vec<_>>(), "no gap to be seen");
    let pictures: Vec<_> = got.iter().map(|(_, payload)| payload[4]).collect();
    assert!(
        got.len() >= 15 && pictures.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "of one source: {pictures:?}"
    );
    assert!(world.received(free).len() >= 18, "the other viewer got one encoding whole");
    assert_eq!(world.dropped(DropReason::UnknownSource), 0);
    // What repairs a source of the group is no other encoding; a source that is not of it is nobody's.
    world.send(publisher, &Picture::new(20, 21).bytes());
    world.send(publisher, &repair(&Picture::new(20, 20), 21));
    assert_eq!((world.received(capped).len(), world.received(free).len()), (2, 0));
    world.send(publisher, &Picture::new(77, 1).key().bytes());
    assert_eq!(world.dropped(DropReason::UnknownSource), 1);
}

/// A packet that says when it left, in ms of its sender's clock.
fn stamped(sequence: u16, ms: u64) -> Vec<u8> {
    let mut packet = Picture::new(9, sequence).key().bytes();
    packet.resize(1000, 7);
    let (stamp, at) = (((ms << 18) / 1000) as u32, 16 + usize::from(packet[15]) * 4);
    packet[15] += 1;
    packet.splice(at..at, [0x82, (stamp >> 16) as u8, (stamp >> 8) as u8, stamp as u8]);
    packet
}

fn with_receivers_estimate(offer: String) -> String {
    let stamps = "a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n";
    offer.replace("transport-cc\r\n", "goog-remb\r\n") + stamps
}

#[test]
fn a_publisher_that_goes_by_a_receivers_estimate_is_told_one() {
    let mut world = World::new();
    let (publisher, answer) = world.publisher_within(Some(900_000), with_receivers_estimate);
    assert!(answer.contains("a=rtcp-fb:96 goog-remb\r\n") && !answer.contains("transport-cc\r\n"), "{answer}");
    assert!(answer.contains("a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"), "{answer}");
    let mut told = Vec::new();
    let mut play = |world: &mut World, packets: std::ops::Range<u16>| {
        for sequence in packets {
            world.send(publisher, &stamped(sequence, u64::from(sequence) * 10));
            world.advance(Duration::from_millis(10));
            let all = world.feedback(publisher);
            told.extend(feedback(&all).into_iter().filter_map(|one| match one {
                Feedback::Remb { bitrate } => Some((sequence, bitrate)),
                _ => None,
            }));
        }
        told.clone()
    };
    let first = play(&mut world, 1..301);
    assert!((3..=5).contains(&first.len()), "{first:?}");
    assert!(first.iter().all(|(_, bitrate)| (899_000..=900_000).contains(bitrate)), "it may not send more: {first:?}");
    // Each packet takes 10 ms longer than the one before: half of what is sent fits.
    for sequence in 301..500 {
        world.advance(Duration::from_millis(10));
        play(&mut world, sequence..sequence + 1);
    }
    let after = play(&mut world, 500..501);
    let (_, least) = after.iter().min_by_key(|(_, bitrate)| *bitrate).unwrap();
    assert!(*least < 600_000, "{after:?}");
}

#[test]
fn sound_alone_is_told_no_estimate_whatever_its_offer_takes() {
    let mut world = World::new();
    let (publisher, answer) = world.publisher_within(None, |offer| with_receivers_estimate(as_sound(&offer)));
    assert!(!answer.contains("goog-remb") && !answer.contains("abs-send-time"), "{answer}");
    for sequence in 1..150 {
        world.send(publisher, &sound(9, sequence, Some(b'0')));
        world.advance(Duration::from_millis(20));
    }
    let all = world.feedback(publisher);
    assert!(!feedback(&all).iter().any(|one| matches!(one, Feedback::Remb { .. })));
}

#[test]
fn a_publisher_that_estimates_by_itself_is_told_arrivals_alone() {
    let mut world = World::new();
    let both = |offer: String| {
        let with = with_receivers_estimate(offer);
        with.replace("goog-remb\r\n", "transport-cc\r\na=rtcp-fb:96 goog-remb\r\n")
    };
    let (publisher, answer) = world.publisher_within(None, both);
    assert!(answer.contains("transport-cc\r\n") && !answer.contains("goog-remb"), "{answer}");
    assert!(!answer.contains("abs-send-time"), "{answer}");
    for sequence in 1..150 {
        world.send(publisher, &stamped(sequence, u64::from(sequence) * 10));
        world.advance(Duration::from_millis(10));
    }
    let all = world.feedback(publisher);
    assert!(!feedback(&all).iter().any(|one| matches!(one, Feedback::Remb { .. })));
}
