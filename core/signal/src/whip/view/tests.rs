//! Whom a viewer asks for, what it tells, and when it ends.

use lockgate_model::policy::Grant;
use lockgate_model::{RoomName, Source, UserId};

use super::*;

fn view(of: Watched, lines: usize) -> View {
    let endpoint = Endpoint { door: Door::Whep, room: RoomName::new("r").unwrap(), of };
    let offer: String = (0..lines).map(|mid| format!("a=mid:{mid}\r\n")).collect();
    let mut view = View::new(endpoint, &offer);
    view.open();
    view
}

fn publishes(number: u64, subject: &str, tracks: &[&str]) -> Event {
    let info = |name: &&str| TrackInfo {
        track_id: TrackId::new(*name).unwrap(),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: None,
        simulcast: true,
        encodings: 2,
        muted: false,
        name: None,
        channel: None,
    };
    Event::NewPublisher {
        room_name: RoomName::new("r").unwrap(),
        publisher_id: PublisherId(number),
        username: "Ann".into(),
        tracks: tracks.iter().map(info).collect(),
        subject: subject.into(),
    }
}

fn gets(view: &mut View, number: u64, track: Option<&str>) {
    let line = |name: &str| OfferedTrack {
        mid: "0".into(),
        track_id: TrackId::new(name).unwrap(),
        publisher_id: PublisherId(number),
        kind: MediaKind::Video,
        source: Source::Camera,
    };
    let room_name = RoomName::new("r").unwrap();
    let (publisher_id, tracks) = (PublisherId(number), track.map(line).into_iter().collect());
    view.hear(Event::Subscribed { room_name, publisher_id, tracks });
}

fn asked(view: &mut View) -> Vec<u64> {
    let whom = |command| match command {
        Command::SubscribeRequest { publisher_id, .. } => publisher_id.0,
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| view.next_command()).map(whom).collect()
}

fn revoked(what: RevokedWhat, track: Option<&str>) -> Event {
    Event::Revoked {
        room_name: RoomName::new("r").unwrap(),
        what,
        reason: "enough".into(),
        publisher_id: None,
        track_id: track.map(|track| TrackId::new(track).unwrap()),
        decision_id: None,
    }
}

#[test]
fn a_publisher_of_whom_nothing_can_be_sent_takes_nobodys_line() {
    let mut view = view(Watched::Room, 2);
    view.hear(publishes(1, "7", &["a"]));
    gets(&mut view, 1, Some("a"));
    view.hear(publishes(2, "8", &["b"]));
    gets(&mut view, 2, None);
    assert_eq!(view.lines.len(), 1);
    view.hear(publishes(1, "7", &[]));
    assert!(view.lines.is_empty(), "what is published no more is sent no more");
}

#[test]
fn whoever_comes_is_asked_for_while_there_are_lines_and_again_when_one_is_free() {
    let mut view = view(Watched::Room, 1);
    view.hear(publishes(1, "7", &["a"]));
    assert_eq!(asked(&mut view), [1]);
    gets(&mut view, 1, Some("a"));
    view.hear(publishes(2, "8", &["b"]));
    assert_eq!(asked(&mut view), [0; 0]);
    view.hear(Event::PublisherLeft { room_name: RoomName::new("r").unwrap(), publisher_id: PublisherId(1) });
    assert_eq!(asked(&mut view), [2]);
}

#[test]
fn whoever_came_while_it_opened_is_asked_for_once_it_is_open() {
    let endpoint = Endpoint { door: Door::Whep, room: RoomName::new("r").unwrap(), of: Watched::Room };
    let mut view = View::new(endpoint, "a=mid:0\r\na=mid:1\r\n");
    view.hear(publishes(1, "7", &["a"]));
    view.asked.insert(PublisherId(1));
    view.hear(publishes(2, "8", &["b"]));
    assert_eq!(asked(&mut view), [0; 0], "as part of the opening, if at all");
    gets(&mut view, 1, Some("a"));
    view.open();
    assert_eq!(asked(&mut view), [2]);
}

#[test]
fn nobody_is_asked_for_twice_nor_while_there_is_no_line() {
    let mut view = view(Watched::Room, 1);
    view.hear(publishes(1, "7", &["a"]));
    assert_eq!(asked(&mut view), [1]);
    gets(&mut view, 1, Some("a"));
    (2..100).for_each(|number| view.hear(publishes(number, "8", &["b"])));
    assert!(!view.has_command());
    for number in [1, 2, 3] {
        let gone = Event::PublisherLeft { room_name: RoomName::new("r").unwrap(), publisher_id: PublisherId(number) };
        view.hear(gone);
    }
    let first = view.next_command();
    assert!(matches!(first, Some(Command::SubscribeRequest { publisher_id: PublisherId(4), .. })), "{first:?}");
    gets(&mut view, 4, Some("b"));
    assert!(!view.has_command(), "the line is taken");
    gets(&mut view, 4, None);
    assert_eq!(asked(&mut view), (5..100).collect::<Vec<u64>>(), "each of the others once");
}

#[test]
fn whoever_was_not_meant_is_not_asked_for() {
    let mut view = view(Watched::Subject("7".into()), 2);
    [publishes(1, "8", &["a"]), publishes(2, "7", &["b"])].into_iter().for_each(|event| view.hear(event));
    assert_eq!(asked(&mut view), [2]);
    view.hear(publishes(2, "7", &["b", "c"]));
    assert_eq!(asked(&mut view), [0; 0], "later tracks come by themselves");
}

#[test]
fn layers_are_told_by_the_place_of_their_line() {
    let mut view = view(Watched::Room, 1);
    view.hear(publishes(1, "7", &["a"]));
    gets(&mut view, 1, Some("a"));
    let expected = json!({ "0": [{ "rid": "1", "spatialLayerId": 1 }, { "rid": "0", "spatialLayerId": 0 }] });
    assert_eq!(view.layers(), expected);
    assert_eq!(view.encodings(&view.lines[0]), Some(2));
    view.publishers.clear();
    assert_eq!(view.encodings(&view.lines[0]), None);
}

#[test]
fn a_viewer_ends_with_its_stay_or_with_all_that_it_gets() {
    for (event, is_over) in [
        (revoked(RevokedWhat::Stay, None), true),
        (revoked(RevokedWhat::Subscription, None), true),
        (revoked(RevokedWhat::Subscription, Some("a")), true),
        (revoked(RevokedWhat::Subscription, Some("b")), false),
        (revoked(RevokedWhat::Publication, None), false),
        (revoked(RevokedWhat::Recording, None), false),
        (Event::ServerDraining { deadline_ms: 5000, reconnect_to: None }, false),
        (Event::ServerDraining { deadline_ms: 0, reconnect_to: None }, true),
    ] {
        let mut view = view(Watched::Room, 1);
        gets(&mut view, 1, Some("a"));
        let told = format!("{event:?}");
        view.hear(event);
        assert_eq!(view.is_over, is_over, "{told}");
    }
}

#[test]
fn a_publisher_ends_with_the_last_of_its_tracks() {
    let mut view = view(Watched::Room, 0);
    view.endpoint.door = Door::Whip;
    view.published = ["a", "b"].into_iter().map(|track| TrackId::new(track).unwrap()).collect();
    view.hear(revoked(RevokedWhat::Publication, Some("a")));
    assert!(!view.is_over);
    view.hear(revoked(RevokedWhat::Publication, Some("b")));
    assert!(view.is_over);
}

#[test]
fn what_is_joined_is_inside() {
    let mut view = view(Watched::Room, 1);
    view.hear(Event::RoomJoined {
        room_name: RoomName::new("r").unwrap(),
        user_id: UserId(1),
        publisher_id: PublisherId(9),
        participants: Vec::new(),
        grants: Grant::default(),
    });
    assert!(view.is_inside && !view.is_listed);
}
