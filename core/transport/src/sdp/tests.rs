//! Real browsers' offers, the trips of our own descriptions, and broken ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lockgate_model::testing::{cases, damaged_text};
use lockgate_model::{Bitrate, Codec, MediaKind};
use proptest::prelude::*;

use super::*;
use crate::dtls::Fingerprint;
use crate::ice::Credentials;

const FINGERPRINT: &str =
    "sha-256 11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00";

fn offer() -> String {
    let lines = [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1 2",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS stream",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=ice-ufrag:someufrag",
        "a=ice-pwd:somepasswordthatislongenough",
        "a=ice-options:trickle",
        &format!("a=fingerprint:{FINGERPRINT}"),
        "a=setup:actpass",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:3/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=sendonly",
        "a=msid:stream microphone",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=ssrc:1001 cname:name",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:someufrag",
        "a=ice-pwd:somepasswordthatislongenough",
        &format!("a=fingerprint:{FINGERPRINT}"),
        "a=setup:actpass",
        "a=mid:1",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "a=sendonly",
        "a=msid:stream camera",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 transport-cc",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:102 H264/90000",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        "a=rtpmap:103 rtx/90000",
        "a=fmtp:103 apt=102",
        "a=rid:low send",
        "a=rid:high send",
        "a=simulcast:send low;~high",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:someufrag",
        "a=ice-pwd:somepasswordthatislongenough",
        &format!("a=fingerprint:{FINGERPRINT}"),
        "a=setup:actpass",
        "a=mid:2",
        "a=sctp-port:5000",
    ];
    lines.map(|line| format!("{line}\r\n")).concat()
}

#[test]
fn a_browsers_offer_is_read() {
    let offer = read_offer(&offer()).unwrap();
    assert_eq!(offer.setup, Setup::ActPass);
    assert_eq!(offer.fingerprints, [FINGERPRINT.parse::<Fingerprint>().unwrap()]);
    let [audio, video, data] = &offer.sections[..] else { panic!("three sections") };
    assert_eq!((audio.kind, audio.codec().unwrap().codec, audio.sends), (Some(MediaKind::Audio), Codec::Opus, true));
    assert_eq!(audio.extensions.id(Extension::Twcc), Some(3), "a direction behind the id is no part of it");
    assert_eq!(audio.sources, [(1001, None)]);
    assert_eq!(video.track_id(), Some("camera"));
    assert_eq!(video.rids, ["low", "high"]);
    let vp8 = video.codec().unwrap();
    assert_eq!((vp8.payload_type, vp8.rtx, vp8.codec), (96, Some(97), Codec::Vp8));
    assert_eq!(vp8.feedback, Feedback { nack: true, pli: true, fir: true, twcc: true, remb: true });
    assert_eq!((data.kind, data.media.as_str()), (Some(MediaKind::Data), "application"));
    assert_eq!(
        data.data,
        Some(DataSection { max_message: 65_536, legacy: false }),
        "what counts for one that says nothing"
    );
}

const CANDIDATES: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000)];

fn local<'a>(ice: &'a Credentials, fingerprint: &'a Fingerprint, setup: Setup) -> Local<'a> {
    Local { session: 7, version: 1, ice, fingerprint, setup, candidates: &CANDIDATES, tcp: false }
}

/// A line of an answer that takes what is offered, but for data.
fn answered(section: &Section) -> AnswerLine<'_> {
    AnswerLine {
        section,
        accepted: section.codec(),
        data: false,
        extensions: section.extensions,
        receives: true,
        max_bitrate: None,
    }
}

/// The same of an answer that takes data and nothing else.
fn data_only(section: &Section) -> AnswerLine<'_> {
    AnswerLine { accepted: None, data: section.data.is_some(), ..answered(section) }
}

fn vp8(rtx: Option<u8>) -> CodecLine {
    let feedback = Feedback::wanted(Codec::Vp8);
    CodecLine { payload_type: 96, codec: Codec::Vp8, fmtp: String::new(), rtx, red: None, feedback }
}

/// A line of an offer.
fn video<'a>(codec: &'a CodecLine, mid: &'a str, sends: Sends<'a>) -> OfferLine<'a> {
    OfferLine { mid, kind: MediaKind::Video, codec, extensions: ExtensionMap::of(&[(Extension::Mid, 1)]), sends }
}

#[test]
fn the_answer_takes_what_is_allowed_and_rejects_the_rest() {
    let offer = read_offer(&offer()).unwrap();
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let lines: Vec<_> = offer
        .sections
        .iter()
        .map(|section| AnswerLine {
            accepted: section.codec().filter(|_| section.mid != "0"),
            max_bitrate: Some(Bitrate(1_500_500)),
            ..answered(section)
        })
        .collect();
    let text = write_answer(&local(&ice, &fingerprint, Setup::Passive), &lines);
    assert!(text.contains("a=group:BUNDLE 1\r\na=extmap-allow-mixed\r\n"));
    assert!(text.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
    assert!(text.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"));
    assert!(text.contains("b=AS:1501\r\nb=TIAS:1500500\r\n"));
    assert!(text.contains("a=simulcast:recv low;high\r\n"));
    let answer = read_answer(&text).unwrap();
    let states: Vec<_> =
        answer.sections.iter().map(|section| (section.rejected, section.receives && !section.rejected)).collect();
    assert_eq!(states, [(true, false), (false, true), (true, false)]);
}

#[test]
fn our_offer_can_be_read_and_says_what_is_sent() {
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let codec = vp8(Some(97));
    let line = |mid, sends| video(&codec, mid, sends);
    let sends = Sends::Track { stream: "42", track: "camera", ssrc: 9, rtx: Some(10) };
    let text = write_offer(
        &local(&ice, &fingerprint, Setup::ActPass),
        &[line("0", sends), line("1", Sends::Nothing), line("2", Sends::Stopped)],
        None,
    );
    let offer = read_offer(&text).unwrap();
    assert_eq!(offer.sections[0].msid, Some(("42".into(), Some("camera".into()))));
    assert_eq!(offer.sections[0].sources, [(9, Some(10))]);
    assert!(offer.sections[0].sends && !offer.sections[1].sends);
    assert!(!offer.sections[1].rejected && offer.sections[2].rejected);
    assert!(text.contains("a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n"));
}

#[test]
fn data_channels_are_read_in_either_form_and_answered_in_the_same() {
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let answer = |text: &str| {
        let offer = read_offer(text).unwrap();
        let lines: Vec<_> = offer.sections.iter().map(data_only).collect();
        (offer.sections[2].data, write_answer(&local(&ice, &fingerprint, Setup::Passive), &lines))
    };
    let sized =
        |size: &str| offer().replace("a=sctp-port:5000", &format!("a=sctp-port:5000\r\na=max-message-size:{size}"));
    for (size, max_message) in [("262144", 262_144), ("0", 0), ("x", 65_536), ("99999999999999999999", 65_536)] {
        let (data, answered) = answer(&sized(size));
        assert_eq!(data, Some(DataSection { max_message, legacy: false }), "{size}");
        assert!(
            answered.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
                && answered.contains("BUNDLE 2\r\n")
        );
        let read = read_answer(&answered).unwrap();
        assert_eq!(read.sections[2].data, Some(DataSection { max_message: 262_144, legacy: false }));
    }
    let legacy = offer()
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        .replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024");
    let (data, answered) = answer(&legacy);
    assert_eq!(data, Some(DataSection { max_message: 65_536, legacy: true }));
    assert!(answered.contains("m=application 9 DTLS/SCTP 5000\r\n") && answered.contains("a=sctpmap:5000 "));
    for other in [offer().replace("sctp-port:5000", "sctp-port:5001"), offer().replace("webrtc-datachannel", "other")] {
        let (data, answered) = answer(&other);
        assert_eq!(data, None);
        assert!(answered.contains("m=application 0 "));
    }
}

#[test]
fn a_line_for_data_keeps_its_place_among_the_others() {
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let codec = vp8(None);
    let line = |mid, sends| video(&codec, mid, sends);
    let lines = [line("0", Sends::Nothing), line("2", Sends::Stopped), line("3", Sends::Nothing)];
    for (place, mids) in [(0, ["1", "0", "2", "3"]), (1, ["0", "1", "2", "3"]), (3, ["0", "2", "3", "1"])] {
        let data = Some(DataLine { place, mid: "1" });
        let text = write_offer(&local(&ice, &fingerprint, Setup::ActPass), &lines, data);
        let offer = read_offer(&text).unwrap();
        assert_eq!(offer.sections.iter().map(|section| section.mid.as_str()).collect::<Vec<_>>(), mids);
        assert!(offer.sections.iter().all(|section| section.rejected == (section.mid == "2")));
        assert_eq!(offer.sections[place].data.unwrap().max_message, 262_144);
    }
    let alone = write_offer(&local(&ice, &fingerprint, Setup::ActPass), &[], Some(DataLine { place: 0, mid: "0" }));
    assert!(alone.contains("BUNDLE 0\r\n") && !alone.contains("rtcp"));
}

#[test]
fn each_address_is_told_for_datagrams_and_then_for_streams_which_come_behind_all_datagrams() {
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let candidates: [SocketAddr; 2] = ["192.0.2.7:40000".parse().unwrap(), "[2001:db8::7]:40001".parse().unwrap()];
    let local = |tcp| Local { candidates: &candidates, tcp, ..local(&ice, &fingerprint, Setup::Passive) };
    let offer = read_offer(&offer()).unwrap();
    let line = AnswerLine {
        section: &offer.sections[1],
        accepted: offer.sections[1].codec(),
        data: false,
        extensions: ExtensionMap::default(),
        receives: true,
        max_bitrate: None,
    };
    let lines = [line];
    let told = |local: Local<'_>| {
        let text = write_answer(&local, &lines);
        let told = text.lines().filter(|line| line.starts_with("a=candidate")).map(str::to_owned);
        told.collect::<Vec<_>>()
    };
    // RFC 6544 §4.2: 90 << 24 | (4 << 13 | 8191) << 8 | 255.
    assert_eq!(
        told(local(true)),
        [
            "a=candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::7 40001 typ host",
            "a=candidate:3 1 tcp 1520435199 192.0.2.7 40000 typ host tcptype passive",
            "a=candidate:4 1 tcp 1520434943 2001:db8::7 40001 typ host tcptype passive",
        ]
    );
    assert_eq!(told(local(false)).len(), 2);
    told(local(true)).iter().for_each(|line| assert_eq!(check_candidate(line), Ok(())));
}

#[test]
fn short_and_long_extensions_are_not_said_to_mix_to_a_peer_that_did_not_say_so() {
    let text = offer().replace("a=extmap-allow-mixed\r\n", "");
    let per_line = text.replace("c=IN IP4 0.0.0.0\r\n", "c=IN IP4 0.0.0.0\r\na=extmap-allow-mixed\r\n");
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    for (text, mixes) in [(text, false), (per_line, true)] {
        let offer = read_offer(&text).unwrap();
        let lines: Vec<_> = offer.sections.iter().map(answered).collect();
        let answer = write_answer(&local(&ice, &fingerprint, Setup::Passive), &lines);
        assert_eq!(answer.contains("a=extmap-allow-mixed"), mixes);
    }
}

#[test]
fn codecs_with_parameters_that_nobody_needs_are_left_out() {
    let with = |parameters: &str| {
        let text =
            offer().replace("a=rtpmap:97 rtx/90000", &format!("a=fmtp:96 {parameters}\r\na=rtpmap:97 rtx/90000"));
        read_offer(&text).unwrap().sections[1].codec().unwrap().codec
    };
    assert_eq!(with("max-fr=30"), Codec::Vp8);
    assert_eq!(with(&format!("x={}", "y".repeat(600))), Codec::H264);
    assert_eq!(with("max-fr=30\u{7}"), Codec::H264);
}

#[test]
fn what_is_missing_is_named() {
    let without = |part: &str| {
        offer().lines().filter(|line| !line.starts_with(part)).map(|line| format!("{line}\r\n")).collect::<String>()
    };
    for (part, what) in [
        ("a=ice-ufrag", "a=ice-ufrag"),
        ("a=setup", "a=setup"),
        ("a=fingerprint", "a=fingerprint of a known hash function"),
        ("a=mid", "a=mid"),
    ] {
        assert_eq!(read_offer(&without(part)).unwrap_err(), SdpError::Missing { what });
    }
    assert!(matches!(read_offer("nonsense"), Err(SdpError::Syntax { .. })));
    assert!(matches!(read_offer(&offer().replace("a=mid:1", "a=mid:0")), Err(SdpError::Wrong { .. })));
    assert!(matches!(read_answer(&offer()), Err(SdpError::Wrong { .. })));
}

#[test]
fn h264_streams_are_compatible_when_mode_and_profile_are_equal() {
    let line = |fmtp: &str| CodecLine {
        payload_type: 1,
        codec: Codec::H264,
        fmtp: fmtp.into(),
        rtx: None,
        red: None,
        feedback: Feedback::default(),
    };
    let base = line("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f");
    assert!(base.is_compatible(&line("profile-level-id=420034;packetization-mode=1")));
    assert!(!base.is_compatible(&line("profile-level-id=42001f;packetization-mode=0")));
    assert!(!base.is_compatible(&line("profile-level-id=64001f;packetization-mode=1")));
}

#[test]
fn candidates_are_checked_and_ends_are_ends() {
    for good in [
        "",
        "end-of-candidates",
        "candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host generation 0",
        "a=candidate:1 1 UDP 1 a.local 9 typ host",
        "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag x network-id 1",
    ] {
        assert_eq!(check_candidate(good), Ok(()), "{good}");
    }
    for bad in [
        "candidate:1 1 udp",
        "nonsense",
        "candidate:1 x udp 1 192.0.2.1 5000 typ host",
        "candidate:1 1 sctp 1 192.0.2.1 5000 typ host",
    ] {
        assert!(check_candidate(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn damaged_descriptions_give_errors_and_never_panic(text in damaged_text([offer(), offer().replace("a=sendonly", "a=recvonly"), offer().replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")])) {
        if let Ok(description) = read_offer(&text) {
            prop_assert!(description.sections.len() <= MAX_SECTIONS);
        }
        let _ = read_answer(&text);
    }

    #[test]
    fn damaged_candidates_never_panic(line in damaged_text([
        "candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host generation 0",
        "a=candidate:1 1 UDP 1 a.local 9 typ host",
        "candidate:842163049 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ relay raddr 0.0.0.0 rport 0",
        "end-of-candidates",
    ])) {
        let _ = check_candidate(&line);
    }

    #[test]
    fn broken_descriptions_give_errors_and_never_panic(at in any::<prop::sample::Index>(), length in 0_usize..40, with in ".{0,12}") {
        let text = offer();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let broken = format!("{}{with}{}", &text[..start], &text[end..]);
        if let Ok(description) = read_offer(&broken) {
            prop_assert!(description.sections.len() <= MAX_SECTIONS);
        }
        let _ = read_answer(&broken);
        let _ = check_candidate(&broken);
    }
}

#[test]
fn sound_is_offered_with_its_redundant_form_which_an_answer_may_take() {
    let (ice, fingerprint) = (Credentials::from_random([5; 32]), FINGERPRINT.parse().unwrap());
    let codec = CodecLine {
        payload_type: 96,
        codec: Codec::Opus,
        fmtp: "useinbandfec=1".into(),
        rtx: None,
        red: Some(97),
        feedback: Feedback::wanted(Codec::Opus),
    };
    let line = OfferLine {
        mid: "0",
        kind: MediaKind::Audio,
        codec: &codec,
        extensions: ExtensionMap::of(&[(Extension::Mid, 1)]),
        sends: Sends::Track { stream: "s", track: "a", ssrc: 8, rtx: None },
    };
    let candidates = [SocketAddr::from((Ipv4Addr::LOCALHOST, 9))];
    let local = Local {
        session: 1,
        version: 1,
        ice: &ice,
        fingerprint: &fingerprint,
        setup: Setup::ActPass,
        candidates: &candidates,
        tcp: true,
    };
    let offer = write_offer(&local, &[line], None);
    assert!(
        offer.contains("SAVPF 96 97\r\n") && offer.contains("a=rtpmap:97 red/48000/2\r\na=fmtp:97 96/96\r\n"),
        "{offer}"
    );
    let read = |answer: &str| read_answer(answer).unwrap().sections[0].codec().unwrap().red;
    let answer = offer.replace("a=sendonly", "a=recvonly").replace("actpass", "active");
    assert_eq!(read(&answer), Some(97));
    assert_eq!(read(&answer.replace("96/96", "96/98")), None, "of another format");
    assert_eq!(read(&answer.replace("a=fmtp:97 96/96\r\n", "")), None);
}

#[test]
fn simulcast_without_names_is_a_group_of_sources() {
    let names = "a=rid:low send\r\na=rid:high send\r\na=simulcast:send low;~high\r\n";
    let read = |lines: &str| {
        let read = read_offer(&offer().replace(names, lines));
        read.map(|offer| (offer.sections[1].group.clone(), offer.sections[1].encodings()))
    };
    assert_eq!(read("a=ssrc-group:SIM 20 30 10\r\n").unwrap(), (vec![20, 30, 10], 3));
    assert_eq!(read("a=ssrc-group:FID 20 30\r\n").unwrap(), (vec![], 1));
    let both = format!("{names}a=ssrc-group:SIM 20 30 10\r\n");
    assert_eq!(read(&both).unwrap(), (vec![], 2), "names go before it");
    for bad in ["20 20", "20 x", "1 2 3 4 5", "20 -1"] {
        assert!(read(&format!("a=ssrc-group:SIM {bad}\r\n")).is_err(), "{bad}");
    }
}
