//! A viewer behind a narrow link, in virtual time.

use lockgate_model::LayerReason;
use lockgate_transport::twcc::TwccReceiver;

use super::*;

/// A link with a rate and a queue in front of it.
pub(super) struct Bottleneck {
    /// Bits a second.
    rate: u64,
    free_at: Instant,
    /// How long a packet is on its way behind the queue.
    flight: Duration,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    lost: usize,
}

impl Bottleneck {
    fn new(now: Instant, rate: u64) -> Self {
        Self { rate, free_at: now, flight: FLIGHT, under_way: VecDeque::new(), lost: 0 }
    }

    pub(super) fn take(&mut self, now: Instant, datagram: Vec<u8>) {
        if self.delay(now) > QUEUE {
            self.lost += 1;
            return;
        }
        let time = Duration::from_nanos(datagram.len() as u64 * 8_000_000_000 / self.rate);
        self.free_at = self.free_at.max(now) + time;
        self.under_way.push_back((self.free_at + self.flight, datagram));
    }

    /// How long something would wait that came now.
    fn delay(&self, now: Instant) -> Duration {
        self.free_at.saturating_duration_since(now)
    }
}

const QUEUE: Duration = Duration::from_millis(400);
const FLIGHT: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(5);
/// Bits a second of the three encodings.
const RATES: [u64; 3] = [150_000, 500_000, 1_500_000];
const RIDS: [&str; 3] = ["low", "mid", "high"];

/// A call of one publisher and one viewer.
struct Call {
    world: World,
    publisher: usize,
    viewer: usize,
    steps: u64,
    sequences: [u16; 3],
    pictures: u16,
    keys: [bool; 3],
    /// How much larger a key frame is than other pictures.
    key_size: usize,
    twcc: TwccReceiver,
    /// Bytes that the viewer got of each encoding since it was last asked.
    got: [usize; 3],
    /// Most packets that came into the link at one moment.
    burst: usize,
    /// Set where it is layers of one stream instead: pictures since the last key frame.
    layers: Option<u16>,
    screen: Screen,
}

/// What the viewer sees: pictures of which nothing is missing, nor of what they build upon.
#[derive(Default)]
struct Screen {
    next: Option<u16>,
    is_broken: bool,
    /// The picture that was shown last.
    shown: Option<(u32, Instant)>,
    /// The longest time that a picture stood.
    longest: Duration,
}

impl Screen {
    fn take(&mut self, at: Instant, header: &Header, packet: &[u8]) {
        let payload = &packet[header.payload(packet).unwrap()];
        let is_next = self.next.is_none_or(|next| next == header.sequence);
        self.next = Some(header.sequence.wrapping_add(1));
        // The last byte of the descriptor is the codec's own first one: bit 0 is 0 in a key frame (RFC 6386 §9.1).
        self.is_broken = (self.is_broken || !is_next) && payload.get(6).is_none_or(|first| first & 1 == 1);
        let is_new = self.shown.is_none_or(|(timestamp, _)| timestamp != header.timestamp);
        if is_new && !self.is_broken {
            let since = self.shown.replace((header.timestamp, at));
            self.longest = since.map_or(self.longest, |(_, since)| self.longest.max(at - since));
        }
    }
}

impl Call {
    fn new(rate: u64) -> Self {
        let mut world = World::new();
        let publisher = world.publisher("camera", &RIDS);
        let viewer = world.viewer("camera", Limits::default());
        world.bottleneck = Some((viewer, Bottleneck::new(world.now, rate)));
        let twcc = TwccReceiver::new(world.now);
        Self {
            world,
            publisher,
            viewer,
            steps: 0,
            sequences: [0; 3],
            pictures: 0,
            keys: [true; 3],
            key_size: 4,
            twcc,
            got: [0; 3],
            burst: 0,
            layers: None,
            screen: Screen::default(),
        }
    }

    fn link(&mut self) -> &mut Bottleneck {
        &mut self.world.bottleneck.as_mut().expect("the viewer is behind one").1
    }

    /// Lets so many seconds pass; how many bits a second of each encoding came to the viewer in them.
    fn run(&mut self, seconds: u64) -> [u64; 3] {
        self.got = [0; 3];
        for _ in 0..seconds * 200 {
            self.step();
        }
        self.got.map(|bytes| bytes as u64 * 8 / seconds)
    }

    fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(400) {
            self.world.keep_alive();
        }
        let before = self.link().under_way.len();
        self.world.advance(STEP);
        if self.steps.is_multiple_of(7) {
            match self.layers {
                Some(picture) => self.publish_layers(picture),
                None => self.publish(),
            }
        }
        let came = self.link().under_way.len().saturating_sub(before);
        self.burst = self.burst.max(came);
        self.deliver();
        self.report();
    }

    /// A picture of every encoding, at about 30 a second.
    fn publish(&mut self) {
        for one in feedback(&self.world.feedback(self.publisher)) {
            if let Feedback::KeyFrameRequest { ssrc } = one {
                self.keys[ssrc as usize - 1] = true;
            }
        }
        self.pictures += 1;
        for encoding in 0..3 {
            let key = std::mem::take(&mut self.keys[encoding]);
            let bytes = RATES[encoding] as usize * 35 / 8000 * if key { self.key_size } else { 1 };
            let packets = bytes.div_ceil(1100);
            for packet in 0..packets {
                self.sequences[encoding] += 1;
                let picture = Picture {
                    picture: self.pictures & 0x7fff,
                    timestamp: u32::from(self.pictures) * 3150,
                    key: key && packet == 0,
                    ..Picture::new(encoding as u32 + 1, self.sequences[encoding])
                };
                let mut plain = picture.rid(RIDS[encoding]).bytes();
                plain.resize(plain.len() + bytes / packets, encoding as u8);
                let sealed = self.world.clients[self.publisher].peer.seal_rtp(&plain);
                let path = self.world.clients[self.publisher].path;
                self.world.engine.handle_datagram(self.world.now, path, &mut sealed.clone());
            }
        }
        self.world.pump();
    }

    fn deliver(&mut self) {
        let now = self.world.now;
        while let Some((at, datagram)) = self.link().under_way.pop_front_if(|(at, _)| *at <= now) {
            self.world.clients[self.viewer].peer.handle(at, &datagram);
            for packet in std::mem::take(&mut self.world.clients[self.viewer].peer.rtp) {
                let header = Header::parse(&packet).unwrap();
                let number = header.extensions(&packet).find(|element| element.id == 5).expect("it is counted");
                self.twcc.note(at, u16::from_be_bytes(number.value.try_into().unwrap()));
                if header.payload_type == 96 {
                    self.screen.take(at, &header, &packet);
                    self.got[usize::from(*packet.last().unwrap())] += packet.len();
                }
            }
        }
    }

    fn report(&mut self) {
        let report = written(|out| _ = self.twcc.poll(self.world.now, 1, 2, out));
        if !report.is_empty() {
            self.world.send_rtcp(self.viewer, &report);
        }
    }
}

/// The encoding that most of it is of.
fn most(rates: [u64; 3]) -> usize {
    (0..3).max_by_key(|encoding| rates[*encoding]).unwrap()
}

#[test]
fn a_wide_link_gets_the_best_encoding_and_keeps_it() {
    let mut call = Call::new(20_000_000);
    call.run(2);
    let rates = call.run(5);
    assert_eq!(most(rates), 2, "{rates:?}");
    assert_eq!(call.link().lost, 0);
}

#[test]
fn the_encoding_follows_the_link_down_and_up_again() {
    let mut call = Call::new(5_000_000);
    let rates = call.run(10);
    assert_eq!(most(rates), 2, "{rates:?}");
    call.link().rate = 300_000;
    call.run(8);
    let now = call.world.now;
    assert!(call.link().delay(now) < Duration::from_millis(100), "the queue is empty: {:?}", call.link().delay(now));
    let rates = call.run(4);
    assert_eq!(most(rates), 0, "{rates:?}");
    assert!(rates[0] > 100_000 && rates[1] == 0, "and it comes whole: {rates:?}");
    call.link().rate = 5_000_000;
    call.run(15);
    let rates = call.run(2);
    assert_eq!(most(rates), 2, "{rates:?}");
    let told = |event: &RouterEvent| match event {
        RouterEvent::LayerChanged { layer, reason, .. } => Some((layer.map(|layer| layer.spatial), *reason)),
        _ => None,
    };
    let told: Vec<_> = call.world.events.iter().filter_map(told).collect();
    assert!(told.contains(&(Some(0), LayerReason::Bandwidth)), "{told:?}");
    assert_eq!(told.last(), Some(&(Some(2), LayerReason::Bandwidth)), "{told:?}");
}

/// Pictures that are too large for what is left of a link fill its queue before any report can tell of it, and then are lost: a lower encoding
/// begins with a key frame as soon as one does.
#[test]
fn a_picture_stands_for_less_than_400_ms_when_a_lower_encoding_is_gone_to() {
    let cuts = [(1_200_000, 1), (1_000_000, 1), (900_000, 1), (600_000, 0), (400_000, 0), (300_000, 0)];
    for ((rate, encoding), flight) in cuts.into_iter().flat_map(|cut| [5, 20, 60].map(|flight| (cut, flight))) {
        let mut call = Call::new(5_000_000);
        call.link().flight = Duration::from_millis(flight);
        assert_eq!(most(call.run(10)), 2);
        (call.link().rate, call.screen.longest) = (rate, Duration::ZERO);
        call.run(8);
        let longest = call.screen.longest;
        assert_eq!(most(call.run(4)), encoding, "{rate} bit/s, {flight} ms");
        assert!(longest < Duration::from_millis(400), "{rate} bit/s, {flight} ms: {longest:?}");
    }
}

/// The last quality that was told of a client's connection.
fn quality(world: &World, client: usize) -> Quality {
    let own = world.clients[client].transport;
    let told = world.events.iter().rev().find_map(|event| match event {
        RouterEvent::Quality { transport, quality, .. } if *transport == own => Some(*quality),
        _ => None,
    });
    told.expect("it is told every two seconds")
}

/// What was told last of the tracks of a publisher.
fn rates(world: &World, client: usize) -> Vec<(TrackId, Vec<u64>)> {
    let own = world.clients[client].transport;
    let told = world.events.iter().rev().find_map(|event| match event {
        RouterEvent::Quality { transport, rates, .. } if *transport == own => Some(rates.clone()),
        _ => None,
    });
    told.expect("it is told every two seconds")
}

#[test]
fn the_quality_of_a_link_tells_what_flows_and_what_it_has_no_room_for() {
    let mut call = Call::new(20_000_000);
    call.run(6);
    let (up, down) = (quality(&call.world, call.publisher), quality(&call.world, call.viewer));
    assert_eq!((up.score, up.loss, up.rtt), (10, 0, None));
    let rates = rates(&call.world, call.publisher);
    let of_track: u64 = rates.iter().flat_map(|(_, rates)| rates).sum();
    assert!(of_track.abs_diff(up.bitrate) < up.bitrate / 2, "its tracks are all that it sends: {rates:?}, {up:?}");
    assert!((1_800_000..2_800_000).contains(&up.bitrate), "{up:?}");
    assert_eq!((down.score, down.loss), (10, 0));
    assert!((1_200_000..3_000_000).contains(&down.bitrate) && down.rtt >= Some(20), "{down:?}");
    call.link().rate = 300_000;
    call.run(12);
    let (up, down) = (quality(&call.world, call.publisher), quality(&call.world, call.viewer));
    assert_eq!(up.score, 10, "the publisher has nothing to do with it");
    assert!(down.score <= 6 && down.bitrate < 300_000, "a tenth of the bitrate: {down:?}");
    let told = call.world.events.iter().filter(|event| matches!(event, RouterEvent::Quality { .. })).count();
    assert!((14..=18).contains(&told), "two of each in four seconds: {told}");
}

#[test]
fn a_picture_that_is_too_large_for_the_link_does_not_leave_at_once() {
    let mut call = Call::new(2_500_000);
    call.run(5);
    (call.burst, call.key_size, call.keys) = (0, 12, [true; 3]);
    call.run(1);
    let packets = RATES[2] as usize * 35 / 8000 * 12 / 1100;
    assert!(call.burst < packets, "{} of {packets} at once", call.burst);
    assert_eq!(call.link().lost, 0);
}

#[test]
fn reports_on_what_was_never_sent_are_counted_and_change_nothing() {
    let mut call = Call::new(20_000_000);
    call.run(2);
    let arrivals: Vec<_> = (0..200)
        .map(|number| lockgate_rtp::TwccPacket { number: 40_000 + number, arrival_us: 1_000_000 + number })
        .collect();
    for _ in 0..50 {
        let lie = written(|out| _ = write::twcc(out, 1, 2, 0, 40_000, &arrivals));
        call.world.send_rtcp(call.viewer, &lie);
    }
    assert!(call.world.dropped(DropReason::Feedback) >= 200);
    let rates = call.run(3);
    assert_eq!(most(rates), 2, "{rates:?}");
}

#[test]
fn what_waits_for_a_viewer_that_leaves_is_forgotten() {
    let mut call = Call::new(2_500_000);
    call.run(5);
    (call.key_size, call.keys) = (12, [true; 3]);
    while call.world.engine.next_release().is_none() {
        call.step();
    }
    let transport = call.world.clients[call.viewer].transport;
    call.world.engine.close_transport(call.world.now, transport);
    call.step();
    assert_eq!(call.world.engine.next_release(), None);
}

/// Bits a second of the three spatial layers of one stream, each on top of those below.
const LAYER_RATES: [u64; 3] = [120_000, 300_000, 900_000];

impl Call {
    /// A publisher of one VP9 stream with three spatial and three temporal layers.
    fn layered(rate: u64) -> Self {
        let mut call = Self::new(rate);
        let mut world = World::new();
        let (publisher, _) = world.publisher_within(None, |offer| offer.replace("VP8/90000", "VP9/90000"));
        let viewer = world.viewer("camera", Limits::default());
        world.bottleneck = Some((viewer, Bottleneck::new(world.now, rate)));
        (call.twcc, call.world, call.publisher, call.viewer) = (TwccReceiver::new(world.now), world, publisher, viewer);
        call.layers = Some(0);
        call
    }

    /// A picture of all layers; `picture` counts from the last key frame.
    fn publish_layers(&mut self, picture: u16) {
        let asked = self.world.key_frame_requests(self.publisher) > 0;
        let picture = if asked { 0 } else { picture };
        let temporal = if picture == 0 { 0 } else { [0, 2, 1, 2][usize::from(picture) % 4] };
        self.pictures += 1;
        for (spatial, rate) in (0_u8..).zip(LAYER_RATES) {
            let bytes = rate as usize * 35 / 8000 * if picture == 0 { 3 } else { 1 };
            let packets = bytes.div_ceil(1100);
            for packet in 0..packets {
                self.sequences[0] += 1;
                let (begins, ends) = (packet == 0, packet + 1 == packets);
                let timestamp = u32::from(self.pictures) * 3150;
                let mut plain = Picture { timestamp, ..Picture::new(1, self.sequences[0]) }.bytes();
                plain.truncate(plain.len() - 8);
                plain[1] = u8::from(ends && spatial == 2) << 7 | 96;
                let bits = u8::from(picture > 0) << 6 | u8::from(begins) << 3 | u8::from(ends) << 2;
                plain.extend_from_slice(&[0xa0 | bits | u8::from(spatial == 2), self.pictures as u8 & 0x7f]);
                plain.extend_from_slice(&[temporal << 5 | 0x10 | spatial << 1 | u8::from(spatial > 0), 7]);
                plain.resize(plain.len() + bytes / packets, spatial);
                let sealed = self.world.clients[self.publisher].peer.seal_rtp(&plain);
                let path = self.world.clients[self.publisher].path;
                self.world.engine.handle_datagram(self.world.now, path, &mut sealed.clone());
            }
        }
        self.layers = Some(picture + 1);
        self.world.pump();
    }
}

#[test]
fn layers_of_one_stream_follow_the_link_down_and_up_again() {
    let mut call = Call::layered(5_000_000);
    call.run(8);
    let rates = call.run(2);
    assert!(rates[2] > 800_000, "{rates:?}");
    for (rate, wanted) in [(700_000, 1), (180_000, 0)] {
        call.link().rate = rate;
        call.run(8);
        let now = call.world.now;
        assert!(call.link().delay(now) < Duration::from_millis(100), "the queue is empty");
        let rates = call.run(4);
        assert!(rates[wanted] > 60_000 && rates[wanted + 1..].iter().all(|rate| *rate < 30_000), "{rates:?}");
    }
    call.link().rate = 5_000_000;
    call.run(15);
    let rates = call.run(2);
    assert!(rates[2] > 800_000, "{rates:?}");
}

#[test]
fn at_the_border_of_a_step_a_steady_link_stays_on_one_side_of_it() {
    for rate in [250_000, 275_000, 750_000, 800_000, 875_000] {
        let mut call = Call::layered(5_000_000);
        call.run(5);
        call.link().rate = rate;
        call.run(20);
        call.world.events.clear();
        call.run(60);
        let told = call.world.events.iter().filter(|event| matches!(event, RouterEvent::LayerChanged { .. })).count();
        assert!(told <= 6, "{told} changes in a minute at {rate} bit/s");
    }
}
