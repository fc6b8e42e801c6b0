//! The chain: every plugin that answers a kind of question is asked, and their answers become one decision.
//!
//! What a failure means is decided here, and nowhere else: a denial, or whatever else the operator wants it to mean.

mod who;

use std::collections::HashSet;
use std::sync::Arc;

use lockgate_model::ErrorCode;
use lockgate_model::policy::{
    self as model, AdmissionQuestion, AuthQuestion, CommandAnswer, CommandQuestion, Decision, Denial, Hook, Identity,
    PublishQuestion, RecordQuestion, SubscribeQuestion, Verdict, merge,
};

use self::who::narrowed;
pub(crate) use self::who::{STRANGER, first_u64, user_id};
use crate::config::OnFailure;
use crate::contract::{self, Accepted, Batch, MAX_BATCH, auth, command, recording, subscription, types};
use crate::engine::Runtime;
use crate::failure::Failure;
use crate::heard::Heard;
use crate::last_known::Asked;
use crate::load::exported;
use crate::metrics::Said;
use crate::plugin::{Ask, Moment, Plugin};

/// All plugins, in their order.
pub(crate) struct Chain {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) plugins: Vec<Arc<Plugin>>,
    pub(crate) default_allow: bool,
}

/// What one plugin makes of an act.
enum Act {
    Done { reply: String, effects: Vec<model::CommandEffect> },
    Deny(Denial),
    Abstain,
}

/// What one plugin makes of a token.
enum Known {
    Accept(Accepted),
    Deny(Denial),
    Abstain,
}

impl Chain {
    /// `accepted` tells whom others have accepted before.
    pub(crate) fn authenticate(
        &self,
        question: &AuthQuestion,
        mut accepted: Option<Identity>,
        moment: Moment,
        heard: &mut Heard,
    ) -> Result<Identity, Denial> {
        for plugin in self.asked(Hook::Auth) {
            let asking = heard.ask();
            let known = self.ask_auth(plugin, question, accepted.as_ref(), moment);
            let failed = known.as_ref().err().copied();
            let known = known.unwrap_or_else(|_| plugin.failed(Hook::Auth, Known::Deny, Known::Abstain));
            heard.said(asking, plugin, failed, || vec![known.verdict()]);
            match known {
                Known::Accept(found) => accepted = Some(narrowed(accepted, found)?),
                Known::Deny(denial) => return Err(denial),
                Known::Abstain => {}
            }
        }
        accepted.ok_or_else(|| unknown(!question.token.is_empty()))
    }

    pub(crate) fn admit(&self, question: &AdmissionQuestion, moment: Moment, heard: &mut Heard) -> Decision {
        let asked = contract::admission_question(question);
        let mut decisions = self.decide(Hook::Admission, 1, None, heard, |plugin| {
            plugin.ask(
                &self.runtime,
                Hook::Admission,
                moment,
                |exports, store, instance| {
                    exported(&exports.admission)?.load(&mut *store, instance)?.call_admit(store, &asked)
                },
                |verdict| Ok(vec![contract::read_verdict(&plugin.name, verdict)?]),
            )
        });
        decisions.pop().unwrap_or_else(|| Err(unavailable()))
    }

    pub(crate) fn publish(&self, question: &PublishQuestion, moment: Moment, heard: &mut Heard) -> Vec<Decision> {
        let decide = |tracks: &[model::TrackFacts]| {
            let asked = contract::publishing_question(question, tracks);
            self.decide_batch(Hook::Publishing, tracks.len(), None, moment, heard, |exports, store, instance| {
                exported(&exports.publishing)?.load(&mut *store, instance)?.call_decide(store, &asked)
            })
        };
        question.tracks.chunks(MAX_BATCH).flat_map(decide).collect()
    }

    pub(crate) fn subscribe(&self, question: &SubscribeQuestion, moment: Moment, heard: &mut Heard) -> Vec<Decision> {
        let decide = |publications: &[model::Publication]| {
            let Batch { publishers, publications: asked } = Batch::new(publications);
            let asked = subscription::Question {
                who: contract::participant(&question.who),
                room: contract::room(&question.room),
                publishers,
                publications: asked,
                why: contract::why(question.why).into(),
                now_ms: question.now_ms,
                extra: Vec::new(),
            };
            let known = self.remembers().then(|| Asked::new(question, publications));
            self.decide_batch(
                Hook::Subscription,
                publications.len(),
                known.as_ref(),
                moment,
                heard,
                |exports, store, instance| {
                    exported(&exports.subscription)?.load(&mut *store, instance)?.call_decide(store, &asked)
                },
            )
        };
        question.publications.chunks(MAX_BATCH).flat_map(decide).collect()
    }

    pub(crate) fn record(&self, question: &RecordQuestion, moment: Moment, heard: &mut Heard) -> Vec<Decision> {
        let decide = |publications: &[model::Publication]| {
            let Batch { publishers, publications: asked } = Batch::new(publications);
            let asked = recording::Question {
                who: question.who.as_ref().map(contract::participant),
                room: contract::room(&question.room),
                publishers,
                publications: asked,
                why: contract::why(question.why).into(),
                now_ms: question.now_ms,
                extra: Vec::new(),
            };
            self.decide_batch(Hook::Recording, publications.len(), None, moment, heard, |exports, store, instance| {
                exported(&exports.recording)?.load(&mut *store, instance)?.call_decide(store, &asked)
            })
        };
        question.publications.chunks(MAX_BATCH).flat_map(decide).collect()
    }

    /// If all abstain, those with the `admin` grant may.
    pub(crate) fn command(&self, question: &CommandQuestion, moment: Moment, heard: &mut Heard) -> CommandAnswer {
        let asked = contract::command_question(question);
        let (mut reply, mut effects, mut known) = (String::new(), Vec::new(), false);
        for plugin in self.asked(Hook::Command) {
            let asking = heard.ask();
            let act = self.ask_command(plugin, &asked, moment);
            let failed = act.as_ref().err().copied();
            let act = act.unwrap_or_else(|_| plugin.failed(Hook::Command, Act::Deny, Act::Abstain));
            heard.said(asking, plugin, failed, || vec![act.verdict()]);
            match act {
                Act::Done { reply: words, effects: more } => {
                    known = true;
                    effects.extend(more);
                    if reply.is_empty() {
                        reply = words;
                    }
                }
                Act::Deny(denial) => return denied(denial),
                Act::Abstain => {}
            }
        }
        if !known && !question.who.identity.grant.is_admin() {
            return denied(Denial::new(ErrorCode::FORBIDDEN, ADMINS_ONLY));
        }
        CommandAnswer { decision: Ok(model::Grant::default()), reply, effects }
    }

    /// Makes instances ready that are to be kept. Threads call it when they have answered.
    pub(crate) fn warm_up(&self, now_ms: u64) {
        self.plugins.iter().for_each(|plugin| plugin.warm_up(&self.runtime, now_ms));
    }

    fn ask_auth(
        &self,
        plugin: &Plugin,
        question: &AuthQuestion,
        accepted: Option<&Identity>,
        moment: Moment,
    ) -> Result<Known, Failure> {
        let asked = contract::auth_question(question, accepted);
        let read = |outcome| {
            Ok(match outcome {
                auth::Outcome::Accept(identity) => Known::Accept(contract::read_identity(&plugin.name, identity)?),
                auth::Outcome::Deny(denial) => Known::Deny(contract::read_denial(denial)),
                auth::Outcome::Abstain => Known::Abstain,
            })
        };
        let known = plugin.ask(
            &self.runtime,
            Hook::Auth,
            moment,
            |exports, store, instance| {
                exported(&exports.auth)?.load(&mut *store, instance)?.call_authenticate(store, &asked)
            },
            read,
        )?;
        plugin.said(Hook::Auth, known.said());
        Ok(known)
    }

    fn ask_command(&self, plugin: &Plugin, asked: &command::Question, moment: Moment) -> Result<Act, Failure> {
        let read = |outcome| {
            Ok(match outcome {
                command::Outcome::Done(response) => {
                    let (reply, effects, unknown) = contract::read_response(response)?;
                    if !unknown.is_empty() {
                        tracing::warn!(plugin = plugin.name, effects = unknown.join(" "), "unknown effects");
                    }
                    Act::Done { reply, effects }
                }
                command::Outcome::Deny(denial) => Act::Deny(contract::read_denial(denial)),
                command::Outcome::Abstain => Act::Abstain,
            })
        };
        let act = plugin.ask(
            &self.runtime,
            Hook::Command,
            moment,
            |exports, store, instance| {
                exported(&exports.command)?.load(&mut *store, instance)?.call_handle(store, asked)
            },
            read,
        )?;
        plugin.said(Hook::Command, act.said());
        Ok(act)
    }

    /// One decision for each of so many tracks; `ask` puts them to an instance, `asked` is what earlier answers are found by.
    fn decide_batch(
        &self,
        hook: Hook,
        count: usize,
        asked: Option<&Asked>,
        moment: Moment,
        heard: &mut Heard,
        ask: impl Ask<Vec<types::Verdict>>,
    ) -> Vec<Decision> {
        self.decide(hook, count, asked, heard, |plugin| {
            let read = |verdicts: Vec<types::Verdict>| {
                if verdicts.len() != count {
                    return Err(Failure::BadAnswer);
                }
                verdicts.into_iter().map(|verdict| contract::read_verdict(&plugin.name, verdict)).collect()
            };
            let verdicts: Vec<Verdict> = plugin.ask(&self.runtime, hook, moment, &ask, read)?;
            plugin.remember(asked, &verdicts);
            Ok(verdicts)
        })
    }

    /// Asks each plugin for its verdicts about so many things, until all of them are denied.
    fn decide(
        &self,
        hook: Hook,
        count: usize,
        asked: Option<&Asked>,
        heard: &mut Heard,
        ask: impl Fn(&Plugin) -> Result<Vec<Verdict>, Failure>,
    ) -> Vec<Decision> {
        let mut verdicts: Vec<Vec<Verdict>> = vec![Vec::new(); count];
        let mut denied = HashSet::new();
        for plugin in self.asked(hook) {
            if denied.len() == count {
                break;
            }
            let asking = heard.ask();
            let answer = ask(plugin);
            let failed = answer.as_ref().err().copied();
            let answer = answer.unwrap_or_else(|_| plugin.stand_in(hook, count, asked));
            heard.said(asking, plugin, failed, || answer.clone());
            for (place, verdict) in answer.into_iter().enumerate() {
                if failed.is_none() {
                    plugin.said(hook, said(&verdict));
                }
                if matches!(verdict, Verdict::Deny(_)) {
                    denied.insert(place);
                }
                verdicts[place].push(verdict);
            }
        }
        heard.go_on(count);
        verdicts.into_iter().map(|verdicts| merge(verdicts, self.default_allow)).collect()
    }

    /// Whether any plugin's last answers may be wanted.
    fn remembers(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.last_known.is_some())
    }

    fn asked(&self, hook: Hook) -> impl Iterator<Item = &Plugin> {
        self.plugins.iter().map(AsRef::as_ref).filter(move |plugin: &&Plugin| plugin.is_asked(hook))
    }
}

impl Plugin {
    /// What a failure means, as the operator wants it.
    fn failed<T>(&self, hook: Hook, deny: impl FnOnce(Denial) -> T, abstain: T) -> T {
        match self.config.on_failure.of(hook) {
            OnFailure::Closed | OnFailure::LastKnown => deny(unavailable()),
            OnFailure::Open => abstain,
        }
    }

    /// Keeps what it said, if it may be wanted when it fails.
    fn remember(&self, asked: Option<&Asked>, verdicts: &[Verdict]) {
        if let Some((last_known, asked)) = self.last_known.as_ref().zip(asked) {
            last_known.keep(asked, verdicts);
        }
    }

    /// What stands for so many verdicts that it failed to give.
    fn stand_in(&self, hook: Hook, count: usize, asked: Option<&Asked>) -> Vec<Verdict> {
        let failed = || self.failed(hook, Verdict::Deny, Verdict::Abstain);
        match self.last_known.as_ref().zip(asked) {
            Some((known, asked)) => known.lend(asked).into_iter().map(|one| one.unwrap_or_else(failed)).collect(),
            None => vec![failed(); count],
        }
    }

    fn said(&self, hook: Hook, said: Said) {
        tracing::debug!(plugin = self.name, hook = hook.as_str(), ?said, "a plugin answered");
        self.ledger.counters.verdict(hook, said);
    }
}

impl Known {
    /// What it says, without whom it is about.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Accept(accepted) => Verdict::Allow(accepted.grant.clone()),
            Self::Deny(denial) => Verdict::Deny(denial.clone()),
            Self::Abstain => Verdict::Abstain,
        }
    }

    fn said(&self) -> Said {
        match self {
            Self::Accept(_) => Said::Yes,
            Self::Deny(_) => Said::No,
            Self::Abstain => Said::Nothing,
        }
    }
}

impl Act {
    /// What it says, without what else is to be done.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Done { .. } => Verdict::Allow(model::Grant::default()),
            Self::Deny(denial) => Verdict::Deny(denial.clone()),
            Self::Abstain => Verdict::Abstain,
        }
    }

    fn said(&self) -> Said {
        match self {
            Self::Done { .. } => Said::Yes,
            Self::Deny(_) => Said::No,
            Self::Abstain => Said::Nothing,
        }
    }
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Allow(_) => Said::Yes,
        Verdict::Deny(_) => Said::No,
        Verdict::Abstain => Said::Nothing,
    }
}

/// The denial of whom no plugin knows, with a token or without one.
pub(crate) fn unknown(token: bool) -> Denial {
    let message = if token { "no plugin accepts this token" } else { "a token is needed" };
    Denial::new(ErrorCode::UNAUTHENTICATED, message)
}

/// The denial of a question that a plugin could not answer.
pub(crate) fn unavailable() -> Denial {
    let denial = Denial::new(ErrorCode::POLICY_UNAVAILABLE, "the policy cannot answer at the moment");
    Denial { retry_after_ms: Some(RETRY_MS), ..denial }
}

/// An act that is not done.
pub(crate) fn denied(denial: Denial) -> CommandAnswer {
    CommandAnswer { decision: Err(denial), reply: String::new(), effects: Vec::new() }
}

/// What somebody is told whose act no plugin knows.
pub(crate) const ADMINS_ONLY: &str = "this is for those with the admin grant";
/// When a question that could not be answered may be asked again.
pub(crate) const RETRY_MS: u64 = 1000;

#[cfg(test)]
mod tests;
