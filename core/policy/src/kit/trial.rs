//! Puts cases to one plugin, and tells what came of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::contract::{self, admission, auth, command, lifecycle, publishing, recording, subscription, types};
use crate::failure::Failure;
use crate::kit::answer::{Answer, Verdict};
use crate::kit::call::{Bytes, HostCall};
use crate::kit::case::{Case, Expected, Fixture};
use crate::kit::diff::{Difference, differences};
use crate::kit::inspect::Names;
use crate::kit::question::Question;
use crate::kit::specimen::{Bench, Run, Specimen};
use crate::kit::witness::Witness;
use crate::load::exported;
use crate::load_error::LoadProblem;
use crate::plugin::Exports;

/// A plugin that cases are put to.
pub struct Trial {
    specimen: Specimen,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answered {
    /// What it answered.
    pub answer: Answer,
    /// What it asked of its host, in its order.
    pub calls: Vec<HostCall>,
    /// What it computed: about one for each WebAssembly instruction, the same on every machine.
    pub cost: u64,
    /// Memory that it had in the end, in bytes.
    pub memory: usize,
    /// How long it took here, with the counting; a node is quicker.
    #[serde(serialize_with = "in_us", rename = "took-us")]
    pub took: Duration,
    /// What it remembers of what was asked about.
    #[serde(skip)]
    kv: BTreeMap<String, Option<Bytes>>,
}

impl Trial {
    /// Compiles a plugin.
    ///
    /// # Errors
    /// If no node would load it, whatever is granted: the first reason.
    pub fn open(file: &Path) -> Result<Self, LoadProblem> {
        Self::on(&Bench::counting()?, file)
    }

    pub(super) fn on(bench: &Bench, file: &Path) -> Result<Self, LoadProblem> {
        let bytes = fs::read(file).map_err(|source| LoadProblem::Unreadable { file: file.to_owned(), source })?;
        let component = bench.compile(&bytes)?;
        if let Some(problem) = Names::read(bench, &component).problems().into_iter().next() {
            return Err(problem);
        }
        Ok(Self { specimen: bench.link(&component)? })
    }

    /// Puts a case: its settings first, as a node does, and then its question, to an instance of its own.
    pub fn put(&self, case: &Case) -> Answered {
        self.put_and_look(case, std::iter::empty())
    }

    /// Puts a case and compares; nothing differs if all is as expected.
    pub fn check(&self, fixture: &Fixture) -> (Answered, Vec<Difference>) {
        let answered = self.put_and_look(&fixture.case, fixture.expect.kv.keys());
        let found = compared(&fixture.expect, &answered);
        (answered, found)
    }

    pub(super) fn specimen(&self) -> &Specimen {
        &self.specimen
    }

    fn put_and_look<'a>(&self, case: &Case, keys: impl Iterator<Item = &'a String>) -> Answered {
        if let Some(refused) = self.configured(case) {
            return refused;
        }
        let run = self.specimen.run(witness(case), asking(&case.question));
        let memory = run.witness.memory();
        let kv = keys.map(|key| (key.clone(), run.witness.kept(key))).collect();
        let answer = match run.result {
            Ok(answer) => answer,
            Err(stopped) => Answer::failure(stopped.failure, stopped.detail),
        };
        let calls = run.witness.into_seen();
        Answered { answer, calls, cost: run.cost, memory, took: run.took, kv }
    }

    /// What there is to say if the settings are not accepted.
    fn configured(&self, case: &Case) -> Option<Answered> {
        self.specimen.exports().lifecycle.as_ref()?;
        let settings = Value::Object(case.settings.clone()).to_string();
        let run = self.specimen.run(witness(case), |exports, store, instance| {
            let lifecycle: lifecycle::Guest = exported(&exports.lifecycle)?.load(&mut *store, instance)?;
            lifecycle.call_configure(store, &settings)
        });
        let Run { result, cost, took, witness } = run;
        let answer = match result {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => Answer::RefusedSettings(why),
            Err(stopped) => Answer::failure(stopped.failure, stopped.detail),
        };
        let memory = witness.memory();
        let calls = witness.into_seen();
        Some(Answered { answer, calls, cost, memory, took, kv: BTreeMap::new() })
    }
}

/// What a call finds.
pub(super) fn witness(case: &Case) -> Witness {
    let mut witness = Witness::new(case.settings.clone(), case.tokens.clone(), case.question.now_ms());
    witness.remember(case.kv.clone());
    witness
}

/// Puts a question to an instance, and reads the answer within the bounds of the contract.
pub(super) fn asking(
    question: &Question,
) -> impl Fn(&Exports, &mut Store<Witness>, &Instance) -> wasmtime::Result<Answer> {
    move |exports, store, instance| match question.clone() {
        Question::Auth(asked) => authenticate(exports, store, instance, asked.into_contract()),
        Question::Admission(asked) => admit(exports, store, instance, asked.into_contract()),
        Question::Publishing(asked) => publish(exports, store, instance, asked.into_contract()),
        Question::Subscription(asked) => subscribe(exports, store, instance, asked.into_contract()),
        Question::Recording(asked) => record(exports, store, instance, asked.into_contract()),
        Question::Command(asked) => handle(exports, store, instance, asked.into_contract()),
    }
}

fn authenticate(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: auth::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.auth)?.load(&mut *store, instance)?;
    let said = hook.call_authenticate(store, &asked)?;
    let bounded = match &said {
        auth::Outcome::Accept(identity) => contract::read_identity(NAME, identity.clone()).map(drop),
        auth::Outcome::Deny(_) | auth::Outcome::Abstain => Ok(()),
    };
    Ok(bound(bounded, || Answer::Outcome(said.into())))
}

fn admit(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: admission::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.admission)?.load(&mut *store, instance)?;
    let said = hook.call_admit(store, &asked)?;
    let bounded = contract::read_verdict(NAME, said.clone()).map(drop);
    Ok(bound(bounded, || Answer::Verdict(said.into())))
}

fn publish(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: publishing::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.publishing)?.load(&mut *store, instance)?;
    Ok(verdicts(asked.tracks.len(), hook.call_decide(store, &asked)?))
}

fn subscribe(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: subscription::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.subscription)?.load(&mut *store, instance)?;
    Ok(verdicts(asked.publications.len(), hook.call_decide(store, &asked)?))
}

fn record(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: recording::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.recording)?.load(&mut *store, instance)?;
    Ok(verdicts(asked.publications.len(), hook.call_decide(store, &asked)?))
}

fn handle(
    exports: &Exports,
    store: &mut Store<Witness>,
    instance: &Instance,
    asked: command::Question,
) -> wasmtime::Result<Answer> {
    let hook = exported(&exports.command)?.load(&mut *store, instance)?;
    let said = hook.call_handle(store, &asked)?;
    let bounded = match &said {
        command::Outcome::Done(response) => contract::read_response(response.clone()).map(drop),
        command::Outcome::Deny(_) | command::Outcome::Abstain => Ok(()),
    };
    Ok(bound(bounded, || Answer::Outcome(said.into())))
}

fn verdicts(count: usize, said: Vec<types::Verdict>) -> Answer {
    if said.len() != count {
        let detail = format!("{} verdicts about {count} tracks", said.len());
        return Answer::failure(Failure::BadAnswer, Some(detail));
    }
    let bounded = said.iter().try_for_each(|one| contract::read_verdict(NAME, one.clone()).map(drop));
    bound(bounded, || Answer::Verdicts(said.into_iter().map(Verdict::from).collect()))
}

/// The answer, unless it is beyond the bounds of the contract.
fn bound(bounded: Result<(), Failure>, answer: impl FnOnce() -> Answer) -> Answer {
    match bounded {
        Ok(()) => answer(),
        Err(failure) => Answer::failure(failure, Some("longer or more than the contract allows".into())),
    }
}

/// Everything in which an answer is not as expected.
fn compared(expect: &Expected, came: &Answered) -> Vec<Difference> {
    let mut found = match (&expect.refused_settings, &came.answer) {
        (Some(part), Answer::RefusedSettings(why)) if why.contains(part) => Vec::new(),
        (Some(part), came) => differences(&json!({ "refused-settings": part }), &json!(came)),
        (None, came) => differences(&expect.answer(), &json!(came)),
    };
    found.extend(calls(&expect.calls, &came.calls));
    let never = |call: &&Value| expect.never.iter().any(|never| call["call"] == *never);
    let made: Vec<Value> = came.calls.iter().map(|call| json!(call)).collect();
    found.extend(made.iter().filter(never).map(|call| Difference {
        field: "never".into(),
        expected: None,
        came: Some(call.clone()),
    }));
    for (key, expected) in &expect.kv {
        let kept = came.kv.get(key).cloned().flatten();
        if kept.clone().map(Vec::from) != Some(expected.clone().into()) {
            let (expected, came) = (Some(json!(expected)), kept.map(|kept| json!(kept)));
            found.push(Difference { field: format!("kv.{key}"), expected, came });
        }
    }
    found
}

/// Each expected call must come, after the one before it.
fn calls(expected: &[Map<String, Value>], made: &[HostCall]) -> Vec<Difference> {
    let made: Vec<Value> = made.iter().map(|call| json!(call)).collect();
    let (mut from, mut found) = (0, Vec::new());
    for (number, wanted) in expected.iter().enumerate() {
        let wanted = in_our_form(wanted.clone());
        let rest = &made[from..];
        match rest.iter().position(|call| differences(&wanted, call).is_empty()) {
            Some(place) => from += place + 1,
            None => {
                let alike = rest.iter().find(|call| call["call"] == wanted["call"]);
                let field = format!("calls[{number}]");
                found.push(Difference { field, expected: Some(wanted.clone()), came: alike.cloned() });
            }
        }
    }
    found
}

/// The same bytes may be written as text or in hexadecimal.
fn in_our_form(mut wanted: Map<String, Value>) -> Value {
    let is_kv = wanted.get("call").and_then(Value::as_str).is_some_and(|name| name.starts_with("kv."));
    for key in ["value", "answer"].iter().filter(|_| is_kv) {
        if let Some(value) = wanted.get_mut(*key)
            && let Ok(bytes) = serde_json::from_value::<Bytes>(value.clone())
        {
            *value = json!(Bytes::from(Vec::from(bytes)));
        }
    }
    Value::Object(wanted)
}

fn in_us<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_secs_f64() * 1e6)
}

/// The name that its attributes would have before them.
const NAME: &str = "plugin";

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> HostCall {
        HostCall::Put { key: key.into(), value: Bytes::Text("1".into()), ttl_ms: None, failure: None }
    }

    fn wanted(call: Value) -> Map<String, Value> {
        call.as_object().cloned().unwrap()
    }

    #[test]
    fn calls_are_expected_in_their_order_with_others_between_them() {
        let made = [HostCall::Settings, put("a"), HostCall::Clock, put("b")];
        let (a, b) = (wanted(json!({ "call": "kv.put", "key": "a" })), wanted(json!({ "call": "kv.put", "key": "b" })));
        assert_eq!(calls(&[a.clone(), b.clone()], &made), []);
        let turned = calls(&[b, a.clone()], &made);
        assert_eq!((turned.len(), turned[0].field.as_str(), turned[0].came.as_ref()), (1, "calls[1]", None));
        let twice = calls(&[a.clone(), a], &made);
        assert_eq!(twice[0].came, Some(json!(put("b"))), "what came instead is shown");
    }

    #[test]
    fn bytes_of_a_call_may_be_expected_as_text_or_in_hexadecimal() {
        for value in [json!("1"), json!({ "hex": "31" })] {
            assert_eq!(calls(&[wanted(json!({ "call": "kv.put", "value": value }))], &[put("a")]), []);
        }
        assert_eq!(calls(&[wanted(json!({ "call": "kv.put", "value": { "hex": "32" } }))], &[put("a")]).len(), 1);
    }

    #[test]
    fn what_must_never_be_called_is_told_when_it_was() {
        let answered = Answered {
            answer: Answer::Verdict(Verdict::Abstain),
            calls: vec![put("a")],
            cost: 0,
            memory: 0,
            took: Duration::ZERO,
            kv: BTreeMap::from([("a".into(), None)]),
        };
        let never = Expected { never: vec!["kv.put".into()], ..Expected::default() };
        assert_eq!(compared(&never, &answered)[0].field, "never");
        let kept = Expected { kv: [("a".into(), Bytes::Text("1".into()))].into(), ..Expected::default() };
        assert_eq!(compared(&kept, &answered)[0].to_string(), "kv.a\n    expected \"1\"\n    came     nothing");
    }
}
