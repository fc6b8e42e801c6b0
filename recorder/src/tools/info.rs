//! `info`: what a session's archive holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Outcome, ToolError, clock_text, file_error, size_text, write_json};
use crate::archive::{EVENTS, MANIFEST, Manifest, SessionEnd, printable, speeches};
use crate::upload::{Ledger, Place, is_on_hold};

/// What the events say, added up.
#[derive(Serialize)]
struct Report {
    manifest: Manifest,
    gaps: Vec<GapSum>,
    clocks: BTreeMap<u32, Clock>,
    /// How long each participant spoke, in milliseconds.
    speech: BTreeMap<String, u64>,
    /// Where each file is.
    places: BTreeMap<String, FilePlace>,
    /// Whether nothing of it may be deleted.
    held: bool,
}

#[derive(Serialize)]
struct FilePlace {
    place: Place,
    /// In the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GapSum {
    track: u32,
    reason: String,
    count: u64,
    packets: u64,
    /// Between the frames around each of them, added up.
    total_ms: u64,
}

/// How a track's sender counts time, as its last `clock` says.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clock {
    ppm: f64,
    residual_us: f64,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Line {
    Gap {
        track: u32,
        packets: u64,
        reason: String,
        from_ms: Option<u64>,
        to_ms: Option<u64>,
    },
    Clock {
        track: u32,
        #[serde(flatten)]
        clock: Clock,
    },
    #[serde(other)]
    Other,
}

/// Tells what an archive holds.
pub(super) fn info(folder: &Path, json: bool, out: &mut impl Write) -> Result<Outcome, ToolError> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Err(ToolError::NoSession(folder.to_owned()));
    }
    let manifest = Manifest::load(&path).ok_or_else(|| ToolError::Manifest(folder.to_owned()))?;
    let report = read(folder, manifest)?;
    match json {
        true => write_json(&report, out)?,
        false => print(&report, out)?,
    }
    Ok(Outcome::Good)
}

fn read(folder: &Path, manifest: Manifest) -> Result<Report, ToolError> {
    let path = folder.join(EVENTS);
    let open = || File::open(&path).map(BufReader::new).map_err(file_error(&path));
    let (mut gaps, mut clocks) = (BTreeMap::new(), BTreeMap::new());
    for line in open()?.split(b'\n') {
        match serde_json::from_slice(&line.map_err(file_error(&path))?) {
            Ok(Line::Gap { track, packets, reason, from_ms, to_ms }) => {
                let gap = gaps.entry((track, reason.clone()));
                let gap = gap.or_insert(GapSum { track, reason, count: 0, packets: 0, total_ms: 0 });
                gap.count += 1;
                gap.packets = gap.packets.saturating_add(packets);
                let long = from_ms.zip(to_ms).map_or(0, |(from, to)| to.saturating_sub(from));
                gap.total_ms = gap.total_ms.saturating_add(long);
            }
            Ok(Line::Clock { track, clock }) => drop(clocks.insert(track, clock)),
            _ => {}
        }
    }
    let mut speech = BTreeMap::new();
    for said in speeches(open()?).map_err(file_error(&path))? {
        *speech.entry(said.name).or_insert(0) += said.to_ms - said.from_ms;
    }
    let places = places(folder, &manifest);
    Ok(Report { manifest, gaps: gaps.into_values().collect(), clocks, speech, places, held: is_on_hold(folder) })
}

fn places(folder: &Path, manifest: &Manifest) -> BTreeMap<String, FilePlace> {
    let ledger = Ledger::look(folder);
    let place =
        |name: &String| FilePlace { place: ledger.place(folder, name), url: ledger.url(name).map(str::to_owned) };
    manifest.files.iter().map(|file| (file.path.clone(), place(&file.path))).collect()
}

fn print(report: &Report, out: &mut impl Write) -> Result<(), ToolError> {
    let Report { manifest, gaps, clocks, speech, places, held } = report;
    let state = manifest.end.map_or("being recorded", SessionEnd::as_str);
    let sealed = match &manifest.seal {
        Some(seal) if seal.key.is_some() => "sealed and signed",
        Some(_) => "sealed, not signed",
        None => "not sealed",
    };
    writeln!(out, "session {} of room {:?}", manifest.session, manifest.room.as_str())?;
    let (began, length) = (printable(&manifest.started_at), clock_text(manifest.duration_ms()));
    let held = if *held { ", held" } else { "" };
    writeln!(out, "began {began}, lasts {length}, {state}, {sealed}{held}")?;
    if let Some(reason) = &manifest.reason {
        writeln!(out, "failed: {}", printable(reason))?;
    }
    for file in &manifest.files {
        let (from, to) = (file.start_us / 1000, file.start_us / 1000 + file.duration_ms);
        let (from, to) = (clock_text(from), clock_text(to));
        let mended = if file.mended { ", mended" } else { "" };
        let (path, size, who) = (printable(&file.path), size_text(file.bytes), printable(&file.who()));
        let place = places.get(&file.path).map_or("", |place| place.place.remark());
        writeln!(out, "\n{path}  {from} – {to}  {size}{mended}{place}  {who}")?;
        for track in &file.tracks {
            let size = if track.width > 0 { format!(" {}x{}", track.width, track.height) } else { String::new() };
            let (source, codec) = (track.source.as_str(), track.codec.rtpmap_name());
            let (frames, keys) = (track.frames, track.keyframes);
            writeln!(out, "  track {}: {source}, {codec}{size}, {frames} frames, {keys} key frames", track.track)?;
        }
    }
    for gap in gaps {
        let GapSum { track, reason, count, packets, total_ms } = gap;
        let reason = printable(reason);
        writeln!(out, "\ntrack {track}: {count} gaps ({reason}), {packets} packets, {}", clock_text(*total_ms))?;
    }
    for (track, Clock { ppm, residual_us }) in clocks {
        writeln!(out, "track {track}: its clock runs {ppm:+.1} ppm off, ± {residual_us:.0} µs")?;
    }
    for (name, ms) in speech {
        writeln!(out, "{name:?} spoke for {}", clock_text(*ms))?;
    }
    Ok(())
}
