//! Pipes that say what makes no sense.

use super::*;

#[test]
fn frames_that_make_no_sense_are_dropped_and_counted() {
    let mut pair = Pair::new();
    let publisher = pair.publisher(&[]);
    let viewer = pair.viewer(Limits::default());
    let origin = crate::numbers::Origin { encoding: 0, life: 0 };
    let number = PipedTrack(1);
    let packet = Picture::new(9, 1).key().bytes();
    let arrival = NodeTime(0);
    let mut batch = vec![1, 77, 0, 0, 9, 1, 0, 0];
    let senseless = [
        PipeFrame::Gone { track: PipedTrack(99) },
        PipeFrame::Wanted { track: number, encodings: Encodings(1) },
        PipeFrame::Packet(Piped { track: PipedTrack(99), origin, number: 65_537, arrival, packet: &packet }),
        PipeFrame::Packet(Piped { track: number, origin, number: 65_538, arrival, packet: &packet }),
        PipeFrame::Packet(Piped { track: number, origin, number: 65_537, arrival, packet: &[7; 5] }),
    ];
    senseless.iter().for_each(|frame| assert!(frame.write(&mut batch)));
    batch.push(1);
    pair.give(1, &batch);
    let dropped = [DropReason::PipeFrame, DropReason::PipeTrack, DropReason::Malformed];
    assert_eq!(dropped.map(|reason| pair.away.dropped(reason)), [3, 2, 2]);
    pair.send(publisher, &Picture::new(9, 1).key());
    assert_eq!(pair.away.received(viewer).len(), 1);
}

#[test]
fn nothing_is_taken_before_the_greeting_and_another_greeting_begins_anew() {
    let mut world = World::new();
    let pipe = world.engine.open_pipe(world.now, world.router).unwrap();
    let mut other = Pair::new();
    other.home.publisher("camera", &[]);
    let announced = other.take(0);
    world.engine.handle_pipe(world.now, pipe, &announced);
    assert_eq!(world.dropped(DropReason::PipeFrame), Frames::new(&announced).count() as u64);
    let mut hello = Vec::new();
    PipeFrame::Hello { time: NodeTime(0) }.write(&mut hello);
    world.engine.handle_pipe(world.now, pipe, &[&hello[..], &announced].concat());
    let viewer = world.viewer("camera", Limits::default());
    assert_eq!(world.engine.counters().subscriptions, 1);
    world.engine.handle_pipe(world.now, pipe, &hello);
    assert_eq!(world.engine.counters().subscriptions, 0);
    assert!(world.take_offer(viewer).contains("a=inactive"));
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever comes out of a pipe: both ends stay whole, and a pipe that begins anew works again.
    #[test]
    fn no_bytes_from_a_pipe_break_an_engine(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..2), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut pair = Pair::new();
        let publisher = pair.publisher(&[]);
        let viewer = pair.viewer(Limits::default());
        let pipe = pair.home.engine.open_pipe(pair.home.now, pair.home.router).unwrap();
        pair.send(publisher, &Picture::new(9, 1).key());
        pair.home.engine.poll_pipe();
        let mut batch = pair.home.engine.pipe_bytes(pipe).unwrap().clone();
        let track = PipedTrack(1);
        let origin = crate::numbers::Origin { encoding: 0, life: 0 };
        let packet = Picture::new(9, 2).bytes();
        let frames = [
            PipeFrame::Packet(Piped { track, origin, number: 65_538, arrival: NodeTime(5), packet: &packet }),
            PipeFrame::Rates { track, rates: [5, 0, 0, 0] },
            PipeFrame::Wanted { track, encodings: Encodings(1) },
            PipeFrame::KeyFrames { track, encodings: Encodings(1) },
            PipeFrame::Missing { track, origin, first: 65_537, more: u64::MAX },
            PipeFrame::Muted { track, muted: true },
        ];
        prop_assert!(frames.iter().all(|frame| frame.write(&mut batch)));
        for (at, with, end) in changes {
            let at = at.index(batch.len());
            batch[at] = with;
            pair.give(end, &batch);
            pair.give(end, &noise);
            pair.advance(Duration::from_millis(30));
        }
        for (world, end) in [(&mut pair.home, pair.ends[0]), (&mut pair.away, pair.ends[1])] {
            world.engine.close_pipe(world.now, end);
        }
        let (home, away) = (&mut pair.home, &mut pair.away);
        pair.ends = [
            home.engine.open_pipe(home.now, home.router).unwrap(),
            away.engine.open_pipe(away.now, away.router).unwrap(),
        ];
        pair.carry();
        pair.away.subscribe(viewer, "camera", Limits::default());
        answer_all(&mut pair.away, viewer);
        pair.carry();
        pair.away.received(viewer);
        pair.send(publisher, &Picture::new(9, 20).key());
        prop_assert_eq!(pair.away.received(viewer).len(), 1);
    }
}
