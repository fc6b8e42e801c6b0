//! Data channels whose viewers are in other engines than their publishers.

use lockgate_transport::data::{Channel, Message, Reliability};

use super::data::{binary, got, late_viewer, named, publish, publisher, publisher_of, send, text, viewer, want};
use super::pipes::{Pair, answer_all};
use super::*;
use crate::ids::PipeId;

#[test]
fn data_channels_reach_viewers_of_other_engines_and_end_there() {
    let mut pair = Pair::new();
    let ann = publisher(&mut pair.home);
    pair.away.now = pair.home.now;
    for (stream, label, reliability) in [(0, "chat", Reliability::Reliable), (2, "cursor", Reliability::Lifetime(100))]
    {
        let channel = Channel { label: label.into(), protocol: String::new(), ordered: stream == 0, reliability };
        publish(&mut pair.home, ann, stream, channel);
    }
    pair.carry();
    pair.carried();
    send(&mut pair.home, ann, 0, binary(10_000));
    pair.advance(Duration::from_millis(5));
    assert_eq!(pair.carried(), 0, "nobody there wants it");
    let bob = viewer(&mut pair.away, &["chat"]);
    pair.carry();
    let words = [text(""), binary(200_000), text("word")];
    words.iter().for_each(|message| send(&mut pair.home, ann, 0, message.clone()));
    for _ in 0..200 {
        pair.advance(Duration::from_millis(5));
    }
    assert!(got(&mut pair.away, bob) == named("chat", &words));
    let now = pair.home.now;
    let data = pair.home.clients[ann].peer.data.as_mut().unwrap();
    data.send(now, 0, Message { text: true, bytes: "bye".into() });
    data.close(now, 0);
    for _ in 0..20 {
        pair.advance(Duration::from_millis(5));
    }
    let data = pair.away.clients[bob].peer.data.as_ref().unwrap();
    assert_eq!((&data.messages[0].1, data.closed.len()), (&text("bye"), 1));
}

fn reliable(label: &str) -> Channel {
    Channel { label: label.into(), protocol: String::new(), ordered: true, reliability: Reliability::Reliable }
}

/// Carries everything over a pipe between two engines until nothing moves.
fn carry_between(worlds: [&mut World; 2], ends: [PipeId; 2]) {
    loop {
        let mut moved = false;
        for from in [0, 1] {
            while worlds[from].engine.poll_pipe().is_some() {}
            let batch = worlds[from].engine.pipe_bytes(ends[from]).map(std::mem::take).unwrap_or_default();
            moved |= !batch.is_empty();
            let to = 1 - from;
            let now = worlds[to].now;
            assert_eq!(worlds[to].engine.handle_pipe(now, ends[to], &batch), batch.len());
            worlds[to].pump();
        }
        if !moved {
            return;
        }
    }
}

#[test]
fn a_data_channel_goes_to_that_of_several_engines_where_it_is_wanted() {
    let mut pair = Pair::new();
    let ann = publisher(&mut pair.home);
    pair.away.now = pair.home.now;
    let mut far = World::new();
    far.now = pair.home.now;
    let ends = [
        pair.home.engine.open_pipe(pair.home.now, pair.home.router).unwrap(),
        far.engine.open_pipe(far.now, far.router).unwrap(),
    ];
    carry_between([&mut pair.home, &mut far], ends);
    publish(&mut pair.home, ann, 0, reliable("chat"));
    pair.carry();
    carry_between([&mut pair.home, &mut far], ends);
    let bob = viewer(&mut far, &["chat"]);
    carry_between([&mut pair.home, &mut far], ends);
    pair.carried();
    send(&mut pair.home, ann, 0, text("to the far one"));
    carry_between([&mut pair.home, &mut far], ends);
    pair.carry();
    (0..20).for_each(|_| far.advance(Duration::from_millis(1)));
    assert_eq!(got(&mut far, bob), named("chat", &[text("to the far one")]));
    assert_eq!(pair.carried(), 0, "nobody wants it at the other one");
}

#[test]
fn what_was_taken_away_is_not_delivered_by_another_engine_either() {
    for (unpublished, delivered) in [(true, 0), (false, 3)] {
        let mut pair = Pair::new();
        let ann = publisher(&mut pair.home);
        pair.away.now = pair.home.now;
        publish(&mut pair.home, ann, 0, reliable("chat"));
        pair.carry();
        let bob = late_viewer(&mut pair.away, &["chat"]);
        pair.carry();
        (0..3).for_each(|_| send(&mut pair.home, ann, 0, binary(10_000)));
        pair.carry();
        let (now, transport) = (pair.home.now, pair.home.clients[ann].transport);
        if unpublished {
            pair.home.engine.unpublish(now, transport, &track("chat"));
        } else {
            pair.home.clients[ann].peer.data.as_mut().unwrap().close(now, 0);
        }
        (0..5).for_each(|_| pair.advance(Duration::from_millis(5)));
        pair.away.clients[bob].peer.start_data(pair.away.now);
        (0..100).for_each(|_| pair.advance(Duration::from_millis(5)));
        assert_eq!(pair.away.clients[bob].peer.data.as_ref().unwrap().messages.len(), delivered);
    }
}

#[test]
fn a_name_that_goes_over_to_a_channel_of_another_engine_is_not_lost() {
    let mut pair = Pair::new();
    let bob = publisher_of(&mut pair.away, "second");
    pair.home.now = pair.away.now;
    publish(&mut pair.away, bob, 0, reliable("chat"));
    pair.carry();
    let ann = publisher(&mut pair.home);
    pair.away.now = pair.home.now;
    // Bob has closed his, and the name is Ann's; word of the end is still on its way.
    publish(&mut pair.home, ann, 0, reliable("chat"));
    pair.carry();
    let now = pair.away.now;
    pair.away.clients[bob].peer.data.as_mut().unwrap().close(now, 0);
    (0..5).for_each(|_| pair.advance(Duration::from_millis(5)));
    let (here, there) = (viewer(&mut pair.home, &["chat"]), viewer(&mut pair.away, &["chat"]));
    pair.carry();
    send(&mut pair.home, ann, 0, text("hers"));
    (0..5).for_each(|_| pair.advance(Duration::from_millis(5)));
    assert_eq!(got(&mut pair.home, here), named("chat", &[text("hers")]));
    assert_eq!(got(&mut pair.away, there), named("chat", &[text("hers")]));
    // Whatever was kept for later is forgotten with its end.
    publish(&mut pair.away, bob, 2, reliable("other"));
    pair.carry();
    publish(&mut pair.home, ann, 2, reliable("other"));
    pair.carry();
    let now = pair.home.now;
    pair.home.clients[ann].peer.data.as_mut().unwrap().close(now, 2);
    (0..5).for_each(|_| pair.advance(Duration::from_millis(5)));
    pair.away.engine.unpublish(pair.away.now, pair.away.clients[bob].transport, &track("other"));
    pair.carry();
    want(&mut pair.away, there, "other");
    pair.away.pump();
    assert!(pair.away.engine.find_channel(pair.away.router, &track("other")).is_none());
}

#[test]
fn a_reliable_channel_that_a_pipe_could_not_take_can_be_had_anew() {
    let mut pair = Pair::new();
    let ann = publisher(&mut pair.home);
    pair.away.now = pair.home.now;
    publish(&mut pair.home, ann, 0, reliable("file"));
    pair.carry();
    let bob = viewer(&mut pair.away, &["file"]);
    pair.home.now = pair.away.now;
    pair.carry();
    for _ in 0..200 {
        send(&mut pair.home, ann, 0, binary(100_000));
        pair.home.advance(Duration::from_millis(100));
        pair.home.keep_alive();
        if pair.home.dropped(DropReason::PipeOverflow) > 0 {
            break;
        }
    }
    assert_eq!(pair.home.dropped(DropReason::PipeOverflow), 1);
    pair.away.now = pair.home.now;
    pair.away.keep_alive();
    for _ in 0..200 {
        pair.advance(Duration::from_millis(5));
    }
    assert_eq!(pair.away.clients[bob].peer.data.as_ref().unwrap().closed.len(), 1);
    let lost = pair.away.events.iter().filter(|event| {
        matches!(event, RouterEvent::ChannelLost { track: own, loss: ChannelLoss::Behind, .. } if *own == track("file"))
    });
    assert_eq!(lost.count(), 1, "who did not ask for it is told");
    want(&mut pair.away, bob, "file");
    answer_all(&mut pair.away, bob);
    pair.advance(Duration::from_millis(20));
    pair.advance(Duration::from_millis(20));
    send(&mut pair.home, ann, 0, text("anew"));
    (0..10).for_each(|_| pair.advance(Duration::from_millis(5)));
    let messages = &pair.away.clients[bob].peer.data.as_ref().unwrap().messages;
    assert_eq!(messages.last().map(|(_, message)| message), Some(&text("anew")));
}
