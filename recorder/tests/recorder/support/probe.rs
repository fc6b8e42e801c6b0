//! What ffprobe and ffmpeg think of a file.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A file's streams and their packets.
pub(crate) struct Probe {
    /// In seconds; none when the file does not say.
    pub(crate) duration: Option<f64>,
    pub(crate) streams: Vec<Stream>,
}

/// One stream.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) codec: String,
    pub(crate) width: u64,
    pub(crate) height: u64,
    /// In seconds.
    pub(crate) times: Vec<f64>,
    pub(crate) keys: Vec<bool>,
    pub(crate) hashes: Vec<String>,
}

impl Probe {
    /// Looks at a file without a complaint of ffprobe's.
    pub(crate) fn read(file: &Path) -> Self {
        let entries = "stream=codec_name,width,height:format=duration:packet=stream_index,pts_time,flags,data_hash";
        let arguments = ["-v", "error", "-of", "json", "-show_data_hash", "sha256", "-show_entries", entries];
        let output = Command::new("ffprobe").args(arguments).arg(file).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", file.display());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut streams: Vec<_> = json["streams"].as_array().unwrap().iter().map(Stream::of).collect();
        for packet in json["packets"].as_array().unwrap() {
            let stream = &mut streams[packet["stream_index"].as_u64().unwrap() as usize];
            stream.times.push(packet["pts_time"].as_str().unwrap().parse().unwrap());
            stream.keys.push(packet["flags"].as_str().unwrap().contains('K'));
            stream.hashes.push(packet["data_hash"].as_str().unwrap().to_owned());
        }
        let duration = json["format"]["duration"].as_str().map(|text| text.parse().unwrap());
        Self { duration, streams }
    }

    pub(crate) fn stream(&self, codec: &str) -> &Stream {
        self.streams.iter().find(|stream| stream.codec == codec).unwrap_or_else(|| panic!("no {codec}"))
    }
}

impl Stream {
    fn of(json: &Value) -> Self {
        Self {
            codec: json["codec_name"].as_str().unwrap().to_owned(),
            width: json["width"].as_u64().unwrap_or(0),
            height: json["height"].as_u64().unwrap_or(0),
            ..Self::default()
        }
    }

    /// Holds exactly these frames.
    pub(crate) fn expect_frames(&self, hashes: &[String]) {
        let same = self.hashes.iter().zip(hashes).take_while(|(a, b)| a == b).count();
        let (have, want) = (self.hashes.len(), hashes.len());
        assert!(same == want && have == want, "{}: {have} frames where {want} are expected, {same} agree", self.codec);
    }

    pub(crate) fn is_monotonic(&self) -> bool {
        self.times.windows(2).all(|pair| pair[0] < pair[1])
    }
}

/// Decodes all of it; ffmpeg must not complain.
pub(crate) fn decodes(file: &Path) {
    let arguments = ["-v", "error", "-xerror", "-nostdin", "-i"];
    let output = Command::new("ffmpeg").args(arguments).arg(file).args(["-f", "null", "-"]).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", file.display());
}

/// The Matroska tools find nothing wrong with it.
pub(crate) fn is_well_formed(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("mkvmerge").arg("-o").arg(folder.path().join("copy.mkv")).arg(file).output().unwrap();
    // 1 is what it ends with when it has warned of something.
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let output = Command::new("mkvinfo").args(["-v", "-v"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let complaint =
        said.lines().find(|line| ["warning", "error", "unknown element"].iter().any(|word| line.contains(word)));
    assert!(output.status.success() && complaint.is_none(), "mkvinfo about {}: {complaint:?}", file.display());
}
