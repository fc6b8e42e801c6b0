//! What would come of a question if one plugin's verdict were another one: the rule of the chain, applied to a line of the log.

use lockgate_model::ErrorCode;
use lockgate_model::policy::{Denial, Hook, Verdict, merge};

use crate::chain::{ADMINS_ONLY, unknown};
use crate::journal::{DenialLine, PluginLine, Policies, QuestionLine, VerdictLine};

/// A line of the log, seen from the place of one plugin in the chain that it tells of.
#[derive(Clone, Copy)]
pub(crate) struct Chained<'a> {
    pub(crate) line: &'a QuestionLine,
    pub(crate) plugin: &'a str,
    /// The plugins that there were, in their order, if the log says so.
    pub(crate) policies: Option<&'a Policies>,
}

/// Whether a plugin would be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was asked.
    Asked,
    /// It was not among those that are asked such questions.
    New,
    /// Those before it had denied all already.
    Unreached,
}

impl Chained<'_> {
    /// Where it stands for this question.
    pub(crate) fn place(&self) -> Place {
        if self.line.plugins.iter().any(|one| one.plugin == self.plugin) {
            return Place::Asked;
        }
        let denied = |track: usize| self.words(track).any(|(_, verdict)| matches!(verdict, VerdictLine::Deny(_)));
        let all_denied = !self.line.decisions.is_empty() && (0..self.line.decisions.len()).all(denied);
        if self.was_asked(self.plugin) || all_denied { Place::Unreached } else { Place::New }
    }

    /// What it said about a track, and whether it failed; none: it was not asked.
    pub(super) fn said(&self, track: usize) -> Option<(&PluginLine, &VerdictLine)> {
        let own = self.line.plugins.iter().filter(|one| one.plugin == self.plugin);
        own.into_iter().find_map(|words| Some((words, about(words, track)?)))
    }

    /// What would come of it if it said this; none: others would be asked that were not.
    pub(super) fn decision(&self, track: usize, now: &VerdictLine) -> Option<VerdictLine> {
        let mut verdicts: Vec<(&str, &VerdictLine)> = self.words(track).collect();
        match verdicts.iter_mut().find(|(name, _)| *name == self.plugin) {
            Some((_, own)) => *own = now,
            None => verdicts.insert(self.place_among(&verdicts), (self.plugin, now)),
        }
        let denial = verdicts.iter().find(|(_, verdict)| matches!(verdict, VerdictLine::Deny(_)));
        if let Some((_, denial)) = denial {
            return Some((*denial).clone());
        }
        let heard = |name: &str| verdicts.iter().any(|(heard, _)| *heard == name);
        if self.asked().any(|name| !heard(name)) {
            return None;
        }
        self.merged(verdicts.into_iter().map(|(_, verdict)| verdict))
    }

    /// Verdicts of which none is a denial.
    fn merged<'v>(&self, verdicts: impl Iterator<Item = &'v VerdictLine>) -> Option<VerdictLine> {
        let verdicts: Vec<_> = verdicts.filter_map(allowing).collect();
        let line = self.line;
        let default_allow = match line.hook {
            _ if !verdicts.is_empty() => true,
            Hook::Auth => false,
            Hook::Command => line.who.as_ref().is_some_and(|who| who.grant.is_admin()),
            _ => self.policies?.default_allow?,
        };
        let denial = match (merge(verdicts, default_allow), line.hook) {
            (Ok(grant), _) => return Some(VerdictLine::Allow(grant)),
            (Err(_), Hook::Auth) => unknown(line.token == Some(true)),
            (Err(_), Hook::Command) => Denial::new(ErrorCode::FORBIDDEN, ADMINS_ONLY),
            (Err(denial), _) => denial,
        };
        Some(VerdictLine::Deny(DenialLine::of(&denial)))
    }

    /// Before the first one that stood behind it in the chain; a new one is the last.
    fn place_among(&self, verdicts: &[(&str, &VerdictLine)]) -> usize {
        let behind: Vec<&str> = self.asked().skip_while(|name| *name != self.plugin).collect();
        verdicts.iter().position(|(name, _)| behind.contains(name)).unwrap_or(verdicts.len())
    }

    /// Whether it was one of those that are asked such questions.
    fn was_asked(&self, plugin: &str) -> bool {
        self.asked().any(|name| name == plugin)
    }

    /// Those that are asked such questions, in their order.
    fn asked(&self) -> impl Iterator<Item = &str> {
        let all = self.policies.into_iter().flat_map(|policies| &policies.plugins);
        all.filter(|plugin| plugin.hooks.contains(&self.line.hook)).map(|plugin| plugin.name.as_str())
    }

    /// What plugins said about a track, in the order in which they were asked.
    fn words(&self, track: usize) -> impl Iterator<Item = (&str, &VerdictLine)> {
        self.line.plugins.iter().filter_map(move |words| Some((words.plugin.as_str(), about(words, track)?)))
    }
}

fn about(words: &PluginLine, track: usize) -> Option<&VerdictLine> {
    words.said.get(track.checked_sub(words.from)?)
}

fn allowing(verdict: &VerdictLine) -> Option<Verdict> {
    match verdict {
        VerdictLine::Allow(grant) => Some(Verdict::Allow(grant.clone())),
        VerdictLine::Deny(_) | VerdictLine::Abstain => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policies(default_allow: Option<bool>) -> Policies {
        let plugin = |name: &str, hooks: &[&str]| json!({ "name": name, "sha256": "", "hooks": hooks });
        let plugins = [
            plugin("auth", &["auth"]),
            plugin("first", &["subscription", "command"]),
            plugin("second", &["subscription", "command"]),
            plugin("third", &["subscription"]),
        ];
        let json = json!({ "epoch": 1, "config": "", "plugins": plugins, "defaultAllow": default_allow });
        serde_json::from_value(json).unwrap()
    }

    /// A question about as many tracks as each of those that were heard said something about.
    fn line(hook: &str, said: &[(&str, Value)], decisions: Value) -> QuestionLine {
        let words = |(name, said): &(&str, Value)| json!({ "plugin": name, "sha256": "", "said": said, "us": 1 });
        let plugins: Vec<_> = said.iter().map(words).collect();
        let json =
            json!({ "hook": hook, "askedMs": 1, "plugins": plugins, "decisions": decisions, "epoch": 1, "us": 9 });
        serde_json::from_value(json).unwrap()
    }

    fn deny(code: &str) -> Value {
        json!({ "deny": { "code": code, "message": "no" } })
    }

    fn capped(spatial: u8) -> Value {
        json!({ "allow": { "maxSpatial": spatial } })
    }

    /// What would come of the first track, in short, with the limit of layers.
    fn came(line: &QuestionLine, plugin: &str, now: &Value) -> Option<String> {
        let policies = policies(Some(true));
        let chained = Chained { line, plugin, policies: Some(&policies) };
        let now: VerdictLine = serde_json::from_value(now.clone()).unwrap();
        chained.decision(0, &now).map(|decision| match decision {
            VerdictLine::Allow(grant) => format!("allow {:?}", grant.max_spatial),
            other => other.in_short(),
        })
    }

    #[test]
    fn the_verdicts_of_the_others_stay_and_the_rule_of_the_chain_decides() {
        let line = line(
            "subscription",
            &[("first", json!([capped(2)])), ("second", json!(["abstain"])), ("third", json!([capped(1)]))],
            json!([capped(1)]),
        );
        assert_eq!(came(&line, "third", &capped(0)), Some("allow Some(0)".into()));
        assert_eq!(came(&line, "third", &json!("abstain")), Some("allow Some(2)".into()));
        assert_eq!(came(&line, "second", &deny("x-no")), Some("deny x-no".into()));
        assert_eq!(came(&line, "new", &deny("x-no")), Some("deny x-no".into()));
    }

    #[test]
    fn where_others_were_not_asked_nobody_can_say_what_they_would_have_said() {
        let line = line("subscription", &[("first", json!([deny("x-one")]))], json!([deny("x-one")]));
        assert_eq!(came(&line, "first", &json!("abstain")), None, "the second one was not asked");
        assert_eq!(came(&line, "first", &deny("x-two")), Some("deny x-two".into()));
        assert_eq!(came(&line, "third", &capped(0)), Some("deny x-one".into()), "whatever it says");
    }

    #[test]
    fn the_first_denial_in_the_order_of_the_chain_gives_the_code() {
        let line = line(
            "subscription",
            &[("first", json!(["abstain"])), ("second", json!([deny("x-two")]))],
            json!([deny("x-two")]),
        );
        assert_eq!(came(&line, "first", &deny("x-one")), Some("deny x-one".into()));
        assert_eq!(came(&line, "third", &deny("x-three")), Some("deny x-two".into()));
    }

    #[test]
    fn if_all_abstain_the_default_decides_and_of_acts_the_grant() {
        let asked = line("subscription", &[("first", json!([capped(1)]))], json!([capped(1)]));
        let abstain = VerdictLine::Abstain;
        let decision = |line: &QuestionLine, policies: Policies| {
            let only = Policies { plugins: policies.plugins[..2].to_vec(), ..policies };
            let chained = Chained { line, plugin: "first", policies: Some(&only) };
            chained.decision(0, &abstain).map(|decision| decision.in_short())
        };
        assert_eq!(decision(&asked, policies(Some(true))), Some("allow".into()));
        assert_eq!(decision(&asked, policies(Some(false))), Some("deny forbidden".into()));
        assert_eq!(decision(&asked, policies(None)), None, "the log does not say");
        let mut act = line("command", &[("first", json!([{ "allow": {} }]))], json!([{ "allow": {} }]));
        assert_eq!(decision(&act, policies(Some(true))), Some("deny forbidden".into()), "the default is not for acts");
        let who = json!({ "subject": "a", "userId": 1, "grant": { "admin": true } });
        act.who = Some(serde_json::from_value(who).unwrap());
        assert_eq!(decision(&act, policies(None)), Some("allow".into()));
    }

    #[test]
    fn a_plugin_is_asked_new_or_out_of_reach() {
        let policies = policies(None);
        let place = |plugin, said: &[(&str, Value)], decisions| {
            let line = line("subscription", said, decisions);
            Chained { line: &line, plugin, policies: Some(&policies) }.place()
        };
        let denied = [("first", json!([deny("x-no")]))];
        assert_eq!(place("first", &denied, json!([deny("x-no")])), Place::Asked);
        assert_eq!(place("third", &denied, json!([deny("x-no")])), Place::Unreached);
        assert_eq!(place("new", &denied, json!([deny("x-no")])), Place::Unreached);
        assert_eq!(place("new", &[("first", json!(["abstain"]))], json!([{ "allow": {} }])), Place::New);
        assert_eq!(place("auth", &[("first", json!(["abstain"]))], json!([{ "allow": {} }])), Place::New);
    }
}
