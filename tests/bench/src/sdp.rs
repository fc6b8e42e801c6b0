//! The descriptions of our clients: what a browser would say, without what does not matter here.

use anyhow::{Context, Result, ensure};
use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::sdp::{Extension, read_offer};

/// What a client needs to know of a server's description.
pub(crate) struct Server {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn read(description: &str) -> Result<Self> {
        let value = |key: &str| {
            let found = description.lines().find_map(|line| line.strip_prefix(key));
            found.with_context(|| format!("no {key} in {description}"))
        };
        let candidate = value("a=candidate:")?;
        let port = candidate.split(' ').nth(5).context("a candidate has a port")?;
        let fingerprint = value("a=fingerprint:")?.parse();
        Ok(Self {
            ufrag: value("a=ice-ufrag:")?.to_owned(),
            password: value("a=ice-pwd:")?.to_owned(),
            fingerprint: fingerprint.ok().context("a fingerprint is one")?,
            port: port.parse().context("a port is a number")?,
        })
    }
}

/// A source that a viewer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) ssrc: u32,
    /// Of what is sent again, if anything is.
    pub(crate) repairs: Option<u32>,
    pub(crate) video: bool,
}

/// What an offer to a viewer will send: sound before pictures, as they were published.
pub(crate) fn sources(offer: &str) -> Result<Vec<Source>> {
    let read = read_offer(offer).ok().context("the worker's own offer can be read")?;
    let sending = read.sections.iter().filter(|section| section.sends);
    let sources = sending.filter_map(|section| {
        let (ssrc, repairs) = *section.sources.first()?;
        Some(Source { ssrc, repairs, video: section.media == "video" })
    });
    Ok(sources.collect())
}

/// The extension id by which packets tell their transport-wide number, if an offer has it and wants feedback on it.
pub(crate) fn number_id(offer: &str) -> Result<Option<u8>> {
    let read = read_offer(offer).ok().context("the worker's own offer can be read")?;
    let mut reported = read.sections.iter().filter(|section| section.codec().is_some_and(|codec| codec.feedback.twcc));
    Ok(reported.find_map(|section| section.extensions.id(Extension::Twcc)))
}

/// The offer of a client that sends sound and a camera's picture in three sizes.
pub(crate) fn publish_offer(fingerprint: &str) -> String {
    let mut lines = vec!["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"];
    let own = format!("a=fingerprint:{fingerprint}");
    lines.push("m=audio 9 UDP/TLS/RTP/SAVPF 111");
    lines.extend(COMMON);
    lines.extend([own.as_str(), "a=mid:0", "a=msid:room sound", "a=rtpmap:111 opus/48000/2"]);
    lines.extend(["a=fmtp:111 minptime=10;useinbandfec=1", "a=rtcp-fb:111 transport-cc"]);
    lines.push("m=video 9 UDP/TLS/RTP/SAVPF 96 97");
    lines.extend(COMMON);
    lines.extend([own.as_str(), "a=mid:1", "a=msid:room picture", "a=rtpmap:96 VP8/90000"]);
    lines.extend(["a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 transport-cc"]);
    lines.extend(["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"]);
    lines.extend(["a=rid:low send", "a=rid:mid send", "a=rid:high send", "a=simulcast:send low;mid;high"]);
    joined(lines.into_iter())
}

/// The offer of a client that opens data channels, and sends nothing else.
pub(crate) fn data_offer(fingerprint: &str) -> String {
    let own = format!("a=fingerprint:{fingerprint}");
    let session = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0"];
    let section = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:0", UFRAG, PASSWORD];
    let rest = ["a=setup:actpass", own.as_str(), "a=sctp-port:5000", "a=max-message-size:262144"];
    joined(session.into_iter().chain(section).chain(rest))
}

/// A browser's answer that takes everything; transport-wide feedback only if arrivals are reported.
pub(crate) fn view_answer(offer: &str, fingerprint: &str, reports: bool) -> Result<String> {
    ensure!(offer.contains("a=sendonly") || offer.contains("m=application 9 "), "nothing is offered");
    let own = format!("a=fingerprint:{fingerprint}");
    let answered = offer.lines().filter_map(|line| match line {
        "a=sendonly" => Some("a=recvonly"),
        "a=setup:actpass" => Some("a=setup:active"),
        "a=ice-lite" => None,
        _ if !reports && (line.ends_with(" transport-cc") || line.ends_with(Extension::Twcc.uri())) => None,
        _ if line.starts_with("a=ssrc") || line.starts_with("a=msid:") || line.starts_with("a=candidate:") => None,
        _ if line.starts_with("a=fingerprint:") => Some(own.as_str()),
        _ if line.starts_with("a=ice-ufrag:") => Some(UFRAG),
        _ if line.starts_with("a=ice-pwd:") => Some(PASSWORD),
        _ => Some(line),
    });
    Ok(joined(answered))
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.fold(String::new(), |all, line| all + line + "\r\n")
}

const UFRAG: &str = "a=ice-ufrag:peer";
const PASSWORD: &str = "a=ice-pwd:0123456789012345678901";
const COMMON: [&str; 10] = [
    "c=IN IP4 0.0.0.0",
    UFRAG,
    PASSWORD,
    "a=setup:actpass",
    "a=sendonly",
    "a=rtcp-mux",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "a=extmap:6 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
];

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtcp-fb:96 nack\r\na=rtcp-fb:96 transport-cc\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

    fn offer(fingerprint: &str) -> String {
        OFFER.replace("a=setup", &format!("a=fingerprint:{fingerprint}\r\na=setup"))
    }

    #[test]
    fn a_viewer_takes_transport_wide_feedback_only_if_it_reports() {
        let fingerprint = lockgate_transport::testing::Peer::default().fingerprint();
        let offer = offer(&fingerprint);
        assert_eq!(number_id(&offer).unwrap(), Some(5));
        let answer = |reports| view_answer(&offer, &fingerprint, reports).unwrap();
        let taken: Vec<_> = offer.lines().filter(|line| line.contains("transport-")).collect();
        assert!(taken.len() == 2 && taken.iter().all(|line| answer(true).contains(line)));
        assert!(!answer(false).contains("transport-"), "{}", answer(false));
        assert!(answer(false).contains("a=rtcp-fb:96 nack"));
    }

    #[test]
    fn a_worker_that_wants_no_feedback_names_no_number() {
        let fingerprint = lockgate_transport::testing::Peer::default().fingerprint();
        let offer = offer(&fingerprint).replace("a=rtcp-fb:96 transport-cc\r\n", "");
        assert_eq!(number_id(&offer).unwrap(), None);
    }
}
