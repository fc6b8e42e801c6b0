//! About how many bytes what waits for the writer takes: the queue is bounded by them.
//!
//! What plugins and tokens may make long is counted, and the rest is taken to be as long as it can be.

use lockgate_model::policy::{Attribute, CommandEffect, Decision, Grant, Identity, Participant, Publication, Verdict};

use super::entry::Answered;
use super::line::{Line, Policies};
use crate::question::{Answer, Question};

/// A question and its answer.
pub(crate) fn answered(answered: &Answered) -> usize {
    let things = match &*answered.question {
        Question::Auth(question) => question.token.expose().len(),
        Question::Admission(question) => participant(&question.who) + question.metadata.as_ref().map_or(0, String::len),
        Question::Publish(question) => participant(&question.who) + question.tracks.len() * TRACK,
        Question::Subscribe(question) => participant(&question.who) + publications(&question.publications),
        Question::Record(question) => {
            question.who.as_ref().map_or(0, participant) + publications(&question.publications)
        }
        Question::Command(question) => {
            let target = question.target.as_ref().map_or(0, participant);
            participant(&question.who) + target + question.name.len() + question.payload.len()
        }
    };
    let said: usize = answered.words.iter().map(|words| WORDS + words.said.iter().map(verdict).sum::<usize>()).sum();
    let came = match &answered.answer {
        Answer::Identity(Ok(known)) => identity(known),
        Answer::Identity(Err(_)) => DENIAL,
        Answer::Decisions(decisions) => decisions.iter().map(decision).sum(),
        Answer::Act(answer) => {
            decision(&answer.decision) + answer.reply.len() + answer.effects.iter().map(effect).sum::<usize>()
        }
    };
    LINE + things + said + came
}

/// A line about something else.
pub(crate) fn line(line: &Line) -> usize {
    LINE + match line {
        Line::Entered { grant: of, .. } | Line::Grants { grant: of, .. } => grant(of),
        Line::Revoked { reason, .. } => reason.as_ref().map_or(0, String::len),
        Line::Revocation(revocation) => revocation.reason.len() + revocation.participants.len() * NUMBER,
        Line::Swap(swap) => swap.why.len() + policies(&swap.from) + policies(&swap.to),
        // Told by a thread of its own, which has the time to write it twice.
        Line::Shadow(shadow) => serde_json::to_vec(shadow).map_or(0, |text| text.len()),
        // Names, numbers, and the node's own words.
        _ => 0,
    }
}

fn policies(policies: &Policies) -> usize {
    (policies.plugins.len() + policies.shadows.len()) * WORDS
}

/// What a grant holds. All that has no bound of a few bytes is in two lists.
pub(crate) fn grant(grant: &Grant) -> usize {
    let rooms: usize = grant.rooms.iter().flatten().map(|room| TEXT + room.len()).sum();
    GRANT + attributes(&grant.attributes) + rooms
}

fn participant(who: &Participant) -> usize {
    identity(&who.identity)
}

fn identity(identity: &Identity) -> usize {
    PERSON + attributes(&identity.claims) + grant(&identity.grant)
}

fn publications(publications: &[Publication]) -> usize {
    publications.iter().map(|publication| TRACK + participant(&publication.publisher)).sum()
}

fn attributes(attributes: &[Attribute]) -> usize {
    attributes.iter().map(|one| 2 * TEXT + one.key.len() + one.value.len()).sum()
}

fn verdict(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Allow(allowed) => grant(allowed),
        Verdict::Deny(_) | Verdict::Abstain => DENIAL,
    }
}

fn decision(decision: &Decision) -> usize {
    decision.as_ref().map_or(DENIAL, grant)
}

fn effect(effect: &CommandEffect) -> usize {
    match effect {
        CommandEffect::ReAsk { .. } | CommandEffect::Admit { .. } => PERSON,
        CommandEffect::Revoke { reason, .. } => PERSON + reason.len(),
        CommandEffect::Notify { payload, .. } => PERSON + payload.len(),
    }
}

/// A line without what follows.
const LINE: usize = 1024;
/// A plugin's name and digest.
const WORDS: usize = 256;
/// The facts of a track: its name has 128 bytes at most.
const TRACK: usize = 384;
/// A subject, a name and an address.
const PERSON: usize = 768;
/// A refusal, whose message has 256 bytes at most, in the space of a verdict.
const DENIAL: usize = 512;
/// A grant without lists, in the space of a verdict.
const GRANT: usize = 512;
/// A text beside its bytes: where it is and how long, and what the allocator adds.
const TEXT: usize = 40;
/// A number as text.
const NUMBER: usize = 21;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use lockgate_model::policy::{AdmissionQuestion, Denial, Door, Hook, RoomFacts, Why};
    use lockgate_model::{ErrorCode, RoomName, UserId};

    use super::*;
    use crate::compare::Said;
    use crate::heard::Words;
    use crate::journal::Hash;
    use crate::journal::line::{ShadowLine, ShadowWord, VerdictLine};

    /// The largest grant that a plugin can give: see `contract/v0_1.rs`.
    fn largest() -> Grant {
        let attribute = |n: usize| Attribute { key: format!("plugin.{n:064}"), value: "v".repeat(4096) };
        let rooms = (0..256).map(|n| format!("{n:0128}")).collect();
        Grant { attributes: (0..32).map(attribute).collect(), rooms: Some(rooms), ..Grant::default() }
    }

    fn is_about(weight: usize, value: &impl serde::Serialize) {
        let length = serde_json::to_string(value).unwrap().len();
        assert!(weight >= length && weight <= length * 2 + 2048, "{weight} for {length} bytes");
    }

    #[test]
    fn the_largest_grant_weighs_what_it_takes() {
        is_about(grant(&largest()), &largest());
        is_about(grant(&Grant::default()), &Grant::default());
        let entered = Line::Entered { room: "board".into(), participant: 1, grant: largest() };
        is_about(line(&entered), &entered);
        let grants = Line::Grants { room: "board".into(), participant: 1, grant: largest() };
        is_about(line(&grants), &grants);
        let word = ShadowWord {
            track: None,
            publisher: None,
            live: None,
            shadow: Said::Verdict(VerdictLine::Abstain),
            changes: Vec::new(),
            came: VerdictLine::Allow(largest()),
            would_come: None,
        };
        let shadow = Line::Shadow(Box::new(ShadowLine {
            plugin: "new".into(),
            sha256: Hash::NONE.to_string(),
            of: None,
            hook: Hook::Admission,
            asked_ms: 5,
            room: None,
            who: None,
            epoch: 1,
            differs: vec![word; 64],
            more: 0,
        }));
        is_about(line(&shadow), &shadow);
    }

    #[test]
    fn a_question_weighs_what_its_people_have_and_plugins_say() {
        let name = RoomName::new("board").unwrap();
        let claims = vec![Attribute { key: "groups".into(), value: "g".repeat(4096) }; 4];
        let identity = Identity {
            subject: "s".repeat(256),
            user_id: UserId(7),
            username: "u".repeat(128),
            claims,
            expires_at_ms: None,
            grant: largest(),
        };
        let who = Participant { identity, publisher_id: None, door: Door::Ws, peer: Ipv4Addr::LOCALHOST.into() };
        let room = RoomFacts { name, participants: 1, publications: 0, recording: false };
        let metadata = Some("m".repeat(4096));
        let question = AdmissionQuestion { who, room, password: None, metadata, why: Why::Request, now_ms: 5 };
        let said = |said: Verdict| Words {
            plugin: "one".into(),
            sha256: Hash::NONE,
            from: 0,
            failed: None,
            said: vec![said],
            took: Duration::ZERO,
        };
        let denial = Denial::new(ErrorCode::FORBIDDEN, "n".repeat(256));
        for (said, decision) in [
            (vec![said(Verdict::Allow(largest())), said(Verdict::Allow(largest()))], Ok(largest())),
            (vec![said(Verdict::Allow(largest())), said(Verdict::Deny(denial.clone()))], Err(denial)),
        ] {
            let (question, took) = (Arc::new(Question::Admission(question.clone())), Duration::ZERO);
            let answer = Answer::Decisions(vec![decision]);
            let of = Answered { question, words: said, host: None, answer, epoch: 1, took };
            let weight = answered(&of);
            is_about(weight, &of.line(&[]));
        }
    }
}
