//! Data channels from publishers to viewers, over real SCTP.

mod ending;

use std::collections::BTreeSet;

use lockgate_model::ChannelLoss;
use lockgate_transport::data::{Channel, MAX_MESSAGE, Message, Reliability};

use super::*;

/// An offer with a line for data channels behind the others.
fn with_data(offer: String, mid: usize, fingerprint: &str) -> String {
    let bundle = offer.lines().find(|line| line.starts_with("a=group:BUNDLE")).unwrap().to_owned();
    let lines = [
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel".to_owned(),
        "c=IN IP4 0.0.0.0".into(),
        format!("a=mid:{mid}"),
        "a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901".into(),
        format!("a=fingerprint:{fingerprint}\r\na=setup:actpass"),
        "a=sctp-port:5000\r\na=max-message-size:262144\r\n".into(),
    ];
    offer.replace(&bundle, &format!("{bundle} {mid}")) + &lines.join("\r\n")
}

/// What a publisher of a camera offers with data channels, and what is admitted of it.
fn offer_of(world: &World, client: usize, names: &[&str]) -> (String, Vec<AdmittedMedia>) {
    let fingerprint = world.clients[client].peer.fingerprint();
    let offer = with_data(publish_offer(&fingerprint, names, &[]), names.len(), &fingerprint);
    let mut decided = admitted(names);
    decided.push(AdmittedMedia { mid: names.len().to_string(), track: Some(track("data")), max_bitrate: None });
    (offer, decided)
}

/// A publisher of a camera and of data channels, connected.
pub(super) fn publisher(world: &mut World) -> usize {
    publisher_of(world, "camera")
}

/// A publisher of a picture of this name and of data channels, connected.
pub(super) fn publisher_of(world: &mut World, name: &str) -> usize {
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    let (offer, decided) = offer_of(world, client, &[name]);
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert!(answer.sdp.contains("m=application 9 ") && answer.sdp.contains("BUNDLE 0 1\r\n"));
    world.connect(client, &answer.sdp);
    world.clients[client].peer.start_data(world.now);
    run(world, 20);
    client
}

fn run(world: &mut World, milliseconds: usize) {
    (0..milliseconds).for_each(|_| world.advance(Duration::from_millis(1)));
}

pub(super) fn channel(label: &str, ordered: bool, reliability: Reliability) -> Channel {
    Channel { label: label.into(), protocol: "p".into(), ordered, reliability }
}

/// Opens a channel; the engine tells of it.
fn open(world: &mut World, client: usize, stream: u16, channel: Channel) {
    let now = world.now;
    world.clients[client].peer.data.as_mut().unwrap().open(now, stream, channel);
    run(world, 5);
}

/// Opens a channel that is admitted under its label.
pub(super) fn publish(world: &mut World, client: usize, stream: u16, channel: Channel) {
    let (label, transport) = (channel.label.clone(), world.clients[client].transport);
    open(world, client, stream, channel);
    assert!(world.engine.admit_channel(world.now, transport, stream, &track(&label)));
    run(world, 5);
}

/// A viewer of these, connected.
pub(super) fn viewer(world: &mut World, names: &[&str]) -> usize {
    let client = late_viewer(world, names);
    world.clients[client].peer.start_data(world.now);
    run(world, 20);
    client
}

/// A viewer of these, connected, that has not begun with data yet: everything waits for it.
pub(super) fn late_viewer(world: &mut World, names: &[&str]) -> usize {
    let transport = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let client = world.add_client(transport);
    names.iter().for_each(|name| want(world, client, name));
    let offer = world.take_offer(client);
    assert_eq!(world.clients[client].tracks, names);
    world.answer(client, &offer);
    world.connect(client, &offer);
    client
}

/// What waits for a viewer.
fn waiting(world: &mut World, client: usize) -> usize {
    let key = Key::from_u64(world.clients[client].transport.0);
    world.engine.transports.get_mut(key).unwrap().subscribe_mut().unwrap().0.data.waiting
}

/// Asks for a track without waiting for the offer.
pub(super) fn want(world: &mut World, client: usize, name: &str) {
    let limits = Limits::default();
    let wanted = Subscription { track: track(name), stream: "42".into(), cause: 42, limits };
    world.engine.subscribe(world.now, world.clients[client].transport, wanted);
}

pub(super) fn send(world: &mut World, client: usize, stream: u16, message: Message) {
    let now = world.now;
    world.clients[client].peer.data.as_mut().unwrap().send(now, stream, message);
    world.pump();
}

pub(super) fn text(text: &str) -> Message {
    Message { text: true, bytes: text.as_bytes().to_vec().into() }
}

pub(super) fn binary(len: usize) -> Message {
    Message { text: false, bytes: (0..len).map(|at| (at * 7) as u8).collect() }
}

/// What a viewer got, each with its channel's label.
pub(super) fn got(world: &mut World, client: usize) -> Vec<(String, Message)> {
    let data = world.clients[client].peer.data.as_mut().unwrap();
    let messages = std::mem::take(&mut data.messages);
    messages.into_iter().map(|(id, message)| (data.channels[&id].label.clone(), message)).collect()
}

pub(super) fn named(label: &str, messages: &[Message]) -> Vec<(String, Message)> {
    messages.iter().map(|message| (label.to_owned(), message.clone())).collect()
}

#[test]
fn every_viewer_gets_every_message_on_a_channel_like_the_publishers() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    publish(&mut world, ann, 2, channel("cursor", false, Reliability::Retransmits(0)));
    let opened = world.events.iter().filter_map(|event| match event {
        RouterEvent::ChannelOpened { stream, channel, .. } => Some((*stream, channel.ordered, channel.max_retransmits)),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [(0, true, None), (2, false, Some(0))]);
    let viewers = [viewer(&mut world, &["camera", "chat", "cursor"]), viewer(&mut world, &["chat"])];
    let words = [text("hello"), text(""), binary(0), binary(100_000), binary(MAX_MESSAGE), text("last")];
    words.iter().for_each(|message| send(&mut world, ann, 0, message.clone()));
    send(&mut world, ann, 2, text("here"));
    run(&mut world, 500);
    for viewer in viewers {
        let (cursor, chat): (Vec<_>, Vec<_>) =
            got(&mut world, viewer).into_iter().partition(|(label, _)| label == "cursor");
        assert!(chat == named("chat", &words), "viewer {viewer}");
        assert_eq!(cursor.len(), usize::from(viewer == viewers[0]));
    }
    let data = world.clients[viewers[0]].peer.data.as_ref().unwrap();
    let kinds: Vec<_> =
        data.channels.iter().map(|(id, own)| (id % 2, own.ordered, own.reliability, &own.protocol[..])).collect();
    let expected = [(1, true, Reliability::Reliable, "p"), (1, false, Reliability::Retransmits(0), "p")];
    assert_eq!(kinds, expected, "as they were published, by ids of ours");
    let counters = world.engine.counters();
    assert_eq!((counters.data_in, counters.data_out, counters.data_channels), (7, 13, 2));
}

#[test]
fn sixty_viewers_get_every_message() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let viewers: Vec<_> = (0..60)
        .map(|_| {
            world.keep_alive();
            viewer(&mut world, &["chat"])
        })
        .collect();
    let words: Vec<_> = (0..50).map(|word| text(&format!("word {word}"))).collect();
    words.iter().for_each(|word| send(&mut world, ann, 0, word.clone()));
    run(&mut world, 100);
    for viewer in viewers {
        assert_eq!(got(&mut world, viewer), named("chat", &words), "viewer {viewer}");
    }
}

#[test]
fn a_channel_outlives_renegotiation_and_media_flows_beside_it() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    let (transport, fingerprint) = (world.clients[ann].transport, world.clients[ann].peer.fingerprint());
    // The second camera's line comes behind that of the data channels.
    let base = with_data(publish_offer(&fingerprint, &["camera"], &[]), 1, &fingerprint);
    let second = publish_offer(&fingerprint, &["camera", "screen"], &[]);
    let line = second.split("m=video").nth(2).unwrap().replace("a=mid:1", "a=mid:2");
    let offer = base.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + "m=video" + &line;
    let mut decided = admitted(&["camera", "data", "screen"]);
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert_eq!((answer.tracks.len(), answer.sdp.matches("m=application 9 ").count()), (2, 1));
    want(&mut world, bob, "screen");
    let offer = world.take_offer(bob);
    assert_eq!(world.clients[bob].tracks, ["screen", "chat"]);
    let sections: Vec<_> = read_offer(&offer).unwrap().sections.into_iter().map(|own| (own.mid, own.media)).collect();
    assert_eq!(sections, [("0".into(), "application".into()), ("1".into(), "video".into())]);
    world.answer(bob, &offer);
    send(&mut world, ann, 0, text("still here"));
    world.send(ann, &Picture::new(9, 1).key().bytes());
    run(&mut world, 20);
    assert_eq!(got(&mut world, bob), named("chat", &[text("still here")]));
    // Policy takes data back: the line is refused, and the channel over.
    decided[1].track = None;
    let offer = base.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + "m=video" + &line;
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert!(answer.sdp.contains("m=application 0 "));
    run(&mut world, 20);
    assert_eq!(
        (world.clients[bob].peer.data.as_ref().unwrap().closed.len(), world.engine.counters().data_channels),
        (1, 0)
    );
}

#[test]
fn a_viewer_that_begins_before_its_answer_is_here_waits_for_nothing() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = world.viewer("camera", Limits::default());
    want(&mut world, bob, "chat");
    let offer = world.take_offer(bob);
    world.clients[bob].peer.start_data(world.now);
    run(&mut world, 5);
    world.answer(bob, &offer);
    run(&mut world, 20);
    send(&mut world, ann, 0, text("at once"));
    run(&mut world, 5);
    assert_eq!(got(&mut world, bob), named("chat", &[text("at once")]));
}

#[test]
fn nothing_is_forwarded_that_was_not_admitted_or_asked_for() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    let transport = world.clients[ann].transport;
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    open(&mut world, ann, 2, channel("other", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    send(&mut world, ann, 2, text("not admitted"));
    run(&mut world, 10);
    assert_eq!((got(&mut world, bob), world.dropped(DropReason::DataUnusable)), (Vec::new(), 1));
    world.engine.refuse_channel(world.now, transport, 2);
    run(&mut world, 10);
    assert_eq!(world.clients[ann].peer.data.as_ref().unwrap().closed, [2]);
    assert!(!world.engine.admit_channel(world.now, transport, 2, &track("other")), "it is gone");
    assert!(!world.engine.admit_channel(world.now, transport, 0, &track("twice")), "it has a name");
    // A viewer has no say.
    let now = world.now;
    world.clients[bob].peer.data.as_mut().unwrap().open(now, 0, channel("mine", true, Reliability::Reliable));
    run(&mut world, 10);
    assert_eq!(world.clients[bob].peer.data.as_ref().unwrap().closed, [0]);
    // Muted, paused, unsubscribed.
    world.engine.set_muted(world.router, &track("chat"), true);
    send(&mut world, ann, 0, text("muted"));
    run(&mut world, 5);
    world.engine.set_muted(world.router, &track("chat"), false);
    let viewer = world.clients[bob].transport;
    world.engine.set_limits(world.now, viewer, &track("chat"), Limits { paused: true, ..Limits::default() });
    send(&mut world, ann, 0, text("paused"));
    run(&mut world, 5);
    world.engine.set_limits(world.now, viewer, &track("chat"), Limits::default());
    send(&mut world, ann, 0, text("heard"));
    run(&mut world, 5);
    assert_eq!(got(&mut world, bob), named("chat", &[text("heard")]));
    world.engine.unsubscribe(world.now, viewer, &track("chat"), 42);
    send(&mut world, ann, 0, text("unsubscribed"));
    run(&mut world, 10);
    let data = world.clients[bob].peer.data.as_ref().unwrap();
    assert_eq!((data.messages.len(), data.closed.len()), (0, 2));
    let offer = world.take_offer(bob);
    assert!(world.clients[bob].tracks.is_empty() && offer.contains("m=application 9 "), "the line stays");
}

#[test]
fn a_publisher_whose_offer_was_refused_data_opens_no_channel() {
    let mut world = World::new();
    let transport = world.engine.create_publish_transport(world.now, world.router).unwrap();
    let ann = world.add_client(transport);
    let (offer, mut decided) = offer_of(&world, ann, &["camera"]);
    decided[1].track = None;
    let answer = world.engine.accept_offer(world.now, transport, &offer, &decided).unwrap();
    assert!(answer.sdp.contains("m=application 0 ") && answer.sdp.contains("BUNDLE 0\r\n"));
    world.connect(ann, &answer.sdp);
    world.clients[ann].peer.start_data(world.now);
    run(&mut world, 3_000);
    assert!(!world.clients[ann].peer.data.as_ref().unwrap().established);
}

#[test]
fn a_viewer_whose_association_is_over_is_told_that_it_gets_no_channel() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    let lost = |world: &World, loss| {
        let (transport, track) = (world.clients[bob].transport, track("chat"));
        world
            .events
            .iter()
            .filter(|event| **event == RouterEvent::ChannelLost { transport, track: track.clone(), loss })
            .count()
    };
    world.clients[bob].peer.data.as_mut().unwrap().abort();
    run(&mut world, 10);
    assert_eq!(lost(&world, ChannelLoss::Closed), 1, "its own doing");
    for again in 1..3 {
        want(&mut world, bob, "chat");
        let offer = world.take_offer(bob);
        assert_eq!(world.clients[bob].tracks, [""; 0]);
        world.answer(bob, &offer);
        assert_eq!(lost(&world, ChannelLoss::Unable), again);
    }
}

#[test]
fn a_channel_whose_name_is_taken_here_is_closed_and_that_is_told() {
    let mut world = World::new();
    let (ann, bob) = (publisher(&mut world), publisher_of(&mut world, "second"));
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    open(&mut world, bob, 0, channel("chat", true, Reliability::Reliable));
    open(&mut world, bob, 2, channel("chat", true, Reliability::Reliable));
    let transport = world.clients[bob].transport;
    for (stream, name) in [(0, "chat"), (2, "camera")] {
        assert!(!world.engine.admit_channel(world.now, transport, stream, &track(name)), "{name}");
    }
    run(&mut world, 10);
    assert_eq!(world.clients[bob].peer.data.as_ref().unwrap().closed, [0, 2]);
    let closed = |stream| RouterEvent::ChannelClosed { transport, stream };
    assert!([0, 2].iter().all(|stream| world.events.contains(&closed(*stream))));
    assert_eq!(world.engine.counters().data_channels, 1);
}

#[test]
fn a_viewer_that_does_not_keep_up_loses_its_channel_and_slows_nobody_down() {
    for (reliability, ended) in [(Reliability::Reliable, true), (Reliability::Retransmits(3), false)] {
        let mut world = World::new();
        let ann = publisher(&mut world);
        publish(&mut world, ann, 0, channel("file", true, reliability));
        let [slow, quick] = [viewer(&mut world, &["file"]), viewer(&mut world, &["file"])];
        // Nothing reaches the slow one any more.
        let path = std::mem::replace(&mut world.clients[slow].path.remote, SocketAddr::from(([127, 0, 0, 1], 1)));
        for _ in 0..20 {
            send(&mut world, ann, 0, binary(50_000));
            run(&mut world, 50);
        }
        assert_eq!(got(&mut world, quick).len(), 20, "{reliability:?}");
        let lost = RouterEvent::ChannelLost {
            transport: world.clients[slow].transport,
            track: track("file"),
            loss: ChannelLoss::Behind,
        };
        assert_eq!(world.events.contains(&lost), ended, "{reliability:?}");
        let counts = [DropReason::DataBehind, DropReason::DataLate].map(|reason| world.dropped(reason));
        assert_eq!((counts[0], counts[1] > 0), (u64::from(ended), !ended), "{reliability:?}");
        world.clients[slow].path.remote = path;
        world.keep_alive();
        run(&mut world, 14_000);
        world.keep_alive();
        run(&mut world, 10_000);
        let closed = world.clients[slow].peer.data.as_ref().unwrap().closed.len();
        assert_eq!(closed, usize::from(ended), "{reliability:?}");
        if !ended {
            send(&mut world, ann, 0, text("news"));
            world.keep_alive();
            run(&mut world, 5_000);
            assert_eq!(got(&mut world, slow).last().unwrap().1, text("news"));
        }
    }
}

#[test]
fn routers_do_not_hear_each_other_and_ends_leave_nothing_behind() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    publish(&mut world, ann, 0, channel("chat", true, Reliability::Reliable));
    let bob = viewer(&mut world, &["chat"]);
    let other = world.engine.create_router();
    let stranger = world.engine.create_subscribe_transport(world.now, other).unwrap();
    let stranger = world.add_client(stranger);
    want(&mut world, stranger, "chat");
    world.pump();
    let offered = |event: &RouterEvent| matches!(event, RouterEvent::Offer { transport, .. } if *transport == world.clients[stranger].transport);
    assert!(!world.events.iter().any(offered));
    let [ann, bob] = [ann, bob].map(|client| world.clients[client].transport);
    world.engine.close_transport(world.now, ann);
    world.pump();
    assert_eq!(world.engine.counters().data_channels, 0);
    world.engine.close_transport(world.now, bob);
    run(&mut world, 10);
    assert!(world.engine.routers.iter().all(|router| router.data.is_empty()));
}

#[test]
fn a_publisher_that_opens_channels_without_end_tells_of_few() {
    let mut world = World::new();
    let ann = publisher(&mut world);
    for round in 0..40_u16 {
        let now = world.now;
        let data = world.clients[ann].peer.data.as_mut().unwrap();
        (0..5).for_each(|at| data.open(now, 2 * (5 * round + at), channel("c", true, Reliability::Reliable)));
        run(&mut world, 5);
        let (now, data) = (world.now, world.clients[ann].peer.data.as_mut().unwrap());
        let open: Vec<_> = data.channels.keys().copied().collect();
        open.into_iter().for_each(|id| data.close(now, id));
        run(&mut world, 5);
    }
    let told = world.events.iter().filter(|event| matches!(event, RouterEvent::ChannelOpened { .. })).count();
    assert!((64..70).contains(&told), "{told}");
    assert!(world.dropped(DropReason::DataChannel) >= 130);
}
