//! Participants that wish the others ill, in virtual time: what they can cost is bounded and counted, and the others get, byte for
//! byte, what they get without them.

use bytes::Bytes;
use lockgate_model::testing::{cases, damaged, damaged_text};
use lockgate_rtp::{ReportBlock, TwccPacket};
use lockgate_transport::data::Reliability;
use proptest::prelude::*;

use super::*;
use crate::negotiate::ViewersAnswer;

/// What came of a call of Ann, who publishes in two encodings and makes every key frame that she is asked for, and Bob, who watches,
/// while Eve did as she liked.
struct Played {
    world: World,
    /// All packets that Bob got. Whether pictures are key frames is left out, as Eve may ask for some.
    bob: Vec<Vec<u8>>,
    /// Bytes that went to Eve.
    eve: usize,
    /// How often Ann was asked for a key frame.
    asked: usize,
}

/// Eve watches, too.
fn watching(attack: impl FnMut(&mut World, usize)) -> Played {
    play(|world| world.viewer("camera", Limits::default()), attack)
}

/// Eve comes in by `join`, and then acts once a picture.
fn play(join: impl FnOnce(&mut World) -> usize, mut attack: impl FnMut(&mut World, usize)) -> Played {
    let mut world = World::new();
    let ann = world.publisher("camera", &RIDS);
    let bob = world.viewer("camera", Limits::default());
    let eve = join(&mut world);
    let mut call = Played { world, bob: Vec::new(), eve: 0, asked: 0 };
    let mut wanted = [true; 2];
    for picture in 1..=CALM + HOSTILE {
        call.world.advance(Duration::from_millis(33));
        if picture.is_multiple_of(60) {
            call.world.keep_alive();
        }
        for one in feedback(&call.world.feedback(ann)) {
            if let Feedback::KeyFrameRequest { ssrc } = one {
                wanted[ssrc as usize - 1] = true;
                call.asked += usize::from(picture > CALM);
            }
        }
        for (encoding, rid) in RIDS.into_iter().enumerate() {
            let key = std::mem::take(&mut wanted[encoding]);
            let sent = Picture { key, ..Picture::new(encoding as u32 + 1, picture) }.rid(rid);
            call.world.send(ann, &sent.bytes());
        }
        if picture > CALM {
            attack(&mut call.world, eve);
        }
        call.note(picture > CALM, bob, eve);
    }
    call
}

impl Played {
    fn note(&mut self, counts: bool, bob: usize, eve: usize) {
        let came = std::mem::take(&mut self.world.clients[bob].peer.rtp);
        self.world.clients[bob].peer.rtcp.clear();
        if !counts {
            return;
        }
        // Her last one stays: she goes by its numbers.
        let hers = &mut self.world.clients[eve].peer.rtp;
        let old = hers.len().saturating_sub(1);
        self.eve += hers.drain(..old).map(|packet| packet.len()).sum::<usize>();
        self.bob.extend(came.into_iter().map(|mut packet| {
            let flag = packet.len() - 2;
            packet[flag] = 0;
            packet
        }));
    }
}

const RIDS: [&str; 2] = ["low", "high"];
/// Pictures before Eve begins, until everybody has what they may have, and after.
const CALM: u16 = 90;
const HOSTILE: u16 = 300;
/// So long Eve acts.
const SECONDS: usize = 10;

/// The last packet of a picture that came to Eve: its source, its number, and its number on the whole connection.
fn last_of(world: &World, eve: usize) -> Option<(u32, u16, u64)> {
    let packet = world.clients[eve].peer.rtp.iter().rfind(|packet| packet[1] & 0x7f == 96)?;
    let header = Header::parse(packet).unwrap();
    let wide = header.extensions(packet).find(|element| element.id == 5)?.value;
    Some((header.ssrc, header.sequence, u64::from(u16::from_be_bytes(wide.try_into().unwrap()))))
}

#[test]
fn a_storm_of_requests_for_packets_costs_nobody_else_anything() {
    let calm = watching(|_, _| {});
    let storm = watching(|world, eve| {
        let Some((ssrc, last, _)) = last_of(world, eve) else { return };
        let missing: Vec<_> = (0..400).map(|back| last.wrapping_sub(back)).collect();
        (0..20).for_each(|_| world.send_rtcp(eve, &written(|out| write::nack(out, 1, ssrc, &missing))));
    });
    assert_eq!(storm.bob, calm.bob);
    let again = storm.world.engine.counters().retransmissions_out;
    assert!((500..=500 * (SECONDS as u64 + 1)).contains(&again), "{again} packets again");
    assert!(storm.world.dropped(DropReason::TooManyRepairs) > 1000);
}

#[test]
fn a_storm_of_requests_for_key_frames_reaches_the_publisher_now_and_then() {
    let calm = watching(|_, _| {});
    let storm = watching(|world, eve| {
        let Some((ssrc, ..)) = last_of(world, eve) else { return };
        for _ in 0..20 {
            world.send_rtcp(eve, &written(|out| write::pli(out, 1, ssrc)));
            world.send_rtcp(eve, &written(|out| write::fir(out, 1, ssrc, 7)));
        }
    });
    assert_eq!(storm.bob, calm.bob);
    assert_eq!(calm.asked, 0);
    // Some at once, as of one who has just come, then one every two seconds.
    assert!((8..=8 + SECONDS / 2 + 1).contains(&storm.asked), "asked {} times", storm.asked);
    assert!(storm.world.dropped(DropReason::TooManyKeyFrames) > 1000);
}

#[test]
fn who_leaves_and_comes_back_has_asked_for_no_fewer_key_frames() {
    let calm = watching(|_, _| {});
    let storm = watching(|world, eve| {
        let transport = world.clients[eve].transport;
        world.engine.unsubscribe(world.now, transport, &track("camera"), 42);
        let offer = world.take_offer(eve);
        world.answer(eve, &offer);
        world.subscribe(eve, "camera", Limits::default());
        let offer = world.take_offer(eve);
        world.answer(eve, &offer);
    });
    assert_eq!(storm.bob, calm.bob);
    assert!(storm.asked <= 8 + SECONDS / 2 + 1, "asked {} times", storm.asked);
}

#[test]
fn a_viewer_that_changes_its_mind_all_the_time_changes_nothing_for_others() {
    let calm = watching(|_, _| {});
    let mut turn = 0_u32;
    let storm = watching(|world, eve| {
        let transport = world.clients[eve].transport;
        for _ in 0..3401 {
            turn += 1;
            let max_layer = if turn.is_multiple_of(2) { Layer::MAX } else { Layer::new(0, 0) };
            let limits = Limits { max_layer, ..Limits::default() };
            world.engine.set_limits(world.now, transport, &track("camera"), limits);
        }
        world.pump();
    });
    assert!(turn > 1_000_000);
    assert_eq!(storm.bob, calm.bob);
    assert!(storm.asked <= 8 + SECONDS / 2 + 1, "asked {} times", storm.asked);
    let [told, before] = [&storm, &calm].map(|call| call.world.events.len());
    assert!(told <= before + 2 * usize::from(HOSTILE), "told {told} things instead of {before}");
}

/// Reports of what cannot be: of packets that were never sent, of arrivals all at once, before they were sent, and not at all; and
/// limits of nothing and of everything.
fn lies(sent: u64, turn: u64) -> Vec<Vec<u8>> {
    let report = |numbers: std::ops::Range<u64>, arrival: &dyn Fn(u64) -> u64| {
        let packets: Vec<_> = numbers.map(|number| TwccPacket { number, arrival_us: arrival(number) }).collect();
        written(|out| assert!(write::twcc(out, 1, 2, turn as u8, packets[0].number, &packets)))
    };
    let begin = 1_000_000 + turn * 33_000;
    let first = sent.saturating_sub(40);
    let remb =
        |exponent: u8| vec![0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, exponent, 0xff, 0xff];
    let lost = ReportBlock { ssrc: 1, fraction_lost: 255, lost: u32::MAX, ..ReportBlock::default() };
    vec![
        report(sent + 20_000..sent + 20_200, &|number| begin + number),
        report(first..sent + 1, &|_| begin),
        report(first..sent + 1, &|number| begin + 8_000_000 - (number - first) * 4000),
        report(sent..sent + 1, &|_| begin),
        remb(0xff),
        remb(0),
        written(|out| write::receiver_report(out, 1, &[lost])),
    ]
}

#[test]
fn lying_reports_are_counted_and_change_nothing_for_others() {
    let calm = watching(|_, _| {});
    let mut turn = 0;
    let storm = watching(|world, eve| {
        let Some((.., wide)) = last_of(world, eve) else { return };
        turn += 1;
        for lie in lies(wide, turn) {
            (0..5).for_each(|_| world.send_rtcp(eve, &lie));
        }
    });
    assert!(turn > 250);
    assert_eq!(storm.bob, calm.bob);
    assert_eq!(storm.asked, calm.asked);
    assert!(storm.world.dropped(DropReason::Feedback) > 50_000);
    assert!(storm.eve <= calm.eve * 2, "{} bytes where {} are sent without lies", storm.eve, calm.eve);
}

#[test]
fn a_flood_of_data_is_counted_and_holds_up_no_picture() {
    let join = |world: &mut World| {
        let eve = data::publisher_of(world, "noise");
        data::publish(world, eve, 0, data::channel("flood", true, Reliability::Reliable));
        eve
    };
    let calm = play(join, |_, _| {});
    let storm = play(join, |world, eve| {
        let now = world.now;
        let peer = world.clients[eve].peer.data.as_mut().unwrap();
        peer.send(now, 0, data::binary(10_000));
        for packet in peer.poll(now) {
            for at in 0..100 {
                let mut copy = packet.to_vec();
                if at % 2 == 0 {
                    let at = at * copy.len() / 100;
                    copy[at] ^= 0x55;
                }
                peer.forge(Bytes::from(copy));
            }
            peer.forge(packet);
        }
        world.pump();
    });
    assert_eq!(storm.bob, calm.bob);
    assert!(!storm.bob.is_empty());
    let counted = [DropReason::DataMalformed, DropReason::DataOverRate].map(|reason| storm.world.dropped(reason));
    assert!(counted.iter().sum::<u64>() > 1000, "{counted:?}");
}

proptest! {
    #![proptest_config(cases(24))]

    /// Whatever an authentic participant sends as media and feedback, sense or not: the engine goes on, and so does everybody else.
    #[test]
    fn no_packets_of_a_participant_break_the_engine(
        packets in prop::collection::vec((any::<bool>(), damaged(sound())), 1..60),
    ) {
        let mut world = World::new();
        let ann = world.publisher("camera", &[]);
        let eve = world.publisher("noise", &[]);
        let (bob, cid) = (world.viewer("camera", Limits::default()), world.viewer("noise", Limits::default()));
        world.send(ann, &Picture::new(9, 1).key().bytes());
        world.send(eve, &Picture::new(7, 1).key().bytes());
        for (media, packet) in packets {
            match media {
                true if Header::parse(&packet).is_ok() => world.send(eve, &packet),
                true => {}
                // Its head is in clear, and has to be one for the packet to be authentic.
                false if packet.len() >= 8 && packet[0] >> 6 == 2 && lockgate_rtp::is_rtcp(&packet) => {
                    [eve, cid].into_iter().for_each(|who| world.send_rtcp(who, &packet));
                }
                false => {}
            }
            world.advance(Duration::from_millis(5));
        }
        world.received(bob);
        world.send(ann, &Picture::new(9, 2).bytes());
        prop_assert_eq!(world.received(bob).len(), 1);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// What is offered and answered is text of somebody else: it is taken or refused, and others' calls go on.
    #[test]
    fn no_descriptions_break_the_engine(
        offers in prop::collection::vec(damaged_text([publish_offer(FINGERPRINT, &["noise"], &RIDS)]), 1..6),
        answers in prop::collection::vec(damaged_text([answer_of_a_viewer()]), 1..6),
    ) {
        let mut world = World::new();
        let ann = world.publisher("camera", &[]);
        let bob = world.viewer("camera", Limits::default());
        let eve = [
            world.engine.create_publish_transport(world.now, world.router).unwrap(),
            world.engine.create_subscribe_transport(world.now, world.router).unwrap(),
        ];
        let watching = world.add_client(eve[1]);
        world.subscribe(watching, "camera", Limits::default());
        for offer in &offers {
            let _ = world.engine.accept_offer(world.now, eve[0], offer, &admitted(&["noise"]));
            world.advance(Duration::from_millis(5));
        }
        for answer in &answers {
            let _ = ViewersAnswer::read(answer).and_then(|answer| world.engine.accept_answer(world.now, eve[1], None, answer));
            world.advance(Duration::from_millis(5));
        }
        world.send(ann, &Picture::new(9, 1).key().bytes());
        prop_assert_eq!(world.received(bob).len(), 1);
    }
}

/// As the engine of the test above wants it: it draws what it draws in the same order.
fn answer_of_a_viewer() -> String {
    let mut world = World::new();
    world.publisher("camera", &[]);
    world.viewer("camera", Limits::default());
    let own = world.engine.create_subscribe_transport(world.now, world.router).unwrap();
    let viewer = world.add_client(own);
    world.subscribe(viewer, "camera", Limits::default());
    let offer = world.take_offer(viewer);
    answer_to(&offer, FINGERPRINT)
}

const FINGERPRINT: &str =
    "sha-256 11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00";

/// Packets and feedback as they should be.
fn sound() -> Vec<Vec<u8>> {
    let arrivals: Vec<_> = (1..30).map(|number| TwccPacket { number, arrival_us: 1_000_000 + number * 700 }).collect();
    let info = SenderInfo { ssrc: 7, ntp: 1 << 40, rtp: 9000, packets: 5, octets: 500 };
    vec![
        Picture::new(7, 2).bytes(),
        Picture::new(7, 3).key().bytes(),
        Picture::new(7, 40_000).rid("low").temporal(2).bytes(),
        written(|out| write::nack(out, 1, 7, &[1, 2, 5, 90])),
        written(|out| write::pli(out, 1, 7)),
        written(|out| _ = write::twcc(out, 1, 7, 0, 1, &arrivals)),
        written(|out| write::sender_report(out, info, "name")),
    ]
}
