//! Reading descriptions of peers: everything that is used later is checked here.

use std::collections::HashMap;
use std::io::Cursor;

use lockgate_model::{Codec, MediaKind};
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::{
    CodecLine, DataSection, Description, Extension, ExtensionMap, Feedback, MAX_RIDS, MAX_SECTIONS, Remote, Section,
    Setup,
};
use crate::data::{DEFAULT_PEER_MESSAGE, SCTP_PORT};
use crate::dtls::Fingerprint;
use crate::ice::Credentials;

/// Why a description is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It cannot be read.
    #[error("the session description cannot be read: {reason}")]
    Syntax {
        /// Where and why.
        reason: String,
    },
    /// Something is missing that every browser writes.
    #[error("the session description has no {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// Something is written that cannot be.
    #[error("the session description has a wrong {what}: {value}")]
    Wrong {
        /// What.
        what: &'static str,
        /// The value, shortened.
        value: String,
    },
    /// More of something than one connection may have.
    #[error("the session description has too many {what}, the limit is {limit}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

/// Why a candidate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ICE candidate: {reason}")]
pub struct CandidateError {
    reason: &'static str,
}

/// Reads a client's offer.
pub fn read_offer(text: &str) -> Result<Description, SdpError> {
    let description = read(text)?;
    if description.setup == Setup::Passive {
        return Err(wrong("a=setup in an offer", "passive"));
    }
    Ok(description)
}

/// Reads a client's answer. All sections may be rejected; then nothing else need be in it.
pub fn read_answer(text: &str) -> Result<Description, SdpError> {
    let description = read(text)?;
    if description.setup == Setup::ActPass {
        return Err(wrong("a=setup in an answer", "actpass"));
    }
    Ok(description)
}

/// Checks a candidate line (RFC 8839 §5.1). A lite agent needs none of them: only what is no candidate at all is refused.
pub fn check_candidate(line: &str) -> Result<(), CandidateError> {
    let line = line.trim().strip_prefix("a=").unwrap_or(line.trim());
    if line.is_empty() || line == "end-of-candidates" {
        return Ok(());
    }
    let reason = |reason| Err(CandidateError { reason });
    let Some(rest) = line.strip_prefix("candidate:") else { return reason("it does not begin with candidate:") };
    let fields: Vec<_> = rest.split_ascii_whitespace().take(MAX_CANDIDATE_FIELDS).collect();
    match fields[..] {
        [_, component, transport, priority, _, port, "typ", _, ..] => {
            let numbers =
                component.parse::<u16>().is_ok() && priority.parse::<u32>().is_ok() && port.parse::<u16>().is_ok();
            let transport = transport.eq_ignore_ascii_case("udp") || transport.eq_ignore_ascii_case("tcp");
            if numbers && transport { Ok(()) } else { reason("component, transport, priority or port is wrong") }
        }
        _ => reason("fields are missing"),
    }
}

fn read(text: &str) -> Result<Description, SdpError> {
    let session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
        .map_err(|error| SdpError::Syntax { reason: shortened(&error.to_string()) })?;
    let media = &session.media_descriptions;
    if media.is_empty() {
        return Err(SdpError::Missing { what: "m-line" });
    }
    if media.len() > MAX_SECTIONS {
        return Err(SdpError::TooMany { what: "m-lines", limit: MAX_SECTIONS });
    }
    let bundle = bundled(&session);
    let mut sections = Vec::with_capacity(media.len());
    for description in media {
        let mut section = section(description, bundle.as_deref())?;
        section.mixes |= session.attributes.iter().any(|line| line.key == MIXES);
        sections.push(section);
    }
    refuse_repeated_mids(&sections)?;
    let first =
        media.iter().zip(&sections).find(|(_, section)| !section.rejected).map_or(&media[0], |(media, _)| media);
    transport(&session, first, sections)
}

/// What is said of the connection, on the session or on the first line that is in use (RFC 8843 §7.1).
fn transport(
    session: &SessionDescription,
    media: &MediaDescription,
    sections: Vec<Section>,
) -> Result<Description, SdpError> {
    let value = |key: &str| {
        let own = media.attribute(key).flatten();
        own.map(str::to_owned).or_else(|| session.attribute(key).cloned())
    };
    let required = |key: &'static str, what| value(key).ok_or(SdpError::Missing { what });
    let (ufrag, password) = (required("ice-ufrag", "a=ice-ufrag")?, required("ice-pwd", "a=ice-pwd")?);
    if !(4..=256).contains(&ufrag.len()) || !(22..=256).contains(&password.len()) {
        return Err(wrong("length of a=ice-ufrag or a=ice-pwd", &ufrag));
    }
    let setup = match required("setup", "a=setup")?.as_str() {
        "actpass" => Setup::ActPass,
        "active" => Setup::Active,
        "passive" => Setup::Passive,
        other => return Err(wrong("a=setup", other)),
    };
    let lines = session.attributes.iter().chain(&media.attributes);
    let values = lines.filter(|line| line.key == "fingerprint").filter_map(|line| line.value.as_deref());
    // Digests of a kind that is not known here are left out; one that is known must be there (RFC 8122 §5).
    let mut fingerprints: Vec<Fingerprint> = values.filter_map(|value| value.parse().ok()).collect();
    fingerprints.truncate(MAX_FINGERPRINTS);
    if fingerprints.is_empty() {
        return Err(SdpError::Missing { what: "a=fingerprint of a known hash function" });
    }
    Ok(Description { ice: Remote(Credentials { ufrag, password }), fingerprints, setup, sections })
}

/// The mids of the bundle, if there is one.
fn bundled(session: &SessionDescription) -> Option<Vec<String>> {
    let groups = session.attributes.iter().filter(|line| line.key == "group").filter_map(|line| line.value.as_deref());
    let bundle = groups.into_iter().find_map(|value| value.strip_prefix("BUNDLE"))?;
    Some(bundle.split_ascii_whitespace().map(str::to_owned).collect())
}

fn refuse_repeated_mids(sections: &[Section]) -> Result<(), SdpError> {
    let mut seen = std::collections::HashSet::new();
    match sections.iter().find(|section| !seen.insert(section.mid.as_str())) {
        Some(section) => Err(wrong("a=mid, used twice", &section.mid)),
        None => Ok(()),
    }
}

fn section(media: &MediaDescription, bundle: Option<&[String]>) -> Result<Section, SdpError> {
    let mid = media.attribute("mid").flatten().ok_or(SdpError::Missing { what: "a=mid" })?.to_owned();
    if !is_token(&mid) || mid.len() > MAX_MID {
        return Err(wrong("a=mid", &mid));
    }
    let name = &media.media_name;
    let data = data(media);
    let kind = match name.media.as_str() {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => data.map(|_| MediaKind::Data),
    };
    let outside = bundle.is_some_and(|bundle| !bundle.contains(&mid));
    let stopped = name.port.value == 0 && !media.has_attribute("bundle-only");
    let (sends, receives) = direction(media);
    Ok(Section {
        kind,
        data,
        rejected: stopped || outside,
        sends,
        receives,
        codecs: kind.map(|kind| codecs(media, kind)).unwrap_or_default(),
        extensions: extensions(media),
        mixes: media.has_attribute(MIXES),
        group: group(media)?,
        rids: rids(media)?,
        msid: msid(media),
        sources: sources(media),
        media: name.media.clone(),
        protocol: name.protos.join("/"),
        format: name.formats.first().cloned().unwrap_or_else(|| "0".to_owned()),
        mid,
    })
}

/// Data channels, written as RFC 8841 has it or as before. On another port than everybody's there is nobody.
fn data(media: &MediaDescription) -> Option<DataSection> {
    let name = &media.media_name;
    let protocol = name.protos.join("/");
    let data = name.media == "application" && DATA_PROTOCOLS.iter().any(|known| protocol.eq_ignore_ascii_case(known));
    let port = |text: &str| text.parse() == Ok(SCTP_PORT);
    let new = name.formats.iter().any(|format| format == "webrtc-datachannel")
        && values(media, "sctp-port").next().is_some_and(port);
    let legacy =
        values(media, "sctpmap").any(|map| port(split(map).0) && split(map).1.starts_with("webrtc-datachannel"));
    let max_message = values(media, "max-message-size").next().map(str::parse::<u64>);
    let max_message = max_message.and_then(Result::ok).map_or(DEFAULT_PEER_MESSAGE, |bytes| bytes as usize);
    (data && (new || legacy)).then_some(DataSection { max_message, legacy: !new })
}

fn direction(media: &MediaDescription) -> (bool, bool) {
    match () {
        () if media.has_attribute("sendonly") => (true, false),
        () if media.has_attribute("recvonly") => (false, true),
        () if media.has_attribute("inactive") => (false, false),
        () => (true, true),
    }
}

/// The values of all attributes with this key.
fn values<'a>(media: &'a MediaDescription, key: &'a str) -> impl Iterator<Item = &'a str> {
    media.attributes.iter().filter(move |line| line.key == key).filter_map(|line| line.value.as_deref())
}

/// Key and rest of a value, at its first space.
fn split(value: &str) -> (&str, &str) {
    value.split_once(' ').map_or((value, ""), |(head, rest)| (head, rest.trim()))
}

fn codecs(media: &MediaDescription, kind: MediaKind) -> Vec<CodecLine> {
    let by_type = |key: &'static str| -> HashMap<u8, &str> {
        values(media, key).filter_map(|value| Some((split(value).0.parse().ok()?, split(value).1))).collect()
    };
    let (maps, parameters) = (by_type("rtpmap"), by_type("fmtp"));
    let name = |payload_type: &u8| maps.get(payload_type).and_then(|map| map.split('/').next());
    let rtx: HashMap<u8, u8> = parameters
        .iter()
        .filter(|(payload_type, _)| name(payload_type).is_some_and(|name| name.eq_ignore_ascii_case("rtx")))
        .filter_map(|(payload_type, fmtp)| {
            Some((fmtp.strip_prefix("apt=")?.split(';').next()?.trim().parse().ok()?, *payload_type))
        })
        .collect();
    // Of this format alone: `111/111`. Others carry several.
    let red = |main: u8| {
        let is_red = |payload_type: &u8| name(payload_type).is_some_and(|name| name.eq_ignore_ascii_case("red"));
        let of_main = |fmtp: &str| fmtp.split('/').all(|one| one.trim().parse() == Ok(main));
        let found = parameters.iter().find(|(payload_type, fmtp)| is_red(payload_type) && of_main(fmtp));
        found.map(|(payload_type, _)| *payload_type).filter(|_| kind == MediaKind::Audio)
    };
    let offered = media.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok().filter(|pt| *pt < 128));
    let known = offered.filter_map(|payload_type| {
        let codec = Codec::from_rtpmap_name(name(&payload_type)?).filter(|codec| codec.kind() == kind)?;
        Some(CodecLine {
            payload_type,
            codec,
            fmtp: parameters.get(&payload_type).map(|fmtp| (*fmtp).to_owned()).unwrap_or_default(),
            rtx: rtx.get(&payload_type).copied(),
            red: red(payload_type),
            feedback: feedback(media, payload_type),
        })
    });
    // Viewers are told the parameters as they stand here, and have payload types for a few dozen kinds of them only.
    let known = known.filter(|line| line.fmtp.len() <= MAX_FMTP && !line.fmtp.contains(char::is_control));
    known.filter(|line| line.is_forwardable()).take(MAX_CODECS).collect()
}

fn feedback(media: &MediaDescription, payload_type: u8) -> Feedback {
    let mut feedback = Feedback::default();
    for value in values(media, "rtcp-fb") {
        let (head, rest) = split(value);
        if head == "*" || head.parse() == Ok(payload_type) {
            feedback.read(rest);
        }
    }
    feedback
}

fn extensions(media: &MediaDescription) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for value in values(media, "extmap") {
        let (head, rest) = split(value);
        // The id may carry a direction (RFC 8285 §8), the name attributes.
        let id = head.split('/').next().and_then(|id| id.parse::<u8>().ok()).filter(|id| (1..=14).contains(id));
        if let (Some(id), Some(extension)) = (id, Extension::from_uri(split(rest).0)) {
            map.set(extension, id);
        }
    }
    map
}

/// The encodings of `a=simulcast:send`, the first of each alternative, paused or not (RFC 8853 §5.1).
fn rids(media: &MediaDescription) -> Result<Vec<String>, SdpError> {
    let Some(simulcast) = values(media, "simulcast").next() else { return Ok(Vec::new()) };
    let mut words = simulcast.split_ascii_whitespace();
    let Some(list) = words.find(|word| *word == "send").and_then(|_| words.next()) else { return Ok(Vec::new()) };
    let rids: Vec<_> = list
        .split(';')
        .map(|alternatives| alternatives.split(',').next().unwrap_or_default().trim_start_matches('~').to_owned())
        .collect();
    if rids.len() > MAX_RIDS {
        return Err(SdpError::TooMany { what: "simulcast encodings", limit: MAX_RIDS });
    }
    match rids.iter().find(|rid| !is_token(rid) || rid.len() > MAX_RID) {
        Some(rid) => Err(wrong("rid in a=simulcast", rid)),
        None => Ok(rids),
    }
}

fn msid(media: &MediaDescription) -> Option<(String, Option<String>)> {
    let value = values(media, "msid").next()?;
    let mut words = value.split_ascii_whitespace();
    let stream = words.next()?.to_owned();
    Some((stream, words.next().map(str::to_owned)))
}

/// Simulcast as it was before names: a group of sources, which those who write it order by their size (RFC 5576 §4.2 leaves room for
/// such groups). Names go before it.
fn group(media: &MediaDescription) -> Result<Vec<u32>, SdpError> {
    let group = values(media, "ssrc-group").find_map(|value| value.strip_prefix("SIM ")).unwrap_or_default();
    let words = group.split_ascii_whitespace();
    let sources: Vec<u32> =
        words.map(|word| word.parse().map_err(|_| wrong("a=ssrc-group:SIM", word))).collect::<Result<_, _>>()?;
    if sources.len() > MAX_RIDS {
        return Err(SdpError::TooMany { what: "simulcast encodings", limit: MAX_RIDS });
    }
    if (1..sources.len()).any(|place| sources[..place].contains(&sources[place])) {
        return Err(wrong("a=ssrc-group:SIM", group));
    }
    Ok(if media.has_attribute("simulcast") { Vec::new() } else { sources })
}

fn sources(media: &MediaDescription) -> Vec<(u32, Option<u32>)> {
    let pairs: Vec<(u32, u32)> = values(media, "ssrc-group")
        .filter_map(|value| {
            let mut words = value.strip_prefix("FID ")?.split_ascii_whitespace().map(str::parse);
            Some((words.next()?.ok()?, words.next()?.ok()?))
        })
        .take(MAX_SOURCES)
        .collect();
    let mut sources: Vec<(u32, Option<u32>)> = Vec::new();
    for ssrc in values(media, "ssrc").filter_map(|value| split(value).0.parse().ok()) {
        let is_rtx = pairs.iter().any(|(_, rtx)| *rtx == ssrc);
        if !is_rtx && sources.len() < MAX_SOURCES && !sources.iter().any(|(known, _)| *known == ssrc) {
            sources.push((ssrc, pairs.iter().find(|(main, _)| *main == ssrc).map(|(_, rtx)| *rtx)));
        }
    }
    sources
}

/// A token of RFC 8866 §9.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte))
}

fn wrong(what: &'static str, value: &str) -> SdpError {
    SdpError::Wrong { what, value: shortened(value) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// RFC 8841 §4, and what stood there before.
const DATA_PROTOCOLS: [&str; 3] = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"];
/// On the session it counts for all its lines.
const MIXES: &str = "extmap-allow-mixed";
const MAX_FINGERPRINTS: usize = 8;
const MAX_CODECS: usize = 64;
const MAX_SOURCES: usize = 8;
/// H.264 parameter sets are the longest that are met with.
const MAX_FMTP: usize = 512;
const MAX_MID: usize = 32;
const MAX_RID: usize = 16;
const MAX_CANDIDATE_FIELDS: usize = 64;
