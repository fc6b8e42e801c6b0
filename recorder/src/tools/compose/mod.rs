//! `compose`: one video of a session, by ffmpeg. What is recorded stays as it is; a composition can be made again, and otherwise.

mod graph;
mod layout;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate_model::MediaKind;
use lockgate_model::carrier::FileState;

use self::graph::{Canvas, Input, graph};
use super::{Outcome, ToolError, file_error, write_json};
use crate::archive::{MANIFEST, Manifest, SPEAKERS, open_regular, rename_free};
use crate::upload::Ledger;

/// What to compose, and how.
#[derive(Debug, clap::Args)]
pub struct ComposeArguments {
    /// The folder of the session.
    path: PathBuf,
    /// The video: .webm (VP9, Opus), .mp4 or .mkv (H.264, AAC). It must not be there.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// In pixels, even.
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u32).range(160..=7680))]
    width: u32,
    /// In pixels, even.
    #[arg(long, default_value_t = 720, value_parser = clap::value_parser!(u32).range(120..=4320))]
    height: u32,
    /// Frames a second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=60))]
    fps: u32,
    /// The program that renders.
    #[arg(long, value_name = "PROGRAM", default_value = "ffmpeg")]
    ffmpeg: PathBuf,
    /// Only print the command, for a shell.
    #[arg(long)]
    print: bool,
    /// Write the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Renders a session.
pub(super) fn compose(arguments: &ComposeArguments, out: &mut impl Write) -> Result<Outcome, ToolError> {
    let ComposeArguments { path, output, print, json, .. } = arguments;
    if !path.join(MANIFEST).is_file() {
        return Err(ToolError::NoSession(path.clone()));
    }
    let manifest = Manifest::load(&path.join(MANIFEST)).ok_or_else(|| ToolError::Manifest(path.clone()))?;
    let encoding = encoding(output)?;
    let aside = aside(output);
    let inputs = inputs(path, &manifest);
    if inputs.is_empty() {
        return Err(ToolError::Compose(format!("{}: nothing in it is complete", path.display())));
    }
    for Input { path: file, .. } in &inputs {
        if let (Err(_), Some(name)) = (file.symlink_metadata(), file.file_name().and_then(|name| name.to_str()))
            && let Some(url) = Ledger::look(path).url(name)
        {
            return Err(ToolError::Compose(format!("{}: it is only in the store; fetch {url} first", file.display())));
        }
        open_regular(file).map_err(file_error(file))?;
    }
    let command = command(arguments, &inputs, &manifest, encoding, if *print { output } else { &aside })?;
    if *print {
        writeln!(out, "{}", shown(arguments, &command))?;
        return Ok(Outcome::Good);
    }
    run(arguments, &command, &aside)?;
    let duration_ms = manifest.duration_ms();
    match json {
        true => {
            write_json(
                &serde_json::json!({ "output": output, "durationMs": duration_ms, "files": inputs.len() }),
                out,
            )?;
        }
        false => writeln!(out, "{}: {}", output.display(), super::clock_text(duration_ms))?,
    }
    Ok(Outcome::Good)
}

/// The complete files of a session.
fn inputs(folder: &Path, manifest: &Manifest) -> Vec<Input> {
    let complete = manifest.files.iter().filter(|entry| {
        if entry.state == FileState::Open {
            tracing::warn!(file = entry.path, "a file that is not complete is left out");
        }
        entry.state == FileState::Closed && entry.duration_ms > 0
    });
    let inputs = complete.map(|entry| Input {
        path: folder.join(&entry.path),
        place: (entry.publisher_id, entry.group),
        start_us: entry.start_us,
        end_us: entry.start_us.saturating_add(entry.duration_ms.saturating_mul(1000)),
        picture: entry.tracks.iter().any(|track| track.kind == MediaKind::Video),
        sounds: entry.tracks.iter().filter(|track| track.kind == MediaKind::Audio).count(),
    });
    inputs.collect()
}

/// What ffmpeg is told.
fn command(
    arguments: &ComposeArguments,
    inputs: &[Input],
    manifest: &Manifest,
    encoding: &Encoding,
    output: &Path,
) -> Result<Vec<String>, ToolError> {
    let seconds = manifest.duration_ms() as f64 / 1000.0;
    let canvas = Canvas { width: arguments.width & !1, height: arguments.height & !1, fps: arguments.fps, seconds };
    let graph = graph(inputs, &canvas);
    let mut words = Words::default();
    // Times count from the session's beginning, not each file's from its own.
    words.add(["-hide_banner", "-nostdin", "-v", "error", "-copyts"]);
    for input in inputs {
        let offset = format!("{:.6}", input.start_us as f64 / 1e6);
        // A picture that changes its size must not begin the whole graph anew.
        words.add(["-reinit_filter", "0", "-itsoffset", &offset]);
        // Not what the content says it is: a playlist would name other files.
        words.add(["-f", "matroska", "-i", &file_url(&input.path)?]);
    }
    let captions = arguments.path.join(SPEAKERS);
    let text = open_regular(&captions).and_then(std::io::read_to_string);
    let spoken = text.is_ok_and(|text| text.contains("-->"));
    if spoken {
        words.add(["-f", "webvtt", "-i", &file_url(&captions)?]);
    }
    words.add(["-filter_complex", &graph.filters, "-map", "[video]"]);
    if graph.has_sound {
        words.add(["-map", "[sound]"]);
    }
    if spoken {
        words.add(["-map", &format!("{}:s", inputs.len()), "-c:s", encoding.captions]);
    }
    words.add(encoding.words.iter().copied());
    words.add(["-t", &format!("{seconds:.3}"), &file_url(output)?]);
    match words.0.iter().any(|word| word.len() > LONGEST_WORD) {
        false => Ok(words.0),
        true => Err(ToolError::Compose(format!("{} files are too many for one video", inputs.len()))),
    }
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.0.extend(words.into_iter().map(str::to_owned));
    }
}

/// A name that ffmpeg takes for a file and nothing else, whatever is in it.
fn file_url(path: &Path) -> Result<String, ToolError> {
    let text = path.to_str().ok_or_else(|| ToolError::Compose(format!("{}: the name is no UTF-8", path.display())))?;
    Ok(format!("file:{text}"))
}

/// How a video is coded.
struct Encoding {
    words: &'static [&'static str],
    captions: &'static str,
}

fn encoding(output: &Path) -> Result<&'static Encoding, ToolError> {
    if output.symlink_metadata().is_ok() {
        return Err(ToolError::Compose(format!("{}: it is there already; name another", output.display())));
    }
    match output.extension().and_then(|extension| extension.to_str()) {
        Some("webm") => Ok(&WEBM),
        Some("mkv") => Ok(&MKV),
        Some("mp4") => Ok(&MP4),
        _ => Err(ToolError::Compose(format!("{}: give it the ending .webm, .mp4 or .mkv", output.display()))),
    }
}

/// Where it is written until it is complete; with the same ending, by which ffmpeg knows what to write.
fn aside(output: &Path) -> PathBuf {
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    output.with_extension(format!("part.{extension}"))
}

fn run(arguments: &ComposeArguments, words: &[String], aside: &Path) -> Result<(), ToolError> {
    let ComposeArguments { ffmpeg, output, .. } = arguments;
    if aside.symlink_metadata().is_ok() {
        let text = "it is there already, perhaps from a run that was ended: remove it, or name another output";
        return Err(ToolError::Compose(format!("{}: {text}", aside.display())));
    }
    let ended = Command::new(ffmpeg).args(words).status();
    let status = ended.map_err(|error| match error.kind() {
        ErrorKind::NotFound => ToolError::Compose(format!(
            "{} is not there: install it, name it with --ffmpeg, or have the command with --print",
            ffmpeg.display()
        )),
        _ => ToolError::Compose(format!("{} cannot be started: {error}", ffmpeg.display())),
    })?;
    if !status.success() {
        // What it wrote so far helps nobody; if there is nothing, so much the better.
        let _ = std::fs::remove_file(aside);
        return Err(ToolError::Compose(format!("{} ended with {status}", ffmpeg.display())));
    }
    rename_free(aside, output).map_err(file_error(output))
}

/// The command as a shell reads it.
fn shown(arguments: &ComposeArguments, words: &[String]) -> String {
    let quoted = |word: &str| match word.chars().all(|char| char.is_ascii_alphanumeric() || "-_./:=".contains(char)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    let program = quoted(&arguments.ffmpeg.to_string_lossy());
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    format!("{program} {}", words.join(" "))
}

const WEBM: Encoding = Encoding {
    words: &[
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-cpu-used",
        "6",
        "-row-mt",
        "1",
        "-crf",
        "33",
        "-b:v",
        "0",
        "-c:a",
        "libopus",
        "-b:a",
        "96k",
    ],
    captions: "webvtt",
};
const MKV: Encoding = Encoding {
    words: &["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-c:a", "aac"],
    captions: "webvtt",
};
const MP4: Encoding = Encoding {
    words: &[
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "23",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-movflags",
        "+faststart",
    ],
    captions: "mov_text",
};
/// Linux takes no longer argument than 128 KiB.
const LONGEST_WORD: usize = 128 * 1024 - 1;
