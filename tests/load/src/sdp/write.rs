//! Writing a client's descriptions: little else than what browsers write, because that is what servers know.

use std::fmt::Write;

use lockgate_model::MediaKind;
use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::ice::Credentials;
use lockgate_transport::sdp::{CodecLine, Extension, ExtensionMap, Section};

/// What all descriptions of a connection say.
pub(crate) struct Own<'a> {
    pub(crate) session: u64,
    pub(crate) version: u64,
    pub(crate) ice: &'a Credentials,
    pub(crate) fingerprint: &'a Fingerprint,
    /// Whether transport-wide feedback is wanted.
    pub(crate) feedback: bool,
}

/// A track that is published.
pub(crate) struct SendLine<'a> {
    pub(crate) mid: &'a str,
    pub(crate) kind: MediaKind,
    pub(crate) stream: &'a str,
    pub(crate) track: &'a str,
    /// Sources and those of their retransmissions; of a simulcast track none are named.
    pub(crate) sources: &'a [(u32, Option<u32>)],
    /// Simulcast encodings, from the smallest; empty without simulcast.
    pub(crate) rids: &'a [&'a str],
}

/// Writes a line with the ending of RFC 8866 §5. Writing to a text cannot fail.
macro_rules! line {
    ($out:expr, $($format:tt)*) => {{
        let _ = write!($out, $($format)*);
        $out.push_str("\r\n");
    }};
}

/// The offer of a publisher.
pub(crate) fn publish_offer(own: &Own<'_>, tracks: &[SendLine<'_>]) -> String {
    let mut out = String::with_capacity(2048);
    session(&mut out, own, tracks.iter().map(|track| track.mid));
    for track in tracks {
        offered(&mut out, own, track.mid, track.kind);
        line!(out, "a=sendonly");
        line!(out, "a=msid:{} {}", track.stream, track.track);
        if track.rids.is_empty() {
            sources(&mut out, track);
        } else {
            track.rids.iter().for_each(|rid| line!(out, "a=rid:{rid} send"));
            line!(out, "a=simulcast:send {}", track.rids.join(";"));
        }
    }
    out
}

/// The offer of a viewer that wants one line of each kind (WHEP).
pub(crate) fn watch_offer(own: &Own<'_>, kinds: &[MediaKind]) -> String {
    let mut out = String::with_capacity(2048);
    let mids: Vec<_> = (0..kinds.len()).map(|mid| mid.to_string()).collect();
    session(&mut out, own, mids.iter().map(String::as_str));
    for (mid, kind) in mids.iter().zip(kinds) {
        offered(&mut out, own, mid, *kind);
        line!(out, "a=recvonly");
    }
    out
}

/// The answer of a viewer to a server's offer: whatever codec comes first is taken, nothing is decoded.
pub(crate) fn subscribe_answer(own: &Own<'_>, sections: &[Section]) -> String {
    let mut out = String::with_capacity(1024 + 512 * sections.len());
    let taken = |section: &&Section| !section.rejected && section.codec().is_some();
    session(&mut out, own, sections.iter().filter(taken).map(|section| section.mid.as_str()));
    for section in sections {
        match section.codec().filter(|_| !section.rejected) {
            Some(codec) => answered(&mut out, own, section, codec),
            None => rejected(&mut out, section),
        }
    }
    out
}

fn session<'a>(out: &mut String, own: &Own<'_>, mids: impl Iterator<Item = &'a str>) {
    line!(out, "v=0");
    line!(out, "o=- {} {} IN IP4 127.0.0.1", own.session, own.version);
    line!(out, "s=-");
    line!(out, "t=0 0");
    line!(out, "a=group:BUNDLE{}", mids.fold(String::new(), |all, mid| all + " " + mid));
    line!(out, "a=msid-semantic:WMS *");
}

fn connection(out: &mut String, own: &Own<'_>, mid: &str, setup: &str) {
    line!(out, "c=IN IP4 0.0.0.0");
    line!(out, "a=ice-ufrag:{}", own.ice.ufrag);
    line!(out, "a=ice-pwd:{}", own.ice.password);
    line!(out, "a=ice-options:trickle");
    line!(out, "a=fingerprint:{}", own.fingerprint);
    line!(out, "a=setup:{setup}");
    line!(out, "a=mid:{mid}");
    line!(out, "a=rtcp-mux");
    line!(out, "a=rtcp-rsize");
}

fn offered(out: &mut String, own: &Own<'_>, mid: &str, kind: MediaKind) {
    match kind {
        MediaKind::Audio => line!(out, "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        MediaKind::Video => line!(out, "m=video 9 UDP/TLS/RTP/SAVPF 96 97"),
        // The generator opens no data channels.
        MediaKind::Data => return,
    }
    connection(out, own, mid, "actpass");
    let lines: &[&str] = match kind {
        MediaKind::Audio => &AUDIO_LINES,
        MediaKind::Video => &VIDEO_LINES,
        MediaKind::Data => &[],
    };
    let is_wanted = |text: &&&str| own.feedback || !text.ends_with(TRANSPORT_CC);
    lines.iter().filter(is_wanted).for_each(|text| line!(out, "{text}"));
    extensions(out, own, &offered_extensions(kind));
}

fn extensions(out: &mut String, own: &Own<'_>, ids: &ExtensionMap) {
    for (extension, id) in ids.iter().filter(|(extension, _)| own.feedback || *extension != Extension::Twcc) {
        line!(out, "a=extmap:{id} {}", extension.uri());
    }
}

/// The header extensions of our offers, each with its id.
fn offered_extensions(kind: MediaKind) -> ExtensionMap {
    let both = [(Extension::Mid, 1), (Extension::Twcc, 2)];
    let video = [(Extension::Rid, 3), (Extension::RepairedRid, 4)];
    match kind {
        MediaKind::Audio => ExtensionMap::of(&[both.as_slice(), &[(Extension::AudioLevel, 5)]].concat()),
        MediaKind::Video => ExtensionMap::of(&[both, video].concat()),
        MediaKind::Data => ExtensionMap::default(),
    }
}

fn sources(out: &mut String, track: &SendLine<'_>) {
    for (ssrc, rtx) in track.sources {
        if let Some(rtx) = rtx {
            line!(out, "a=ssrc-group:FID {ssrc} {rtx}");
        }
        for ssrc in [Some(*ssrc), *rtx].into_iter().flatten() {
            line!(out, "a=ssrc:{ssrc} cname:{}", track.stream);
        }
    }
}

fn answered(out: &mut String, own: &Own<'_>, section: &Section, codec: &CodecLine) {
    let rtx = codec.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
    line!(out, "m={} 9 {} {}{rtx}", section.media, section.protocol, codec.payload_type);
    connection(out, own, &section.mid, "active");
    line!(out, "a={}", if section.sends { "recvonly" } else { "inactive" });
    let channels = if section.kind == Some(MediaKind::Audio) { "/2" } else { "" };
    let (name, clock, payload_type) = (codec.codec.rtpmap_name(), codec.codec.clock_rate(), codec.payload_type);
    line!(out, "a=rtpmap:{payload_type} {name}/{clock}{channels}");
    if !codec.fmtp.is_empty() {
        line!(out, "a=fmtp:{payload_type} {}", codec.fmtp);
    }
    let feedback = codec.feedback;
    let wanted = [
        (feedback.nack, "nack"),
        (feedback.pli, "nack pli"),
        (feedback.fir, "ccm fir"),
        (feedback.twcc && own.feedback, TRANSPORT_CC),
    ];
    for (_, text) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
        line!(out, "a=rtcp-fb:{payload_type} {text}");
    }
    if let Some(rtx) = codec.rtx {
        line!(out, "a=rtpmap:{rtx} rtx/{clock}");
        line!(out, "a=fmtp:{rtx} apt={payload_type}");
    }
    extensions(out, own, &section.extensions);
}

fn rejected(out: &mut String, section: &Section) {
    line!(out, "m={} 0 {} {}", section.media, section.protocol, section.format);
    line!(out, "c=IN IP4 0.0.0.0");
    line!(out, "a=mid:{}", section.mid);
    line!(out, "a=inactive");
}

const TRANSPORT_CC: &str = "transport-cc";
const AUDIO_LINES: [&str; 3] =
    ["a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1"];
const VIDEO_LINES: [&str; 7] = [
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 ccm fir",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:96 nack pli",
    "a=rtcp-fb:96 transport-cc",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
];

#[cfg(test)]
mod tests {
    use lockgate_model::Codec;
    use lockgate_transport::dtls::Certificate;
    use lockgate_transport::sdp::{Feedback, Local, OfferLine, Sends, Setup, read_answer, read_offer, write_offer};

    use super::*;

    fn with_own<T>(make: impl FnOnce(&Own<'_>) -> T) -> T {
        let ice = Credentials::from_random([3; 32]);
        let certificate = Certificate::generate().unwrap();
        make(&Own { session: 1, version: 1, ice: &ice, fingerprint: certificate.fingerprint(), feedback: true })
    }

    #[test]
    fn a_server_reads_the_offer_of_a_publisher() {
        let offer = with_own(|own| {
            let audio = SendLine {
                mid: "0",
                kind: MediaKind::Audio,
                stream: "s",
                track: "a",
                sources: &[(7, None)],
                rids: &[],
            };
            let camera = SendLine {
                mid: "1",
                kind: MediaKind::Video,
                stream: "s",
                track: "v",
                sources: &[(8, Some(9))],
                rids: &[],
            };
            let rids = ["low", "mid", "high"];
            let simulcast =
                SendLine { mid: "2", kind: MediaKind::Video, stream: "s", track: "w", sources: &[], rids: &rids };
            publish_offer(own, &[audio, camera, simulcast])
        });
        let sections = read_offer(&offer).unwrap().sections;
        assert!(sections.iter().all(|section| section.sends && !section.receives && !section.rejected));
        assert_eq!(sections[0].codec().map(|line| line.codec), Some(Codec::Opus));
        assert_eq!((sections[0].sources.as_slice(), sections[0].track_id()), (&[(7, None)][..], Some("a")));
        let video = sections[1].codec().unwrap();
        assert_eq!((video.codec, video.rtx, video.feedback.nack), (Codec::Vp8, Some(97), true));
        assert_eq!(sections[1].sources, [(8, Some(9))]);
        assert_eq!(sections[2].rids, ["low", "mid", "high"]);
        assert!(sections[2].extensions.id(Extension::Rid).is_some());
    }

    #[test]
    fn an_answer_takes_what_is_offered_and_rejects_what_has_no_codec() {
        let text = with_own(|own| {
            let mut offer = publish_offer(
                own,
                &[SendLine {
                    mid: "0",
                    kind: MediaKind::Video,
                    stream: "s",
                    track: "v",
                    sources: &[(8, Some(9))],
                    rids: &[],
                }],
            );
            offer.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n");
            let offer = offer.replace("BUNDLE 0", "BUNDLE 0 1");
            subscribe_answer(own, &read_offer(&offer).unwrap().sections)
        });
        let sections = read_answer(&text).unwrap().sections;
        assert!(sections[0].receives && !sections[0].sends);
        assert!(sections[0].codec().unwrap().feedback.twcc);
        assert!(sections[1].rejected);
    }

    /// The offer of a server of one picture, which names the number that all packets of a connection have by id 5.
    fn servers_offer(own: &Own<'_>) -> String {
        let codec = CodecLine {
            payload_type: 102,
            codec: Codec::Vp8,
            fmtp: String::new(),
            rtx: Some(103),
            red: None,
            feedback: Feedback::wanted(Codec::Vp8),
        };
        let line = OfferLine {
            mid: "3",
            kind: MediaKind::Video,
            codec: &codec,
            extensions: ExtensionMap::of(&[(Extension::Mid, 1), (Extension::Twcc, 5)]),
            sends: Sends::Track { stream: "s", track: "v", ssrc: 8, rtx: Some(9) },
        };
        let local = Local {
            session: 1,
            version: 1,
            ice: own.ice,
            fingerprint: own.fingerprint,
            setup: Setup::ActPass,
            candidates: &["10.0.0.1:9000".parse().unwrap()],
            tcp: true,
        };
        write_offer(&local, &[line], None)
    }

    /// The answer to an offer, and what it says of transport-wide feedback: its lines, and the extension's id.
    fn feedback_in_answer(offer: &str, feedback: bool) -> (String, Option<u8>) {
        let answer = with_own(|own| {
            let sections = read_offer(offer).unwrap().sections;
            subscribe_answer(&Own { feedback, ..*own }, &sections)
        });
        let lines: Vec<_> = answer.lines().filter(|line| line.contains("transport-")).collect();
        (lines.join("\n"), read_answer(&answer).unwrap().sections[0].extensions.id(Extension::Twcc))
    }

    #[test]
    fn transport_wide_feedback_is_taken_as_it_is_offered() {
        let offer = with_own(servers_offer);
        let uri = Extension::Twcc.uri();
        let both = (format!("a=rtcp-fb:102 transport-cc\na=extmap:5 {uri}"), Some(5));
        assert_eq!(feedback_in_answer(&offer, true), both);
        let of_all_codecs = offer.replace("a=rtcp-fb:102 transport-cc", "a=rtcp-fb:* transport-cc");
        assert_eq!(feedback_in_answer(&of_all_codecs, true), both);
        assert_eq!(feedback_in_answer(&offer, false), (String::new(), None));
    }

    #[test]
    fn a_server_without_transport_wide_feedback_is_answered_without() {
        let offer = with_own(servers_offer);
        let other = offer.lines().filter(|line| !line.contains("transport-"));
        let other = other.fold(String::new(), |all, line| all + line + "\r\n");
        assert_eq!(feedback_in_answer(&other, true), (String::new(), None));
    }

    #[test]
    fn a_viewer_that_gives_no_feedback_offers_none() {
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let offer = |feedback| with_own(|own| watch_offer(&Own { feedback, ..*own }, &kinds));
        assert_eq!(offer(true).matches("transport-").count(), 4);
        assert_eq!(offer(false).matches("transport-").count(), 0);
    }
}
