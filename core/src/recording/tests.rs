//! The hub and its door, with a recorder that is a few lines of the test.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::carrier::{
    BindingToken, Deframer, Frame, FromRecorder, Hello, MAX_FRAME, PROTOCOL, Refusal, Role, SessionState, ToRecorder,
    TrackNumber, TrackStats, Welcome, decode_message,
};
use lockgate_model::{Codec, MediaKind, PublisherId, RecordingId, RevokedWhat, RoomName, Source, TrackId};
use lockgate_room::{Input, RecorderReport, Revocation, Whom};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::wire::{Messages, write};
use super::{Hub, NewTrack, Recordable, RecorderDoor, Recorders};
use crate::node::{Ending, Node};
use crate::rooms::{RoomHandle, ToRoom, inspect_offer};
use crate::testing;

/// A node's hub behind its door.
struct House {
    recorders: Recorders,
    socket: PathBuf,
    ending: watch::Sender<bool>,
    tasks: JoinSet<()>,
    node: Arc<Node>,
    _folder: TempDir,
}

impl House {
    fn open() -> Self {
        let (node, inbox) = testing::node();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/recorder.sock");
        let door = RecorderDoor::open(&socket).unwrap();
        let recorders = node.recorders.clone();
        let (ending, ends) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Hub::new(node.clone(), recorders.clone(), inbox).run(Ending(ends.clone())));
        tasks.spawn(door.serve(recorders.clone(), Ending(ends)));
        Self { recorders, socket, ending, tasks, node, _folder: folder }
    }

    async fn connect(&self) -> Recorder {
        Recorder { stream: UnixStream::connect(&self.socket).await.unwrap(), messages: Messages::new() }
    }

    async fn attach(&self) -> (Recorder, BindingToken) {
        let mut recorder = self.connect().await;
        match recorder.hello(PROTOCOL, Role::Control).await {
            Welcome::Accepted { token: Some(token), workers: 1, .. } => (recorder, token),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it is known that a recorder is gone.
    async fn detached(&self) {
        while self.recorders.is_attached().await {
            tokio::task::yield_now().await;
        }
    }

    async fn start(&self) -> Result<mpsc::Receiver<ToRoom>, &'static str> {
        let (inbox, outbox) = mpsc::channel(ROOM);
        self.recorders.start(session(), RoomName::new("den").unwrap(), inbox).await.map(|()| outbox)
    }
}

/// The recorder's end of a connection.
struct Recorder {
    stream: UnixStream,
    messages: Messages,
}

impl Recorder {
    async fn hello(&mut self, protocol: u32, role: Role) -> Welcome {
        write(&mut self.stream, &Hello { protocol, software: "test".into(), role }).await.unwrap();
        // And no more than that: what was kept comes right behind it.
        let mut welcome = vec![0; self.stream.read_u32().await.unwrap() as usize];
        self.stream.read_exact(&mut welcome).await.unwrap();
        decode_message(&welcome).unwrap()
    }

    async fn hear(&mut self) -> ToRecorder {
        loop {
            match self.messages.next(&mut self.stream).await.unwrap().unwrap() {
                ToRecorder::SessionsTold => {}
                other => return other,
            }
        }
    }

    /// Everything that it is told of what ran before it came.
    async fn told(&mut self) -> Vec<ToRecorder> {
        let mut told = Vec::new();
        loop {
            match self.messages.next(&mut self.stream).await.unwrap().unwrap() {
                ToRecorder::SessionsTold => return told,
                other => told.push(other),
            }
        }
    }

    /// The next track that it is given, of any session.
    async fn added(&mut self) -> TrackId {
        loop {
            if let ToRecorder::AddTrack(add) = self.hear().await {
                return add.track_id;
            }
        }
    }

    /// On a data connection: the next track of which nothing more comes.
    async fn ended(&mut self, data: &mut Deframer) -> TrackNumber {
        loop {
            if let Some(frame) = data.next_frame().unwrap() {
                if let Frame::End { track, .. } = Frame::decode(frame).unwrap() {
                    return track;
                }
                continue;
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the node closed the connection");
            data.extend(&chunk[..count]);
        }
    }

    async fn say(&mut self, state: SessionState) {
        let said = FromRecorder::State { session: session(), state, reason: None, files: Vec::new() };
        write(&mut self.stream, &said).await.unwrap();
    }
}

/// What the room's inbox holds.
const ROOM: usize = 8;

fn session() -> RecordingId {
    RecordingId::new("s-1").unwrap()
}

fn track(name: &str) -> NewTrack {
    let (kind, source, codec) = (MediaKind::Video, Source::Camera, Codec::Vp8);
    let facts = Recordable { worker: 0, kind, source, codec, payload_type: 96, fmtp: String::new(), level_id: None };
    NewTrack { publisher: PublisherId(1), identity: None, track: TrackId::new(name).unwrap(), facts }
}

async fn report(outbox: &mut mpsc::Receiver<ToRoom>) -> RecorderReport {
    match outbox.recv().await {
        Some(ToRoom::Input(input)) => match *input {
            Input::Recorder(report) => report,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn refusal(welcome: Welcome) -> Refusal {
    match welcome {
        Welcome::Refused { code, .. } => code,
        other @ Welcome::Accepted { .. } => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_recorder_nothing_begins() {
    let house = House::open();
    assert_eq!(house.start().await.unwrap_err(), "no recorder is attached");
    assert!(!house.recorders.is_attached().await);
}

#[tokio::test]
async fn a_session_goes_to_the_recorder_and_its_states_come_back() {
    let house = House::open();
    let (mut recorder, _) = house.attach().await;
    let mut outbox = house.start().await.unwrap();
    let number = house.recorders.add(&session(), track("v1")).await.unwrap();
    assert!(matches!(recorder.hear().await, ToRecorder::StartSession(start) if start.session == session()));
    let ToRecorder::AddTrack(add) = recorder.hear().await else { panic!() };
    assert_eq!((add.number, add.clock_rate, add.track_id.as_str()), (number, 90_000, "v1"));
    recorder.say(SessionState::Recording).await;
    assert!(matches!(report(&mut outbox).await, RecorderReport::Recording { .. }));
    write(&mut recorder.stream, &FromRecorder::Pli { track: number }).await.unwrap();
    assert!(matches!(outbox.recv().await, Some(ToRoom::KeyFrame(track)) if track.as_str() == "v1"));
    house.recorders.remove(&session(), &add.track_id).await;
    assert!(matches!(recorder.hear().await, ToRecorder::RemoveTrack { track, .. } if track == number));
    house.recorders.stop(&session()).await;
    assert!(matches!(recorder.hear().await, ToRecorder::StopSession { .. }));
    assert!(house.recorders.add(&session(), track("v2")).await.is_none());
    recorder.say(SessionState::Stopped).await;
    assert!(matches!(report(&mut outbox).await, RecorderReport::Stopped { .. }));
}

#[tokio::test]
async fn operators_see_what_the_recorder_says_of_the_tracks_that_are_recorded() {
    let house = House::open();
    let nothing = house.recorders.look().await;
    assert!(!nothing.attached && nothing.software.is_none());
    let (mut recorder, _) = house.attach().await;
    let mut outbox = house.start().await.unwrap();
    let first = house.recorders.add(&session(), track("v1")).await.unwrap();
    let second = house.recorders.add(&session(), track("v2")).await.unwrap();
    let of = |track| TrackStats { track, packets: 10, frames: 5, bytes: 1000, lost: 2, dropped_frames: 1, plis: 0 };
    let tracks = vec![of(first), of(second)];
    write(&mut recorder.stream, &FromRecorder::Stats { tracks }).await.unwrap();
    // What is said later is taken later.
    recorder.say(SessionState::Recording).await;
    assert!(matches!(report(&mut outbox).await, RecorderReport::Recording { .. }));
    let both = house.recorders.look().await;
    assert_eq!((both.software.as_deref(), both.sessions, both.tracks), (Some("test"), 1, 2));
    assert_eq!((both.packets, both.bytes, both.lost, both.dropped_frames), (20, 2000, 4, 2));
    house.recorders.remove(&session(), &TrackId::new("v1").unwrap()).await;
    let one = house.recorders.look().await;
    assert_eq!((one.tracks, one.packets), (1, 10));
}

#[tokio::test]
async fn a_room_that_is_gone_stops_its_session() {
    let house = House::open();
    let (mut recorder, _) = house.attach().await;
    let outbox = house.start().await.unwrap();
    assert!(matches!(recorder.hear().await, ToRecorder::StartSession(_)));
    drop(outbox);
    assert!(matches!(recorder.hear().await, ToRecorder::StopSession { session: stopped } if stopped == session()));
}

#[tokio::test]
async fn a_recorder_that_comes_back_hears_everything_again_by_the_same_numbers() {
    let house = House::open();
    let (mut recorder, _) = house.attach().await;
    assert!(recorder.told().await.is_empty());
    let _outbox = house.start().await.unwrap();
    let first = house.recorders.add(&session(), track("v1")).await.unwrap();
    let second = house.recorders.add(&session(), track("v2")).await.unwrap();
    drop(recorder);
    house.detached().await;
    // What is kept of it still has to be written.
    house.recorders.remove(&session(), &TrackId::new("v1").unwrap()).await;
    let mut recorder = house.attach().await.0;
    let told = recorder.told().await;
    let [ToRecorder::StartSession(_), ToRecorder::AddTrack(runs), ToRecorder::AddTrack(over), last] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((runs.number, over.number), (second, first));
    assert_eq!(*last, ToRecorder::RemoveTrack { session: session(), track: first });

    house.recorders.stop(&session()).await;
    drop(recorder);
    house.detached().await;
    let told = house.attach().await.0.told().await;
    let over = told.iter().filter(|told| matches!(told, ToRecorder::RemoveTrack { .. })).count();
    assert_eq!((over, told.last()), (2, Some(&ToRecorder::StopSession { session: session() })), "{told:?}");
}

/// A room in which somebody publishes two cameras, which are recorded.
async fn recorded(house: &House) -> (RoomHandle, PublisherId) {
    let (name, member) = (RoomName::new("den").unwrap(), house.node.allot_publisher());
    let mut join = testing::join(member);
    join.participant.identity.grant.can_record = Some(true);
    let (seat, mut news) = mpsc::channel(64);
    let room = house.node.rooms.join(&house.node, &name, join, seat).await.unwrap();
    tokio::spawn(async move { while news.recv().await.is_some() {} });
    let camera = |mid| {
        let media =
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000";
        let ice = "a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass";
        let fingerprint = vec!["0A"; 32].join(":");
        format!("{media}\r\n{ice}\r\na=fingerprint:sha-256 {fingerprint}\r\na=mid:{mid}\r\na=msid:- v{mid}\r\n")
    };
    let session = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n";
    let offer = [session, &camera(0), &camera(1)].concat();
    let offered = Some(inspect_offer(&offer));
    let offer = json!({"type": "publish-offer", "roomName": "den", "offer": offer});
    for (message, offered) in [(offer, offered), (json!({"type": "start-recording", "roomName": "den"}), None)] {
        let request = serde_json::from_value(message).unwrap();
        room.input(Input::Command { member, request, offered }).await;
    }
    (room, member)
}

#[tokio::test]
async fn what_was_revoked_while_no_recorder_was_there_has_ended_for_the_next_one() {
    let house = House::open();
    let (mut control, token) = house.attach().await;
    let mut data = house.connect().await;
    data.hello(PROTOCOL, Role::Data { worker: 0, token }).await;
    let (room, member) = recorded(&house).await;
    let (kept, revoked) = (control.added().await, control.added().await);
    drop((control, data));
    house.detached().await;
    let (whom, what, track) = (Whom::Member(member), RevokedWhat::Recording, Some(revoked.clone()));
    let revocation = Revocation { whom, what, track, reason: "not this one".into() };
    assert_eq!(room.revoke(revocation, "operator".into()).await, [member]);

    let (mut control, token) = house.attach().await;
    let told = control.told().await;
    let number = |id: &TrackId| {
        let mut added = told.iter().filter_map(|told| match told {
            ToRecorder::AddTrack(add) => Some(add),
            _ => None,
        });
        added.find(|add| add.track_id == *id).map(|add| add.number).unwrap()
    };
    let removed = told.iter().filter(|told| matches!(told, ToRecorder::RemoveTrack { .. })).collect::<Vec<_>>();
    assert!(matches!(removed[..], [ToRecorder::RemoveTrack { track, .. }] if *track == number(&revoked)), "{told:?}");
    let mut data = house.connect().await;
    data.hello(PROTOCOL, Role::Data { worker: 0, token }).await;
    let mut frames = Deframer::new(MAX_FRAME);
    assert_eq!(data.ended(&mut frames).await, number(&revoked));
    assert_ne!(number(&revoked), number(&kept));
}

#[tokio::test]
async fn a_recorder_that_comes_back_hears_of_any_number_of_tracks() {
    const TRACKS: usize = 5000;
    let house = House::open();
    let (mut recorder, _) = house.attach().await;
    let _outbox = house.start().await.unwrap();
    recorder.hear().await;
    let mut added = BTreeSet::new();
    for track in 0..TRACKS {
        added.extend(house.recorders.add(&session(), self::track(&format!("v{track}"))).await);
        recorder.hear().await;
    }
    drop(recorder);
    house.detached().await;
    let told = house.attach().await.0.told().await;
    let again = told.iter().filter_map(|told| match told {
        ToRecorder::AddTrack(add) => Some(add.number),
        _ => None,
    });
    assert_eq!(BTreeSet::from_iter(again), added);
}

#[tokio::test]
async fn a_recorder_that_stays_away_fails_its_sessions() {
    let house = House::open();
    let (recorder, _) = house.attach().await;
    let mut outbox = house.start().await.unwrap();
    drop(recorder);
    house.detached().await;
    // Only from here on: the sockets above need real time.
    tokio::time::pause();
    let RecorderReport::Failed { reason, .. } = report(&mut outbox).await else { panic!() };
    assert_eq!(reason, "the recorder is gone");
}

#[tokio::test]
async fn who_does_not_belong_is_refused_with_a_reason() {
    let house = House::open();
    let mut old = house.connect().await;
    assert_eq!(refusal(old.hello(PROTOCOL + 1, Role::Control).await), Refusal::WrongProtocol);
    let mut garbage = house.connect().await;
    write(&mut garbage.stream, &"hello").await.unwrap();
    assert_eq!(refusal(garbage.messages.next(&mut garbage.stream).await.unwrap().unwrap()), Refusal::InvalidMessage);
    let (_recorder, token) = house.attach().await;
    let mut second = house.connect().await;
    assert_eq!(refusal(second.hello(PROTOCOL, Role::Control).await), Refusal::Overloaded);
    let wrong = BindingToken::from_random([0; 16]);
    let mut data = house.connect().await;
    assert_eq!(refusal(data.hello(PROTOCOL, Role::Data { worker: 0, token: wrong }).await), Refusal::Unauthenticated);
    let mut data = house.connect().await;
    let nowhere = Role::Data { worker: 9, token: token.clone() };
    assert_eq!(refusal(data.hello(PROTOCOL, nowhere).await), Refusal::InvalidMessage);
    let mut data = house.connect().await;
    assert!(matches!(
        data.hello(PROTOCOL, Role::Data { worker: 0, token }).await,
        Welcome::Accepted { token: None, .. }
    ));
}

#[tokio::test]
async fn the_door_is_for_one_node_and_this_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/recorder.sock");
    let open = RecorderDoor::open(&socket).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.path().join("run")).unwrap());
    assert_eq!(mode & 0o777, 0o700);
    assert!(RecorderDoor::open(&socket).err().unwrap().to_string().contains("in use"));
    drop(open);
    assert!(RecorderDoor::open(&socket).is_ok(), "a leftover of a node that was killed");
    let wide = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("run"), wide).unwrap();
    assert!(RecorderDoor::open(&socket).err().unwrap().to_string().contains("755"));
}

#[tokio::test]
async fn the_hub_ends_when_its_last_session_is_over() {
    let mut house = House::open();
    let (mut recorder, _) = house.attach().await;
    let _outbox = house.start().await.unwrap();
    house.recorders.stop(&session()).await;
    house.ending.send_replace(true);
    recorder.hear().await;
    assert!(house.recorders.is_attached().await);
    recorder.say(SessionState::Stopped).await;
    let ended = async { while house.tasks.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    assert!(!house.socket.exists());
}

#[tokio::test]
async fn the_data_connection_of_a_worker_that_is_gone_stays_open() {
    let house = House::open();
    let (_control, token) = house.attach().await;
    house.node.workers.stop().await;
    let mut data = [house.connect().await, house.connect().await];
    for recorder in &mut data {
        let role = Role::Data { worker: 0, token: token.clone() };
        assert!(matches!(recorder.hello(PROTOCOL, role).await, Welcome::Accepted { .. }));
    }
    // When the second one is welcome, the first one was dealt with.
    let read = data[0].stream.try_read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(read, Err(std::io::ErrorKind::WouldBlock));
}
