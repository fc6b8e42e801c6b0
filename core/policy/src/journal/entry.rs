//! From a question and its answer, as the host has them, to the line about it. Done by the writer: whoever asked waits for none of it.
//!
//! Tokens and passwords are not among what is written. A text of a plugin that holds one is withheld: what a question's own answer
//! repeats does not even get here (`secrecy.rs`), but what each plugin said before that does.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::policy::{
    self as model, Attribute, CommandEffect, Decision, Denial, Grant, Hook, Identity, Participant, TrackFacts, Verdict,
};

use super::line::{
    CommandLine, DenialLine, EffectLine, HostReason, Line, Omit, PluginLine, QuestionLine, Revocation, SwapLine,
    TrackLine, VerdictLine, Who,
};
use super::weight;
use crate::heard::Words;
use crate::question::{Answer, Question};
use crate::secrecy::{Shown, WITHHELD, holds_token};

/// A question that was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) question: Arc<Question>,
    pub(crate) words: Vec<Words>,
    pub(crate) host: Option<HostReason>,
    pub(crate) answer: Answer,
    pub(crate) epoch: u64,
    pub(crate) took: Duration,
}

impl Answered {
    /// About how many bytes it holds: queues are bounded by them.
    pub(crate) fn weight(&self) -> usize {
        weight::answered(self)
    }

    /// The line about it.
    pub(crate) fn line(&self, omit: &[Omit]) -> Line {
        Line::Question(Box::new(self.question_line(omit)))
    }

    /// What that line says.
    pub(crate) fn question_line(&self, omit: &[Omit]) -> QuestionLine {
        let show = Show { omit, shown: Shown::by(&self.question) };
        let mut line = show.question(&self.question);
        line.omitted = omit.iter().copied().filter(|omitted| shows(&self.question, *omitted)).collect();
        line.plugins = self.words.iter().map(|words| show.words(words)).collect();
        (line.host, line.epoch, line.us) = (self.host, self.epoch, microseconds(self.took));
        match &self.answer {
            Answer::Identity(known) => {
                line.decisions = vec![match known {
                    Ok(identity) => VerdictLine::Allow(show.grant(&identity.grant)),
                    Err(denial) => VerdictLine::Deny(show.denial(denial)),
                }];
                line.identity = known.as_ref().ok().map(|identity| show.identity(identity));
            }
            Answer::Decisions(decisions) => {
                line.decisions = decisions.iter().map(|decision| show.decision(decision)).collect();
            }
            Answer::Act(answer) => {
                line.decisions = vec![show.decision(&answer.decision)];
                line.effects = answer.effects.iter().map(|effect| show.effect(effect)).collect();
                if let Some(command) = line.command.as_mut().filter(|_| !answer.reply.is_empty()) {
                    command.reply = show.unless(Omit::Payload, &answer.reply);
                }
            }
        }
        line
    }
}

/// A line about something else than a question, without what looks like a token in what others wrote.
pub(crate) fn withheld(line: Line) -> Line {
    let show = Show { omit: &[], shown: Shown::nothing() };
    match line {
        Line::Entered { room, participant, grant } => Line::Entered { room, participant, grant: show.grant(&grant) },
        Line::Grants { room, participant, grant } => Line::Grants { room, participant, grant: show.grant(&grant) },
        Line::Refused { room, participant, subject, of, denial } => {
            let denial = DenialLine { message: show.text(&denial.message), ..denial };
            Line::Refused { room, participant, subject: subject.map(|subject| show.text(&subject)), of, denial }
        }
        Line::Revoked { room, participant, what, publisher, track, reason } => {
            let reason = reason.map(|reason| show.text(&reason));
            Line::Revoked { room, participant, what, publisher, track, reason }
        }
        Line::Revocation(revocation) => Line::Revocation(Revocation {
            operator: show.text(&revocation.operator),
            reason: show.text(&revocation.reason),
            ..revocation
        }),
        Line::Hold { operator, subject, until_ms } => {
            Line::Hold { operator: show.text(&operator), subject: show.text(&subject), until_ms }
        }
        Line::Act { operator, act, room, participant, track } => {
            Line::Act { operator: show.text(&operator), act, room, participant, track }
        }
        Line::Repeated { of, door, peer, subject, code, times, since_ms } => {
            let subject = subject.map(|subject| show.text(&subject));
            Line::Repeated { of, door, peer, subject, code, times, since_ms }
        }
        Line::Swap(swap) => Line::Swap(Box::new(SwapLine { why: show.text(&swap.why), ..*swap })),
        // Nobody but the node wrote what is in these, or it was withheld when it was compared (`shadow.rs`).
        line => line,
    }
}

/// What of it may be seen.
struct Show<'a> {
    omit: &'a [Omit],
    shown: Shown<'a>,
}

impl Show<'_> {
    fn question(&self, question: &Question) -> QuestionLine {
        match question {
            Question::Auth(question) => QuestionLine {
                door: Some(question.door),
                peer: self.unless(Omit::Peer, &question.peer.to_string()),
                token: Some(!question.token.is_empty()),
                ..blank(Hook::Auth, question.now_ms)
            },
            Question::Admission(question) => QuestionLine {
                who: Some(self.participant(&question.who)),
                room: Some(question.room.clone()),
                password: Some(question.password.is_some()),
                metadata: question.metadata.as_ref().and_then(|text| self.unless(Omit::Metadata, text)),
                why: Some(question.why),
                ..blank(Hook::Admission, question.now_ms)
            },
            Question::Publish(question) => QuestionLine {
                who: Some(self.participant(&question.who)),
                room: Some(question.room.clone()),
                tracks: question.tracks.iter().map(|facts| track(facts, None)).collect(),
                why: Some(question.why),
                ..blank(Hook::Publishing, question.now_ms)
            },
            Question::Subscribe(question) => QuestionLine {
                who: Some(self.participant(&question.who)),
                room: Some(question.room.clone()),
                why: Some(question.why),
                ..self.about(&question.publications, blank(Hook::Subscription, question.now_ms))
            },
            Question::Record(question) => QuestionLine {
                who: question.who.as_ref().map(|who| self.participant(who)),
                room: Some(question.room.clone()),
                why: Some(question.why),
                ..self.about(&question.publications, blank(Hook::Recording, question.now_ms))
            },
            Question::Command(question) => QuestionLine {
                who: Some(self.participant(&question.who)),
                room: Some(question.room.clone()),
                command: Some(CommandLine {
                    name: self.text(&question.name),
                    target: question.target.as_ref().map(|target| self.participant(target)),
                    payload: self.unless(Omit::Payload, &question.payload),
                    reply: None,
                }),
                ..blank(Hook::Command, question.now_ms)
            },
        }
    }

    /// Tracks and their publishers, each publisher once.
    fn about(&self, publications: &[model::Publication], line: QuestionLine) -> QuestionLine {
        let mut known: Vec<&Participant> = Vec::new();
        let mut tracks = Vec::with_capacity(publications.len());
        for publication in publications {
            // They come sorted by publisher: most often it is the last one.
            let place = known.iter().rposition(|known| **known == publication.publisher).unwrap_or_else(|| {
                known.push(&publication.publisher);
                known.len() - 1
            });
            tracks.push(track(&publication.track, Some(place)));
        }
        QuestionLine { publishers: known.into_iter().map(|who| self.participant(who)).collect(), tracks, ..line }
    }

    fn participant(&self, participant: &Participant) -> Who {
        Who {
            participant: participant.publisher_id.map(|id| id.0),
            door: Some(participant.door),
            peer: self.unless(Omit::Peer, &participant.peer.to_string()),
            ..self.identity(&participant.identity)
        }
    }

    fn identity(&self, identity: &Identity) -> Who {
        let claims = if self.omit.contains(&Omit::Claims) { &[][..] } else { &identity.claims };
        Who {
            subject: self.text(&identity.subject),
            user_id: identity.user_id.0,
            username: self.unless(Omit::Username, &identity.username),
            claims: self.attributes(claims),
            expires_at_ms: identity.expires_at_ms,
            grant: self.grant(&identity.grant),
            participant: None,
            door: None,
            peer: None,
        }
    }

    fn words(&self, words: &Words) -> PluginLine {
        let said = words.said.iter().map(|verdict| match verdict {
            Verdict::Allow(grant) => VerdictLine::Allow(self.grant(grant)),
            Verdict::Deny(denial) => VerdictLine::Deny(self.denial(denial)),
            Verdict::Abstain => VerdictLine::Abstain,
        });
        PluginLine {
            plugin: words.plugin.clone(),
            sha256: words.sha256.to_string(),
            from: words.from,
            failed: words.failed.map(|failure| failure.as_str().to_owned()),
            said: said.collect(),
            us: microseconds(words.took),
        }
    }

    fn decision(&self, decision: &Decision) -> VerdictLine {
        match decision {
            Ok(grant) => VerdictLine::Allow(self.grant(grant)),
            Err(denial) => VerdictLine::Deny(self.denial(denial)),
        }
    }

    fn effect(&self, effect: &CommandEffect) -> EffectLine {
        let line = |effect: &str, subject: &Option<String>| EffectLine {
            effect: effect.to_owned(),
            subject: subject.as_ref().map(|subject| self.text(subject)),
            reason: None,
            payload: None,
        };
        match effect {
            CommandEffect::ReAsk { subject } => line("re-ask", subject),
            CommandEffect::Admit { subject } => line("admit", subject),
            CommandEffect::Revoke { subject, reason } => {
                EffectLine { reason: Some(self.text(reason)), ..line("revoke", subject) }
            }
            CommandEffect::Notify { subject, payload } => {
                EffectLine { payload: self.unless(Omit::Payload, payload), ..line("notify", subject) }
            }
        }
    }

    fn grant(&self, grant: &Grant) -> Grant {
        let rooms = grant.rooms.as_ref().map(|rooms| rooms.iter().map(|room| self.text(room)).collect());
        Grant { attributes: self.attributes(&grant.attributes), rooms, ..grant.clone() }
    }

    fn denial(&self, denial: &Denial) -> DenialLine {
        let code = self.text(denial.code.as_str());
        DenialLine { code, message: self.text(&denial.message), ..DenialLine::of(denial) }
    }

    fn attributes(&self, attributes: &[Attribute]) -> Vec<Attribute> {
        let shown = |one: &Attribute| Attribute { key: self.text(&one.key), value: self.text(&one.value) };
        attributes.iter().map(shown).collect()
    }

    fn unless(&self, omitted: Omit, text: &str) -> Option<String> {
        (!self.omit.contains(&omitted)).then(|| self.text(text))
    }

    /// A text that somebody else wrote: it may repeat what they were shown.
    fn text(&self, text: &str) -> String {
        if self.shown.is_in(text) || holds_token(text) { WITHHELD.to_owned() } else { text.to_owned() }
    }
}

impl DenialLine {
    /// A refusal of the node's own.
    pub fn of(denial: &Denial) -> Self {
        Self {
            code: denial.code.as_str().to_owned(),
            message: denial.message.clone(),
            retry_after_ms: denial.retry_after_ms,
            waiting: denial.waiting,
        }
    }
}

fn blank(hook: Hook, asked_ms: u64) -> QuestionLine {
    QuestionLine {
        hook,
        why: None,
        asked_ms,
        door: None,
        peer: None,
        token: None,
        password: None,
        metadata: None,
        room: None,
        who: None,
        publishers: Vec::new(),
        tracks: Vec::new(),
        command: None,
        omitted: Vec::new(),
        plugins: Vec::new(),
        host: None,
        decisions: Vec::new(),
        identity: None,
        effects: Vec::new(),
        epoch: 0,
        us: 0,
    }
}

/// Whether plugins are shown such a thing.
fn shows(question: &Question, what: Omit) -> bool {
    let people = people(question);
    match (what, question) {
        (Omit::Claims, _) => people.iter().any(|who| !who.identity.claims.is_empty()),
        (Omit::Username, _) => people.iter().any(|who| !who.identity.username.is_empty()),
        (Omit::Peer, question) => matches!(question, Question::Auth(_)) || !people.is_empty(),
        (Omit::Metadata, Question::Admission(question)) => question.metadata.is_some(),
        (Omit::Payload, Question::Command(question)) => !question.payload.is_empty(),
        (Omit::Metadata | Omit::Payload, _) => false,
    }
}

fn publishers(publications: &[model::Publication]) -> impl Iterator<Item = &Participant> {
    publications.iter().map(|one| &one.publisher)
}

/// Whom a question shows; some of them several times.
fn people(question: &Question) -> Vec<&Participant> {
    match question {
        Question::Auth(_) => Vec::new(),
        Question::Admission(question) => vec![&question.who],
        Question::Publish(question) => vec![&question.who],
        Question::Subscribe(question) => {
            std::iter::once(&question.who).chain(publishers(&question.publications)).collect()
        }
        Question::Record(question) => question.who.iter().chain(publishers(&question.publications)).collect(),
        Question::Command(question) => std::iter::once(&question.who).chain(&question.target).collect(),
    }
}

fn track(facts: &TrackFacts, publisher: Option<usize>) -> TrackLine {
    TrackLine {
        id: facts.id.as_str().to_owned(),
        kind: facts.kind,
        source: facts.source,
        codec: facts.codec,
        top_layer: facts.top_layer,
        bitrate: facts.bitrate,
        publisher,
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
