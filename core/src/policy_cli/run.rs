//! `lockgate policy run`: one question, one plugin, one answer.

use std::path::PathBuf;

use lockgate_policy::kit::{Answered, Trial};
use serde_json::{Value, json};

use super::Report;
use super::case::CaseArguments;

/// Which question.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component
    file: PathBuf,
    #[command(flatten)]
    case: CaseArguments,
    /// Do not ask: write the question as it would be put, in JSON, with everything that was left out
    #[arg(long)]
    show_question: bool,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Report {
    let case = match arguments.case.read() {
        Ok(case) => case,
        Err(problem) => return Report::wrong(problem),
    };
    if arguments.show_question {
        return Report { text: format!("{:#}\n", json!(case.question)), ..Report::default() };
    }
    match Trial::open(&arguments.file) {
        Ok(trial) => {
            let answered = trial.put(&case);
            let text = if arguments.json { format!("{}\n", json!(answered)) } else { in_words(&answered) };
            Report { text, code: u8::from(!answered.answer.counts()), ..Report::default() }
        }
        Err(problem) => Report::failed(format!("{}: {problem}; {}", arguments.file.display(), problem.remedy())),
    }
}

fn in_words(answered: &Answered) -> String {
    let mut text = String::new();
    // Of one kind of answer there is one key.
    for (kind, answer) in json!(answered.answer).as_object().into_iter().flatten() {
        match answer {
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(at, one)| text.push_str(&format!("{kind}[{at}] {one}\n")));
            }
            one => text.push_str(&format!("{kind} {one}\n")),
        }
    }
    for call in &answered.calls {
        let mut call = json!(call);
        let name = call.as_object_mut().and_then(|call| call.remove("call")).unwrap_or_default();
        let with = call.as_object().filter(|with| !with.is_empty()).map_or_else(String::new, |_| format!(" {call}"));
        text.push_str(&format!("  {}{with}\n", name.as_str().unwrap_or_default()));
    }
    let (kib, us) = (answered.memory / 1024, answered.took.as_micros());
    text.push_str(&format!("cost {}, memory {kib} KiB, {us} µs with the counting\n", answered.cost));
    text
}
