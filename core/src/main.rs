//! The node's program: reads its arguments and configuration, then does what they say.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use lockgate::cli::{Action, Cli, Configured, DEFAULT_CONFIG, TokenArguments};
use lockgate::config::{Config, Problem};
use lockgate::operate;
use lockgate::policy_cli::{self, Report};
use lockgate::token::{Claims, signing_secret};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let action = match cli.action {
        Some(Action::Policy(action)) => return show(&policy_cli::run(&action, cli.config.as_deref())),
        Some(Action::Operation(operation)) => return show(&operate::run(&operation, cli.config.as_deref())),
        Some(Action::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lockgate", &mut script);
            print(&script);
            return ExitCode::SUCCESS;
        }
        Some(Action::Schema) => {
            print(lockgate_model::schema::dialect_text().as_bytes());
            return ExitCode::SUCCESS;
        }
        Some(Action::Configured(action)) => Some(action),
        None => None,
    };
    let json = matches!(action, Some(Configured::Check { json: true }));
    let mut config = match Config::load(cli.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))) {
        Ok(config) => config,
        Err(problems) => return report(&in_words(&problems), json),
    };
    config.http.host = cli.host.unwrap_or(config.http.host);
    config.http.port = cli.port.unwrap_or(config.http.port);
    if let Err(problems) = config.recheck() {
        return report(&in_words(&problems), json);
    }
    match action {
        None => run(config),
        Some(Configured::Check { json }) => match lockgate::check(&config) {
            Ok(()) => report(&[], json),
            Err(problems) => report(&problems, json),
        },
        Some(Configured::Token(arguments)) => token(&config, &arguments),
    }
}

fn show(report: &Report) -> ExitCode {
    print(report.text.as_bytes());
    eprint!("{}", report.complaint);
    ExitCode::from(report.code)
}

/// Writes what was asked for. Whoever reads it may have seen enough: then there is nothing left to do.
fn print(text: &[u8]) {
    let mut out = std::io::stdout();
    if let Err(error) = out.write_all(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("this cannot be written: {error}");
        std::process::exit(CANNOT_WRITE);
    }
}

fn run(config: Config) -> ExitCode {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    // rtc_dtls warns of every extension that it does not know, which is most of what browsers offer; rtc_sctp of whatever a peer does.
    let loud = [("rtc_dtls", "error"), ("rtc_sctp", "off")].into_iter().filter(|(name, _)| !wanted.contains(name));
    let quieter = loud.fold(wanted.clone(), |all, (name, level)| format!("{all},{name}={level}"));
    let filter = EnvFilter::new(quieter);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match lockgate::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(lockgate::RunError::Configuration(problems)) => report(&problems, false),
        Err(error) => {
            eprintln!("lockgate: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}

fn in_words(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// All problems, and the exit code of a wrong configuration; no problem, no complaint.
fn report(problems: &[String], json: bool) -> ExitCode {
    if json {
        println!("{}", serde_json::json!({ "ok": problems.is_empty(), "problems": problems }));
    } else if problems.is_empty() {
        println!("the configuration is right");
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG_CONFIGURATION) }
}

fn token(config: &Config, arguments: &TokenArguments) -> ExitCode {
    let name = arguments.name.as_deref().unwrap_or(&arguments.subject);
    let mut claims = Claims::new(&arguments.subject, name, arguments.ttl, config);
    claims.rooms = (!arguments.rooms.is_empty()).then(|| arguments.rooms.clone());
    claims.can_publish = arguments.no_publish.then_some(false);
    claims.can_subscribe = arguments.no_subscribe.then_some(false);
    claims.can_record = arguments.record.then_some(true);
    claims.admin = arguments.admin.then_some(true);
    match signing_secret(config).and_then(|secret| claims.sign(&secret)) {
        Ok(token) if arguments.json => println!("{}", serde_json::json!({ "token": token, "expiresAt": claims.exp })),
        Ok(token) => println!("{token}"),
        Err(error) => {
            eprintln!("lockgate: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// EX_IOERR of sysexits(3).
const CANNOT_WRITE: i32 = 74;
/// EX_USAGE of sysexits(3).
const WRONG_CONFIGURATION: u8 = 64;
