//! Writing our descriptions: answers to publishers, offers to viewers.

use std::fmt::Write;
use std::net::SocketAddr;

use lockgate_model::{Bitrate, MediaKind};

use super::{CodecLine, ExtensionMap, Feedback, Section, Setup};
use crate::data::{MAX_MESSAGE, SCTP_PORT};
use crate::dtls::Fingerprint;
use crate::ice::Credentials;

/// What all our lines of a connection say.
pub struct Local<'a> {
    /// Session id (RFC 8866 §5.2): random, the same for the connection's life, below 2^63.
    pub session: u64,
    /// Counts the descriptions of the connection.
    pub version: u64,
    /// Our ICE credentials.
    pub ice: &'a Credentials,
    /// Our certificate.
    pub fingerprint: &'a Fingerprint,
    /// Who starts the handshake.
    pub setup: Setup,
    /// Where we can be reached, best first.
    pub candidates: &'a [SocketAddr],
    /// Whether also by TCP, on the same ports (RFC 6544).
    pub tcp: bool,
}

/// An answered m-line.
pub struct AnswerLine<'a> {
    /// As it was offered.
    pub section: &'a Section,
    /// The codec that is taken; none: the line is rejected, unless it is taken for data.
    pub accepted: Option<&'a CodecLine>,
    /// Whether data channels are taken on it.
    pub data: bool,
    /// The header extensions that are taken.
    pub extensions: ExtensionMap,
    /// Whether we receive on it now.
    pub receives: bool,
    /// What the peer should send at most.
    pub max_bitrate: Option<Bitrate>,
}

/// An offered m-line.
pub struct OfferLine<'a> {
    /// Its mid.
    pub mid: &'a str,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its codec, also while nothing is sent.
    pub codec: &'a CodecLine,
    /// The header extensions that may be sent.
    pub extensions: ExtensionMap,
    /// What is sent on it.
    pub sends: Sends<'a>,
}

/// An offered line for data channels.
#[derive(Clone, Copy, Debug)]
pub struct DataLine<'a> {
    /// Which line it is.
    pub place: usize,
    /// Its mid.
    pub mid: &'a str,
}

/// An m-line of a viewer's offer, on which we send.
pub struct ReceiverLine<'a> {
    /// As it was offered.
    pub section: &'a Section,
    /// What may be sent on it, the first of them now; none: the line is rejected.
    pub codecs: Vec<&'a CodecLine>,
    /// The header extensions that are sent.
    pub extensions: ExtensionMap,
    /// First part of `a=msid`, if a track is sent.
    pub stream: Option<&'a str>,
    /// Second part of `a=msid`, if a track is sent.
    pub track: Option<&'a str>,
    /// The line's source.
    pub ssrc: u32,
    /// The source of its retransmissions.
    pub rtx: u32,
}

/// What is sent on an offered m-line.
pub enum Sends<'a> {
    /// A track.
    Track {
        /// First part of `a=msid`.
        stream: &'a str,
        /// Second part of `a=msid`.
        track: &'a str,
        /// Its source.
        ssrc: u32,
        /// The source of its retransmissions, if it has them.
        rtx: Option<u32>,
    },
    /// Nothing for now.
    Nothing,
    /// Nothing ever again: port 0.
    Stopped,
}

/// What stands on each line of a bundle, written once: descriptions have up to a hundred lines, and are written anew for each change.
struct Shared(String);

/// Writes a line with the ending of RFC 8866 §5. Writing to a text cannot fail.
macro_rules! line {
    ($out:expr, $($format:tt)*) => {{
        let _ = write!($out, $($format)*);
        $out.push_str("\r\n");
    }};
}

/// The answer to a publisher's offer.
pub fn write_answer(local: &Local<'_>, lines: &[AnswerLine<'_>]) -> String {
    let mut out = String::with_capacity(1024 + 512 * lines.len());
    let bundled = lines.iter().filter(|line| line.accepted.is_some() || line.data);
    // What was not offered must not be answered (RFC 8285 §6); browsers offer it for the session.
    let mixes = lines.iter().all(|line| line.section.mixes);
    session(&mut out, local, bundled.map(|line| line.section.mid.as_str()), mixes);
    let shared = Shared::of(local);
    for line in lines {
        match (line.accepted, line.data) {
            (Some(codec), _) => accepted(&mut out, &shared, line, codec),
            (None, true) => accepted_data(&mut out, &shared, line.section),
            (None, false) => rejected(&mut out, line.section),
        }
    }
    out
}

/// The answer to a viewer's offer. Lines without a track are sent on later, as nothing can be negotiated then (RFC 3264 §6.1 leaves
/// room for all codecs that both know).
pub fn write_receiver_answer(local: &Local<'_>, lines: &[ReceiverLine<'_>]) -> String {
    let mut out = String::with_capacity(1024 + 1024 * lines.len());
    let bundled = lines.iter().filter(|line| !line.codecs.is_empty());
    let mixes = lines.iter().all(|line| line.section.mixes);
    session(&mut out, local, bundled.map(|line| line.section.mid.as_str()), mixes);
    let shared = Shared::of(local);
    for line in lines {
        if line.codecs.is_empty() { rejected(&mut out, line.section) } else { received(&mut out, &shared, line) }
    }
    out
}

fn received(out: &mut String, shared: &Shared, line: &ReceiverLine<'_>) {
    let section = line.section;
    let types: Vec<_> = line.codecs.iter().map(|codec| payload_types(codec)).collect();
    line!(out, "m={} 9 {} {}", section.media, section.protocol, types.join(" "));
    shared.write(out, &section.mid);
    rtcp(out);
    line!(out, "a=sendonly");
    for codec in &line.codecs {
        formats(out, codec, codec.feedback_taken());
    }
    extensions(out, line.extensions);
    let rtx = line.codecs.iter().any(|codec| codec.rtx.is_some()).then_some(line.rtx);
    sources(out, [line.stream.unwrap_or("-"), line.track.unwrap_or(&section.mid)], line.ssrc, rtx);
}

/// The name of a track that is sent, and by which sources.
fn sources(out: &mut String, [stream, track]: [&str; 2], ssrc: u32, rtx: Option<u32>) {
    line!(out, "a=msid:{stream} {track}");
    if let Some(rtx) = rtx {
        line!(out, "a=ssrc-group:FID {ssrc} {rtx}");
    }
    [Some(ssrc), rtx].into_iter().flatten().for_each(|ssrc| line!(out, "a=ssrc:{ssrc} cname:{stream}"));
}

/// An offer to a viewer; a line for data channels stands among the others.
pub fn write_offer(local: &Local<'_>, lines: &[OfferLine<'_>], data: Option<DataLine<'_>>) -> String {
    let mut out = String::with_capacity(1024 + 640 * lines.len());
    let (before, behind) = lines.split_at(data.map_or(lines.len(), |data| data.place.min(lines.len())));
    let live = |lines: &'_ [OfferLine<'_>]| {
        lines
            .iter()
            .filter(|line| !matches!(line.sends, Sends::Stopped))
            .map(|line| line.mid.to_owned())
            .collect::<Vec<_>>()
    };
    let bundled = [live(before), data.iter().map(|data| data.mid.to_owned()).collect(), live(behind)].concat();
    session(&mut out, local, bundled.iter().map(String::as_str), true);
    let shared = Shared::of(local);
    before.iter().for_each(|line| offered(&mut out, &shared, line));
    if let Some(data) = data {
        line!(out, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
        shared.write(&mut out, data.mid);
        data_parameters(&mut out);
    }
    behind.iter().for_each(|line| offered(&mut out, &shared, line));
    out
}

fn session<'a>(out: &mut String, local: &Local<'_>, bundled: impl Iterator<Item = &'a str>, mixes: bool) {
    line!(out, "v=0");
    line!(out, "o=- {} {} IN IP4 127.0.0.1", local.session, local.version);
    line!(out, "s=-");
    line!(out, "t=0 0");
    line!(out, "a=group:BUNDLE{}", bundled.fold(String::new(), |all, mid| all + " " + mid));
    if mixes {
        line!(out, "a=extmap-allow-mixed");
    }
    line!(out, "a=ice-lite");
    line!(out, "a=msid-semantic:WMS *");
}

fn accepted(out: &mut String, shared: &Shared, line: &AnswerLine<'_>, codec: &CodecLine) {
    let section = line.section;
    // Sound is taken as it is: what is lost of it is asked for by nobody, and seldom on the way to here.
    let codec = &CodecLine { red: None, ..codec.clone() };
    line!(out, "m={} 9 {} {}", section.media, section.protocol, payload_types(codec));
    shared.write(out, &section.mid);
    rtcp(out);
    if let Some(Bitrate(bps)) = line.max_bitrate {
        line!(out, "b=AS:{}", bps.div_ceil(1000));
        line!(out, "b=TIAS:{bps}");
    }
    line!(out, "a={}", if line.receives { "recvonly" } else { "inactive" });
    formats(out, codec, codec.feedback_taken());
    extensions(out, line.extensions);
    if !section.rids.is_empty() {
        section.rids.iter().for_each(|rid| line!(out, "a=rid:{rid} recv"));
        line!(out, "a=simulcast:recv {}", section.rids.join(";"));
    }
}

fn accepted_data(out: &mut String, shared: &Shared, section: &Section) {
    line!(out, "m={} 9 {} {}", section.media, section.protocol, section.format);
    shared.write(out, &section.mid);
    match section.data {
        Some(data) if data.legacy => {
            line!(out, "a=sctpmap:{SCTP_PORT} webrtc-datachannel 1024");
            line!(out, "a=max-message-size:{MAX_MESSAGE}");
        }
        _ => data_parameters(out),
    }
}

fn data_parameters(out: &mut String) {
    line!(out, "a=sctp-port:{SCTP_PORT}");
    line!(out, "a=max-message-size:{MAX_MESSAGE}");
}

fn rejected(out: &mut String, section: &Section) {
    line!(out, "m={} 0 {} {}", section.media, section.protocol, section.format);
    line!(out, "c=IN IP4 0.0.0.0");
    line!(out, "a=mid:{}", section.mid);
    line!(out, "a=inactive");
}

fn offered(out: &mut String, shared: &Shared, line: &OfferLine<'_>) {
    let media = match line.kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
        MediaKind::Data => "application",
    };
    let port = if matches!(line.sends, Sends::Stopped) { 0 } else { 9 };
    line!(out, "m={media} {port} UDP/TLS/RTP/SAVPF {}", payload_types(line.codec));
    shared.write(out, line.mid);
    rtcp(out);
    line!(out, "a={}", if matches!(line.sends, Sends::Track { .. }) { "sendonly" } else { "inactive" });
    formats(out, line.codec, line.codec.feedback);
    extensions(out, line.extensions);
    if let Sends::Track { stream, track, ssrc, rtx } = line.sends {
        sources(out, [stream, track], ssrc, rtx);
    }
}

impl Shared {
    fn of(local: &Local<'_>) -> Self {
        let mut out = String::with_capacity(512);
        line!(out, "a=ice-ufrag:{}", local.ice.ufrag);
        line!(out, "a=ice-pwd:{}", local.ice.password);
        line!(out, "a=fingerprint:{}", local.fingerprint);
        let setup = match local.setup {
            Setup::ActPass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        };
        line!(out, "a=setup:{setup}");
        candidates(&mut out, local);
        line!(out, "a=end-of-candidates");
        Self(out)
    }

    fn write(&self, out: &mut String, mid: &str) {
        line!(out, "c=IN IP4 0.0.0.0");
        line!(out, "a=mid:{mid}");
        out.push_str(&self.0);
    }
}

/// Host candidates, in our order of preference (RFC 8445 §5.1.2.1); all that are reached by UDP before those by TCP, at which we wait
/// for connections and never make one (RFC 6544 §4.2).
fn candidates(out: &mut String, local: &Local<'_>) {
    for (place, candidate) in local.candidates.iter().enumerate() {
        let priority = priority(UDP_HOST, 65_535 - place.min(65_535) as u32);
        let (ip, port) = (candidate.ip(), candidate.port());
        line!(out, "a=candidate:{} 1 udp {priority} {ip} {port} typ host", place + 1);
    }
    for (place, candidate) in local.candidates.iter().enumerate().filter(|_| local.tcp) {
        let priority = priority(TCP_HOST, (PASSIVE << 13) + 8_191 - place.min(8_191) as u32);
        let (ip, port, foundation) = (candidate.ip(), candidate.port(), local.candidates.len() + place + 1);
        line!(out, "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive");
    }
}

/// Of component 1.
fn priority(kind: u32, local: u32) -> u32 {
    (kind << 24) + (local << 8) + 255
}

fn rtcp(out: &mut String) {
    line!(out, "a=rtcp-mux");
    line!(out, "a=rtcp-rsize");
}

fn payload_types(codec: &CodecLine) -> String {
    let also = [codec.rtx, codec.red].into_iter().flatten();
    also.fold(codec.payload_type.to_string(), |all, own| format!("{all} {own}"))
}

fn formats(out: &mut String, codec: &CodecLine, feedback: Feedback) {
    let payload_type = codec.payload_type;
    line!(out, "a=rtpmap:{payload_type} {}", codec.rtpmap());
    if !codec.fmtp.is_empty() {
        line!(out, "a=fmtp:{payload_type} {}", codec.fmtp);
    }
    feedback.lines().for_each(|kind| line!(out, "a=rtcp-fb:{payload_type} {kind}"));
    if let Some(rtx) = codec.rtx {
        line!(out, "a=rtpmap:{rtx} rtx/{}", codec.codec.clock_rate());
        line!(out, "a=fmtp:{rtx} apt={payload_type}");
    }
    if let Some(red) = codec.red {
        line!(out, "a=rtpmap:{red} red/{}/2", codec.codec.clock_rate());
        line!(out, "a=fmtp:{red} {payload_type}/{payload_type}");
    }
}

fn extensions(out: &mut String, map: ExtensionMap) {
    map.iter().for_each(|(extension, id)| line!(out, "a=extmap:{id} {}", extension.uri()));
}

/// The preferences of types. Browsers give TCP the same.
const UDP_HOST: u32 = 126;
const TCP_HOST: u32 = 90;
/// The preference of waiting for connections to a host candidate.
const PASSIVE: u32 = 4;
