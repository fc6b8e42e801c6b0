//! Repairs with those who have no source of their own for them (RFC 4588): a packet comes again as it was.

use super::*;

#[test]
fn a_viewer_is_sent_the_very_bytes_that_it_lost() {
    let mut world = World::new();
    let ann = world.publisher("camera", &[]);
    let bob = world.viewer_who("camera", Limits::default(), without_repairs);
    world.send(ann, &Picture::new(9, 1).key().bytes());
    let first = world.received(bob)[0].0;
    let lost = world.lost(bob, |world| world.send(ann, &Picture::new(9, 2).bytes()));
    world.send(ann, &Picture::new(9, 3).bytes());
    let nack = written(|out| write::nack(out, 1, first.ssrc, &[first.sequence + 1]));
    // Sealed anew under its number, it would give the keys away.
    let again = world.lost(bob, |world| (0..2).for_each(|_| world.send_rtcp(bob, &nack)));
    assert_eq!((lost.len(), &again), (1, &[lost.clone(), lost].concat()));
    world.send_rtcp(bob, &nack);
    assert_eq!(sequences(&world.received(bob)), [0, u16::MAX], "the third and the second");
    assert_eq!(world.engine.counters().retransmissions_out, 3);
}

#[test]
fn what_a_viewer_may_not_have_any_more_does_not_come_again() {
    let mut world = World::new();
    let ann = world.publisher("camera", &[]);
    let bob = world.viewer_who("camera", Limits::default(), without_repairs);
    (1..4).for_each(|number| {
        world.send(ann, &Picture { key: number == 1, ..Picture::new(9, number) }.temporal(number as u8 / 3).bytes());
    });
    let last = world.received(bob)[2].0;
    let nack = written(|out| write::nack(out, 1, last.ssrc, &[last.sequence]));
    assert_eq!(world.lost(bob, |world| world.send_rtcp(bob, &nack)).len(), 1);
    let fewer = Limits { max_layer: Layer::default(), granted: Layer::default(), ..Limits::default() };
    world.engine.set_limits(world.now, world.clients[bob].transport, &track("camera"), fewer);
    assert_eq!(world.lost(bob, |world| world.send_rtcp(bob, &nack)), Vec::<Vec<u8>>::new());
}

#[test]
fn a_publisher_is_asked_for_what_is_missing_and_it_comes_late_to_viewers() {
    let mut world = World::new();
    let (ann, answer) = world.publisher_within(None, without_repairs);
    assert!(answer.contains(" nack\r\n") && !answer.contains("rtx"), "{answer}");
    let bob = world.viewer("camera", Limits::default());
    world.send(ann, &Picture::new(9, 1).key().bytes());
    world.send(ann, &Picture::new(9, 3).bytes());
    world.advance(Duration::from_millis(20));
    let asked = feedback(&world.feedback(ann)).iter().any(|one| match one {
        Feedback::Nack { missing, .. } => missing.iter().eq([2]),
        _ => false,
    });
    assert!(asked);
    world.send(ann, &Picture::new(9, 2).bytes());
    assert_eq!(sequences(&world.received(bob)), [0, 2, 1]);
}
