//! Packets in disorder, twice, or not at all.

use lockgate_model::carrier::{Frame, FromRecorder, GapReason, TrackStats};
use lockgate_model::{Codec, Source};

use crate::support::{Clip, Node, Probe, Sender, decodes, session, track};

#[test]
fn packets_in_disorder_and_twice_make_the_same_file() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::picture(Codec::Vp8, "320x240", 2);
    // Announced after its first packets: control and data travel apart.
    node.begin(&start, &[]);
    let mut sender = Sender::new(2, &clip);
    let mut packets = Vec::new();
    while sender.next_at().is_some() {
        packets.extend(sender.packets());
    }
    // The first packet stays the first: where a track begins is the node's to say.
    for group in packets[1..].chunks_mut(7) {
        group.reverse();
    }
    for packet in &packets[..20] {
        node.send_packet(&sender, packet);
    }
    node.begin(&start, &[track(&start, 2, Source::Camera, Codec::Vp8)]);
    for packet in packets[20..].iter().chain(&packets[30..60]) {
        node.send_packet(&sender, packet);
    }
    node.stop(&start);
    let file = node.archive(&start).join("9-camera-1.webm");
    let probe = Probe::read(&file);
    probe.stream("vp8").expect_frames(&clip.hashes());
    decodes(&file);
}

#[test]
fn after_a_loss_the_picture_goes_on_with_the_next_key_frame_which_is_asked_for() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clip = Clip::picture(Codec::Vp8, "320x240", 3);
    node.begin(&start, &[track(&start, 2, Source::Camera, Codec::Vp8)]);
    let mut sender = Sender::new(2, &clip);
    node.play(&mut [&mut sender], 1_500_000);
    // One packet of frame 45 is never sent, and the node says so.
    let lost = sender.packets();
    let (track, ssrc, seq) = (sender.track, sender.ssrc, lost[0].seq);
    node.frame(&Frame::Gap { track, ssrc, from: seq, to: seq, reason: GapReason::Overload });
    for packet in &lost[1..] {
        node.send_packet(&sender, packet);
    }
    node.play(&mut [&mut sender], 1_800_000);
    node.expect_pli(sender.track);
    node.play(&mut [&mut sender], u64::MAX);
    let stats = stats(&mut node);
    // Asked again if the machine is slow.
    assert!(stats.lost == 1 && stats.plis >= 1, "{stats:?}");
    node.stop(&start);

    let file = node.archive(&start).join("9-camera-1.webm");
    let probe = Probe::read(&file);
    let hashes = clip.hashes();
    let kept: Vec<_> = hashes[..45].iter().chain(&hashes[60..]).cloned().collect();
    probe.stream("vp8").expect_frames(&kept);
    let gap = probe.stream("vp8").times[45] - probe.stream("vp8").times[44];
    assert!((gap - 16.0 / 30.0).abs() < 0.01, "time goes on over the gap: {gap}");
    decodes(&file);
    let events = std::fs::read_to_string(node.archive(&start).join("events.jsonl")).unwrap();
    assert!(events.contains(r#""event":"gap","track":2,"packets":1,"reason":"overload""#), "{events}");
}

/// What the recorder says of its only track when it says it next.
fn stats(node: &mut Node) -> TrackStats {
    loop {
        if let FromRecorder::Stats { mut tracks } = node.hear()
            && let Some(stats) = tracks.pop()
            && stats.lost > 0
        {
            return stats;
        }
    }
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn on_a_bad_network_what_is_kept_is_where_it_belongs() {
    let (mut node, _recorder) = Node::with_recorder();
    let start = session("s1");
    let clips = [Clip::sound(6), Clip::picture(Codec::Vp8, "320x240", 6)];
    node.begin(
        &start,
        &[track(&start, 1, Source::Microphone, Codec::Opus), track(&start, 2, Source::Camera, Codec::Vp8)],
    );
    let mut senders = [Sender::new(1, &clips[0]), Sender::new(2, &clips[1])];
    senders[1].delay_us = 180_000;
    let (mut dice, mut packets) = (Dice(7), Vec::new());
    for (index, sender) in senders.iter_mut().enumerate() {
        node.send_report(sender, 0);
        let mut first = true;
        while sender.next_at().is_some() {
            for mut packet in sender.packets() {
                // One in fifty is lost, every packet is up to 80 ms late, some overtake others.
                if !first && dice.below(50) == 0 {
                    node.frame(&Frame::Gap {
                        track: sender.track,
                        ssrc: sender.ssrc,
                        from: packet.seq,
                        to: packet.seq,
                        reason: GapReason::Loss,
                    });
                    continue;
                }
                packet.arrival.0 += if first { 0 } else { dice.below(80_000) };
                first = false;
                packets.push((index, packet));
            }
        }
    }
    packets.sort_by_key(|(_, packet)| packet.arrival);
    let mut reported = 0;
    for (index, packet) in &packets {
        let at = packet.arrival.0 - crate::support::BEGAN;
        if at / 1_000_000 > reported {
            reported = at / 1_000_000;
            senders.iter().for_each(|sender| node.send_report(sender, at - sender.delay_us));
        }
        node.send_packet(&senders[*index], packet);
    }
    node.stop(&start);

    let file = node.archive(&start).join("9-camera-1.webm");
    let probe = Probe::read(&file);
    decodes(&file);
    let mut offsets = Vec::new();
    for (codec, clip, early) in [("opus", &clips[0], 0.0065), ("vp8", &clips[1], 0.0)] {
        let (stream, hashes) = (probe.stream(codec), clip.hashes());
        assert!(stream.hashes.len() > hashes.len() / 3 && stream.hashes.len() < hashes.len());
        for (hash, time) in stream.hashes.iter().zip(&stream.times) {
            let index = hashes.iter().position(|other| other == hash).unwrap();
            offsets.push(time + early - index as f64 * clip.step_us as f64 / 1e6);
        }
    }
    let least = offsets.iter().copied().fold(f64::MAX, f64::min);
    let most = offsets.iter().copied().fold(f64::MIN, f64::max);
    assert!(most - least < 0.02, "frames are up to {} s off", most - least);
}
