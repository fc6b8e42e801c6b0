//! The program against a server with WHIP and WHEP.

mod server;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use self::server::{Server, TOKEN};

fn load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate-load"));
    command.env_remove("JWT_SECRET").env_remove("LOCKGATE_LOAD_TOKEN");
    command
        .args(["--quiet", "--json", "-", "--threads", "1"])
        .args(arguments)
        .output()
        .expect("the program can be started")
}

/// The result, and what was said to people.
fn result(output: &Output) -> (Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}")), said)
}

#[test]
fn a_publisher_reaches_viewers_over_http_and_all_sessions_are_ended() {
    let server = Server::start();
    let (whip, whep) = (server.url("/whip/{room}"), server.url("/whep/{room}"));
    let output = load(&[
        "--whip",
        &whip,
        "--whep",
        &whep,
        "--room",
        "room one",
        "--token",
        TOKEN,
        "--subscribers",
        "3",
        "--duration",
        "2s",
        "--max-loss",
        "0",
    ]);
    let (result, said) = result(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!((&result["ok"], &result["subscribers"]["joined"]), (&true.into(), &3.into()), "{said}");
    let received = &result["received"];
    assert!(received["delivered"].as_u64().unwrap() > 800, "{said}");
    assert_eq!(received["delivered"], received["expected"], "{said}");
    assert!(result["latency_us"]["count"].as_u64().unwrap() > 800, "{said}");
    // Three viewers for two seconds and a little more, each of them every 50 ms while something comes.
    assert!((60..=300).contains(&received["feedback_sent"].as_u64().unwrap()), "{said}");
    assert!(server.reported_arrivals() > 800, "{} arrivals", server.reported_arrivals());
    assert_eq!(server.sessions(), (4, 4));
}

#[test]
fn a_viewer_that_is_to_give_no_feedback_gives_none() {
    let server = Server::start();
    let (whip, whep) = (server.url("/whip/{room}"), server.url("/whep/{room}"));
    let mut arguments = vec!["--whip", &whip, "--whep", &whep, "--room", "room one", "--token", TOKEN];
    arguments.extend(["--subscribers", "1", "--duration", "500ms", "--no-feedback"]);
    let output = load(&arguments);
    let (result, said) = result(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!((&result["received"]["feedback_sent"], server.reported_arrivals()), (&0.into(), 0), "{said}");
}

#[test]
fn an_interrupt_ends_the_run_with_its_result() {
    let server = Server::start();
    let (whip, whep) = (server.url("/whip/{room}"), server.url("/whep/{room}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate-load"));
    let command =
        command.args(["--json", "-", "--token", TOKEN, "--duration", "1h", "--subscribers", "1", "--room", "room one"]);
    let command = command.args(["--whip", &whip, "--whep", &whep]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = command.spawn().expect("the program can be started");
    let mut said = BufReader::new(program.stderr.take().expect("it is piped")).lines();
    let joined = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("1 + 1 joined")));
    assert!(joined.is_some(), "the program tells each second how it goes");
    let process = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it runs");
    // Whatever else it says must have a reader.
    let rest: Vec<_> = said.map_while(Result::ok).collect();
    let output = program.wait_with_output().expect("it ends");
    let result: Value = serde_json::from_slice(&output.stdout).expect("the result is JSON");
    assert!(output.status.success(), "{rest:?}");
    assert_eq!((&result["interrupted"], &result["ok"]), (&true.into(), &true.into()), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
}

#[test]
fn a_redirection_is_followed_and_the_socket_needs_no_address_without_viewers() {
    let server = Server::start();
    let (whip, whep) = (server.url("/moved"), server.url("/whep/{room}"));
    let output =
        load(&["--whip", &whip, "--whep", &whep, "--token", TOKEN, "--subscribers", "0", "--duration", "300ms"]);
    let (result, said) = result(&output);
    assert!(output.status.success(), "{said}");
    assert!(result["sent"]["packets"].as_u64().unwrap() > 10, "{said}");
    assert_eq!(server.sessions(), (1, 1));
}

#[test]
fn a_refusal_is_told_with_its_code_and_fails_the_run() {
    let server = Server::start();
    let (whip, whep) = (server.url("/whip/{room}"), server.url("/whep/{room}"));
    let output = load(&["--whip", &whip, "--whep", &whep, "--token", "wrong", "--duration", "1s"]);
    let (result, said) = result(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("unauthenticated: 401 Unauthorized: nobody knows this token"), "{said}");
    assert_eq!(result["errors"]["unauthenticated"]["count"], 1, "{said}");
    let unknown = load(&["--whip", &server.url("/nowhere"), "--whep", &whep, "--token", TOKEN, "--duration", "1s"]);
    assert_eq!(self::result(&unknown).0["errors"]["http-404"]["first"], "404 Not Found: no such page");
}

#[test]
fn without_a_token_the_program_says_what_it_needs() {
    let output = load(&["--whip", "http://127.0.0.1:1/w", "--whep", "http://127.0.0.1:1/w"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("--token, --secret-file or JWT_SECRET"), "{said}");
}
