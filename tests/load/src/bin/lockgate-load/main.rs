//! `lockgate-load`: sizes a machine by joining it as many WebRTC clients and counting what becomes of their media.

#![allow(clippy::print_stdout, reason = "a program's result goes to standard output")]

mod cli;
mod client;
mod failure;
mod ledger;
mod net;
mod run;
mod session;
mod summary;
mod tokens;
mod whip;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use lockgate_load::{Driver, Options, PublisherSpec, Traffic, VideoSpec, ViewerSpec, Voice};
use lockgate_model::MediaKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{Args, Media};
use crate::client::Plan;
use crate::run::{Course, Run};
use crate::summary::Summary;
use crate::tokens::Tokens;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(summary) if summary.ok => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lockgate-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<Summary> {
    raise_file_limit();
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let driver = Driver::start(Options { threads, receive_buffer: args.receive_buffer, tcp: args.tcp })?;
    let plan = Arc::new(plan(args, driver)?);
    // Signalling is little work; the threads that carry media need the cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let run = Run::new(plan, course(args))?;
        anyhow::Ok(run.finish(threads, !args.no_decrypt, args.max_loss).await)
    })?;
    let summary = Summary::new(measured);
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if to_stdout {
        eprintln!("{summary}");
    } else {
        println!("{summary}");
    }
    if let Some(file) = &args.json {
        write_json(file, &summary)?;
    }
    Ok(summary)
}

/// Each client has two sockets or more, and the usual limit of 1024 files is for programs that know no better. What cannot be had
/// shows as clients that cannot connect.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn plan(args: &Args, driver: Driver) -> anyhow::Result<Plan> {
    let kinds = match args.media {
        Media::Both => vec![MediaKind::Audio, MediaKind::Video],
        Media::Video => vec![MediaKind::Video],
        Media::Audio => vec![MediaKind::Audio],
    };
    Ok(Plan {
        driver,
        tokens: Arc::new(Tokens::new(args)?),
        socket: args.url.clone(),
        whip: args.whip.clone(),
        whep: args.whep.clone(),
        publishes: publishes(args, &kinds),
        views: ViewerSpec { decrypt: !args.no_decrypt, feedback: !args.no_feedback },
        kinds,
        max_spatial: args.max_layer.map(cli::Layer::spatial),
        join_timeout: args.join_timeout,
    })
}

fn publishes(args: &Args, kinds: &[MediaKind]) -> PublisherSpec {
    let video = |part: f64| Traffic { bitrate: (args.bitrate.0 as f64 * part) as u64, frame_rate: args.fps };
    let layers = || [("low", 0.1), ("mid", 1.0 / 3.0), ("high", 1.0)].map(|(rid, part)| (rid.to_owned(), video(part)));
    let shape = || if args.simulcast { VideoSpec::Simulcast(layers().into()) } else { VideoSpec::Single(video(1.0)) };
    let sound = || Traffic { bitrate: args.audio_bitrate.0, frame_rate: 50.0 };
    PublisherSpec {
        audio: kinds.contains(&MediaKind::Audio).then(sound),
        video: kinds.contains(&MediaKind::Video).then(shape),
        voice: args.talk.map(|turn| Voice { place: 0, of: args.participants.unwrap_or(args.publishers), turn }),
        stream: String::new(),
    }
}

fn course(args: &Args) -> Course {
    let rooms = match args.rooms {
        1 => vec![args.room.clone()],
        many => (1..=many).map(|number| format!("{}-{number}", args.room)).collect(),
    };
    Course {
        rooms,
        publishers: if args.participants.is_some() { 0 } else { args.publishers },
        subscribers: if args.participants.is_some() { 0 } else { args.subscribers },
        participants: args.participants.unwrap_or(0),
        join_rate: args.join_rate,
        churn: args.churn,
        duration: args.duration,
        quiet: args.quiet,
    }
}

fn write_json(file: &Path, summary: &Summary) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(summary)?;
    if file == Path::new("-") {
        println!("{text}");
        return Ok(());
    }
    std::fs::write(file, text + "\n").with_context(|| format!("--json {}", file.display()))
}
