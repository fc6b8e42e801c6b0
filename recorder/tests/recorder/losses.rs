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
    assert_eq!((stats.lost, stats.plis), (1, 1));
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
