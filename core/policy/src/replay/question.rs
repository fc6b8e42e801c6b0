//! From a line of the log back to the question that it tells of.
//!
//! What the log leaves out is not there: such a question is put as if it had never been, and is said to be incomplete.

use std::net::{IpAddr, Ipv4Addr};

use lockgate_model::policy::{
    AdmissionQuestion, Attribute, CommandQuestion, Hook, Identity, Participant, Publication, PublishQuestion,
    RecordQuestion, SubscribeQuestion, TrackFacts,
};
use lockgate_model::{PublisherId, TrackId, UserId};

use crate::journal::{CommandLine, QuestionLine, TrackLine, Who};
use crate::question::Question;
use crate::secrecy::WITHHELD;

/// The question of a line; none: it asks for a token, or a member is missing that every such question has.
pub(super) fn asked(line: &QuestionLine) -> Option<Question> {
    let now_ms = line.asked_ms;
    Some(match line.hook {
        Hook::Auth => return None,
        Hook::Admission => Question::Admission(AdmissionQuestion {
            who: who(line)?,
            room: line.room.clone()?,
            password: None,
            metadata: line.metadata.clone(),
            why: line.why?,
            now_ms,
        }),
        Hook::Publishing => Question::Publish(PublishQuestion {
            who: who(line)?,
            room: line.room.clone()?,
            tracks: line.tracks.iter().map(track).collect::<Option<_>>()?,
            why: line.why?,
            now_ms,
        }),
        Hook::Subscription => Question::Subscribe(SubscribeQuestion {
            who: who(line)?,
            room: line.room.clone()?,
            publications: publications(line)?,
            why: line.why?,
            now_ms,
        }),
        Hook::Recording => Question::Record(RecordQuestion {
            who: match &line.who {
                Some(who) => Some(participant(who)?),
                None => None,
            },
            room: line.room.clone()?,
            publications: publications(line)?,
            why: line.why?,
            now_ms,
        }),
        Hook::Command => Question::Command(Box::new(command(line, line.command.as_ref()?)?)),
    })
}

/// What plugins were shown then and the log does not have, in words for people.
pub(super) fn missing(line: &QuestionLine) -> Vec<&'static str> {
    let mut missing: Vec<_> = line.omitted.iter().map(|omitted| omitted.as_str()).collect();
    if line.password == Some(true) {
        missing.push("password");
    }
    if texts(line).any(|text| text.contains(WITHHELD)) {
        missing.push("withheld texts");
    }
    missing
}

fn who(line: &QuestionLine) -> Option<Participant> {
    participant(line.who.as_ref()?)
}

fn participant(who: &Who) -> Option<Participant> {
    let identity = Identity {
        subject: who.subject.clone(),
        user_id: UserId(who.user_id),
        username: who.username.clone().unwrap_or_default(),
        claims: who.claims.clone(),
        expires_at_ms: who.expires_at_ms,
        grant: who.grant.clone(),
    };
    let peer = match &who.peer {
        Some(peer) => peer.parse().ok()?,
        None => NOWHERE,
    };
    Some(Participant { identity, publisher_id: who.participant.map(PublisherId), door: who.door?, peer })
}

fn publications(line: &QuestionLine) -> Option<Vec<Publication>> {
    let publishers = line.publishers.iter().map(participant).collect::<Option<Vec<_>>>()?;
    let publication =
        |one: &TrackLine| Some(Publication { publisher: publishers.get(one.publisher?)?.clone(), track: track(one)? });
    line.tracks.iter().map(publication).collect()
}

fn track(track: &TrackLine) -> Option<TrackFacts> {
    Some(TrackFacts {
        id: TrackId::new(&track.id).ok()?,
        kind: track.kind,
        source: track.source,
        codec: track.codec,
        top_layer: track.top_layer,
        bitrate: track.bitrate,
    })
}

fn command(line: &QuestionLine, act: &CommandLine) -> Option<CommandQuestion> {
    let target = match &act.target {
        Some(target) => Some(participant(target)?),
        None => None,
    };
    Some(CommandQuestion {
        who: who(line)?,
        room: line.room.clone()?,
        name: act.name.clone(),
        target,
        payload: act.payload.clone().unwrap_or_default(),
        now_ms: line.asked_ms,
    })
}

/// The texts of a question that somebody else wrote.
fn texts(line: &QuestionLine) -> impl Iterator<Item = &String> {
    let target = line.command.iter().filter_map(|act| act.target.as_ref());
    let people = line.who.iter().chain(&line.publishers).chain(target);
    let of_people = people.flat_map(|who| {
        let attributes = who.claims.iter().chain(&who.grant.attributes);
        let pairs = attributes.flat_map(|Attribute { key, value }| [key, value]);
        [&who.subject].into_iter().chain(&who.username).chain(pairs)
    });
    let of_act = line.command.iter().flat_map(|act| [&act.name].into_iter().chain(&act.payload));
    of_people.chain(of_act).chain(&line.metadata)
}

/// An address that nobody comes from.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lockgate_model::policy::{Door, Grant, RoomFacts, Why};
    use lockgate_model::{Bitrate, Codec, Layer, MediaKind, RoomName, Secret, Source};
    use serde_json::json;

    use super::*;
    use crate::journal::{Answered, Omit};
    use crate::question::Answer;

    fn person(subject: &str, claim: &str) -> Participant {
        let identity = Identity {
            subject: subject.into(),
            user_id: UserId(7),
            username: format!("{subject} by name"),
            claims: vec![Attribute { key: "role".into(), value: claim.into() }],
            expires_at_ms: Some(9),
            grant: Grant { can_record: Some(true), ..Grant::default() },
        };
        let (publisher_id, peer) = (Some(PublisherId(4)), "2001:db8::7".parse().unwrap());
        Participant { identity, publisher_id, door: Door::Whep, peer }
    }

    fn facts(id: &str) -> TrackFacts {
        TrackFacts {
            id: TrackId::new(id).unwrap(),
            kind: MediaKind::Video,
            source: Source::Screen,
            codec: Some(Codec::Vp9),
            top_layer: Layer { spatial: 2, temporal: 1 },
            bitrate: Some(Bitrate(800_000)),
        }
    }

    fn questions() -> Vec<Question> {
        let name = RoomName::new("board").unwrap();
        let room = RoomFacts { name, participants: 3, publications: 2, recording: true };
        let (who, why, now_ms) = (person("ann", "\"host\""), Why::Recheck, 1_700_000_000_123);
        let of = |subject, id| Publication { publisher: person(subject, "1"), track: facts(id) };
        let publications = vec![of("bob", "a"), of("bob", "b"), of("eve", "c")];
        vec![
            Question::Admission(AdmissionQuestion {
                who: who.clone(),
                room: room.clone(),
                password: None,
                metadata: Some("{}".into()),
                why,
                now_ms,
            }),
            Question::Publish(PublishQuestion {
                who: who.clone(),
                room: room.clone(),
                tracks: vec![facts("a")],
                why,
                now_ms,
            }),
            Question::Subscribe(SubscribeQuestion {
                who: who.clone(),
                room: room.clone(),
                publications: publications.clone(),
                why,
                now_ms,
            }),
            Question::Record(RecordQuestion { who: None, room: room.clone(), publications, why, now_ms }),
            Question::Command(Box::new(CommandQuestion {
                who,
                room,
                name: "mute".into(),
                target: Some(person("bob", "2")),
                payload: "please".into(),
                now_ms,
            })),
        ]
    }

    fn logged(question: Question, omit: &[Omit]) -> QuestionLine {
        let (question, answer) = (Arc::new(question), Answer::Decisions(Vec::new()));
        let answered = Answered { question, words: Vec::new(), host: None, answer, epoch: 1, took: Duration::ZERO };
        answered.question_line(omit)
    }

    #[test]
    fn a_question_comes_back_from_the_log_as_it_was() {
        for question in questions() {
            let told = format!("{question:?}");
            let line = logged(question, &[]);
            // As a file has it.
            let line: QuestionLine = serde_json::from_value(json!(line)).unwrap();
            assert_eq!(format!("{:?}", asked(&line).unwrap()), told);
            assert_eq!(missing(&line), Vec::<&str>::new(), "{told}");
        }
    }

    #[test]
    fn what_the_log_leaves_out_is_told() {
        let all = Omit::ALL;
        let lines: Vec<_> = questions().into_iter().map(|question| logged(question, &all)).collect();
        let told: Vec<_> = lines.iter().map(missing).collect();
        let people = ["claims", "username", "peer"];
        assert_eq!(told[0], [&people[..], &["metadata"]].concat());
        assert_eq!((&told[1][..], &told[2][..], &told[3][..]), (&people[..], &people[..], &people[..]));
        assert_eq!(told[4], [&people[..], &["payload"]].concat());
        assert!(lines.iter().all(|line| asked(line).is_some()), "it can be put all the same");
    }

    #[test]
    fn secrets_that_the_log_never_has_are_missing_too() {
        let Some(Question::Admission(question)) = questions().into_iter().next() else { panic!("it is the first one") };
        let password = Some(Secret::new("hunter2"));
        let metadata = Some("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl".to_owned());
        let line = logged(Question::Admission(AdmissionQuestion { password, metadata, ..question }), &[]);
        assert_eq!(missing(&line), ["password", "withheld texts"]);
    }

    #[test]
    fn lines_that_no_node_wrote_make_no_question() {
        let line = logged(questions().swap_remove(2), &[]);
        let without: [fn(&mut QuestionLine); 4] = [
            |line| line.who = None,
            |line| line.publishers.clear(),
            |line| line.tracks[0].publisher = Some(9),
            |line| line.publishers[0].peer = Some("nowhere".into()),
        ];
        for without in without {
            let mut line = line.clone();
            without(&mut line);
            assert!(asked(&line).is_none(), "{line:?}");
        }
    }
}
