//! The recorder's files, as ffprobe and ffmpeg see them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The folder of one recording.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

/// One file of an archive, decoded from its beginning to its end.
#[derive(Debug)]
pub struct MediaFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Length in seconds.
    pub seconds: f64,
    /// Its tracks.
    pub streams: Vec<Stream>,
}

/// One track of a file.
#[derive(Debug)]
pub struct Stream {
    /// `video` or `audio`.
    pub kind: String,
    /// ffmpeg's name of the codec.
    pub codec: String,
    /// Frames that were decoded.
    pub frames: u64,
    /// In pixels; 0 for sound.
    pub width: u64,
    /// When each packet is shown, in seconds.
    pub times: Vec<f64>,
    /// Whether its first packet can be decoded without any before it.
    pub begins_with_key_frame: bool,
}

impl Archive {
    /// A session's folder below the folder of all recordings.
    pub fn of(recordings: &Path, room: &str, session: &str) -> Self {
        Self { folder: recordings.join(room).join(session) }
    }

    /// Its files with this ending, in the order of their names.
    ///
    /// # Panics
    /// When there is no such folder.
    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        let paths = entries.map(|entry| entry.expect("the folder can be read").path());
        let mut files: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
        files.sort();
        files
    }

    /// Its `session.json`.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn manifest(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.join("session.json")).expect("every archive has a manifest");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

impl MediaFile {
    /// Reads a file and decodes all of it.
    ///
    /// # Panics
    /// When anything in it cannot be decoded, or ffmpeg has any complaint about it.
    pub fn decode(path: &Path) -> Self {
        // A camera's pace is uneven: in units of its own guess of it, ffmpeg would put two frames in one and complain of itself.
        let to_nowhere = ["-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-f", "null", "-"];
        let complaints = output("ffmpeg", &["-v", "error", "-xerror", "-i"], path, &to_nowhere);
        assert_eq!(complaints.trim(), "", "ffmpeg about {}", path.display());
        let shown = ["-v", "error", "-count_frames", "-show_streams", "-show_format", "-show_packets", "-of", "json"];
        let text = output("ffprobe", &shown, path, &[]);
        let probed: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let packets: Vec<_> = probed["packets"].as_array().into_iter().flatten().collect();
        let streams = probed["streams"].as_array().into_iter().flatten().map(|stream| read_stream(stream, &packets));
        let streams: Vec<_> = streams.collect();
        let last = streams.iter().filter_map(|stream| stream.times.last().copied()).fold(0.0, f64::max);
        // A file that was never completed has no duration: then its last packet tells.
        let seconds = number(&probed["format"]["duration"]).unwrap_or(last);
        Self { path: path.to_owned(), seconds, streams }
    }

    /// Its only track of this kind.
    ///
    /// # Panics
    /// When there is none.
    pub fn stream(&self, kind: &str) -> &Stream {
        let found = self.streams.iter().find(|stream| stream.kind == kind);
        found.unwrap_or_else(|| panic!("{} has no {kind}: {:?}", self.path.display(), self.streams))
    }
}

impl Stream {
    /// Whether each packet is shown later than the one before.
    pub fn is_monotonic(&self) -> bool {
        self.times.windows(2).all(|pair| pair[0] < pair[1])
    }
}

fn read_stream(stream: &Value, packets: &[&Value]) -> Stream {
    let text = |key: &str| stream[key].as_str().unwrap_or_default().to_owned();
    let own: Vec<_> = packets.iter().filter(|packet| packet["stream_index"] == stream["index"]).collect();
    Stream {
        kind: text("codec_type"),
        codec: text("codec_name"),
        frames: stream["nb_read_frames"].as_str().and_then(|count| count.parse().ok()).unwrap_or(0),
        width: stream["width"].as_u64().unwrap_or(0),
        times: own.iter().filter_map(|packet| number(&packet["pts_time"])).collect(),
        begins_with_key_frame: own
            .first()
            .is_some_and(|packet| packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K'))),
    }
}

/// ffprobe writes numbers as texts.
fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// What the program says about a file, on both of its outputs.
fn output(name: &str, before: &[&str], file: &Path, after: &[&str]) -> String {
    let result = Command::new(name).args(before).arg(file).args(after).output();
    let result = result.unwrap_or_else(|error| panic!("{name} cannot be started ({error}): install Debian's ffmpeg"));
    let said = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{name} refuses {}: {said}", file.display());
    format!("{}{said}", String::from_utf8_lossy(&result.stdout))
}
