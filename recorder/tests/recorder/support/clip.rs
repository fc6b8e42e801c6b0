//! Media made by ffmpeg, frame by frame.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use bytes::Bytes;
use lockgate_model::Codec;
use rtc_rtp::codec::{av1, h264, opus, vp8, vp9};
use rtc_rtp::packetizer::Payloader;

/// Encoded frames with the time between two of them.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) codec: Codec,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) step_us: u64,
}

impl Clip {
    /// A moving picture with a key frame each second, 30 frames a second.
    pub(crate) fn picture(codec: Codec, size: &str, seconds: u32) -> Self {
        let (encoder, format): (&[&str], _) = match codec {
            Codec::Vp8 => (&["libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0"], "ivf"),
            Codec::Vp9 => (&["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0"], "ivf"),
            Codec::Av1 => (&["libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0"], "ivf"),
            Codec::H264 => (
                &[
                    "libx264",
                    "-preset",
                    "ultrafast",
                    "-tune",
                    "zerolatency",
                    "-x264-params",
                    "sliced-threads=0:slices=1:aud=1:repeat-headers=1",
                ],
                "h264",
            ),
            Codec::Opus => panic!("no picture"),
        };
        let source = format!("testsrc2=size={size}:rate=30:duration={seconds}");
        let mut arguments =
            vec!["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-g", "30", "-b:v", "500k", "-c:v"];
        arguments.extend(encoder);
        let bytes = ffmpeg(&arguments, format);
        let frames = if codec == Codec::H264 { access_units(&bytes) } else { ivf(&bytes) };
        assert_eq!(frames.len() as u32, seconds * 30);
        Self { codec, frames, step_us: 33_333 }
    }

    /// A picture of one colour in VP8, 30 frames a second.
    pub(crate) fn color(color: &str, size: &str, seconds: u32) -> Self {
        let source = format!("color={color}:size={size}:rate=30:duration={seconds}");
        let bytes = ffmpeg(&["-f", "lavfi", "-i", &source, "-g", "30", "-c:v", "libvpx", "-auto-alt-ref", "0"], "ivf");
        Self { codec: Codec::Vp8, frames: ivf(&bytes), step_us: 33_333 }
    }

    /// A tone in packets of 20 ms.
    pub(crate) fn sound(seconds: u32) -> Self {
        let source = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
        let bytes = ffmpeg(&["-f", "lavfi", "-i", &source, "-ac", "2", "-c:a", "libopus", "-b:a", "48k"], "ogg");
        let mut frames = ogg_packets(&bytes).split_off(2);
        frames.truncate(seconds as usize * 50);
        Self { codec: Codec::Opus, frames, step_us: 20_000 }
    }

    pub(crate) fn payloader(&self) -> Box<dyn Payloader> {
        match self.codec {
            Codec::Opus => Box::new(opus::OpusPayloader),
            Codec::Vp8 => {
                let mut payloader = vp8::Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Box::new(payloader)
            }
            Codec::Vp9 => Box::new(vp9::Vp9Payloader::default()),
            Codec::Av1 => Box::new(av1::Av1Payloader::default()),
            Codec::H264 => Box::new(h264::H264Payloader::default()),
        }
    }

    /// SHA-256 of each frame, as ffprobe writes them.
    pub(crate) fn hashes(&self) -> Vec<String> {
        self.frames.iter().map(|frame| hash(frame)).collect()
    }
}

fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("SHA256:{digest}")
}

/// What ffmpeg makes of these arguments; each clip is made once.
fn ffmpeg(arguments: &[&str], format: &str) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<Vec<String>, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let key = arguments.iter().map(ToString::to_string).collect();
    let mut made = MADE.lock().unwrap();
    made.entry(key).or_insert_with(|| encode(arguments, format)).clone()
}

fn encode(arguments: &[&str], format: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file: &Path = &folder.path().join("clip");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(arguments)
        .args(["-f", format])
        .arg(file)
        .output()
        .expect("ffmpeg is needed to make test clips");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(file).unwrap()
}

fn ivf(bytes: &[u8]) -> Vec<Bytes> {
    let (mut rest, mut frames) = (&bytes[32..], Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let size = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        frames.push(Bytes::copy_from_slice(&after[..size]));
        rest = &after[size..];
    }
    frames
}

/// Access units begin with a delimiter.
fn access_units(bytes: &[u8]) -> Vec<Bytes> {
    let delimiter = [0, 0, 0, 1, 9];
    let starts: Vec<_> = (0..bytes.len() - 5).filter(|at| bytes[*at..*at + 5] == delimiter).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| Bytes::copy_from_slice(&bytes[*start..end])).collect()
}

fn ogg_packets(bytes: &[u8]) -> Vec<Bytes> {
    let (mut rest, mut packets, mut packet) = (bytes, Vec::new(), Vec::new());
    while rest.len() > 27 {
        let count = usize::from(rest[26]);
        let (lacing, mut body) = rest[27..].split_at(count);
        for length in lacing {
            packet.extend_from_slice(&body[..usize::from(*length)]);
            body = &body[usize::from(*length)..];
            if *length < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        rest = body;
    }
    packets
}
