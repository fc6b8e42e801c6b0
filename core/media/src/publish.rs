//! A publisher's transport: which source is which track's, and what is said back to the publisher.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lockgate_model::TrackId;
use lockgate_rtp::Header;
use lockgate_transport::bandwidth::ReceiverEstimator;
use lockgate_transport::data::{Channel, StreamId};
use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::sdp::{CodecLine, Extension, ExtensionMap, Remote, Section};
use lockgate_transport::twcc::TwccReceiver;

use crate::arena::Key;
use crate::data::Openings;
use crate::stats::DropReason;

/// A publisher's transport, beside its connection.
pub(crate) struct Publish {
    /// The peer's ICE credentials: others are a restart.
    pub(crate) remote: Option<Remote>,
    /// The peer's certificate, as its first offer named it.
    pub(crate) fingerprints: Option<Vec<Fingerprint>>,
    pub(crate) lines: Vec<Line>,
    /// The former lines of sources that may still send.
    over: Vec<Line>,
    /// Whether data channels are taken.
    pub(crate) takes_data: bool,
    /// Data channels that are open.
    pub(crate) channels: HashMap<StreamId, PublishedChannel>,
    /// How many more may be opened.
    pub(crate) openings: Openings,
    pub(crate) twcc: TwccReceiver,
    /// What its link carries, if it goes by our word.
    pub(crate) uplink: Option<Box<Uplink>>,
    /// The source of what we say.
    pub(crate) ssrc: u32,
    pub(crate) next_report: Instant,
    /// When something is due of a track.
    pub(crate) next_repair: Option<Instant>,
    /// The time there and back, if the client tells.
    pub(crate) rtt: Option<Duration>,
    /// Whether it was ever asked to send less than all: what its next tracks send is not known.
    pub(crate) is_steered: bool,
    sources: HashMap<u32, Source>,
}

/// What a publisher's link carries, for one that cannot tell by itself.
pub(crate) struct Uplink {
    pub(crate) estimator: ReceiverEstimator,
    /// Packets that came, and such that had to be asked for again or never did, when that was counted last.
    counted: (u64, u64),
}

/// A data channel that a publisher opened.
pub(crate) struct PublishedChannel {
    pub(crate) channel: Channel,
    /// As what it is forwarded, once it is admitted.
    pub(crate) published: Option<Key>,
}

/// A negotiated m-line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) mid: String,
    pub(crate) track: Key,
    pub(crate) id: TrackId,
    pub(crate) codec: CodecLine,
    pub(crate) ids: ExtensionMap,
    /// Its encodings, the smallest first.
    rids: Vec<String>,
    /// Their sources, if they have no names.
    group: Vec<u32>,
    named: Vec<(u32, Option<u32>)>,
}

/// Whose packets a source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) track: Key,
    pub(crate) encoding: usize,
    pub(crate) payload_type: u8,
    /// Set for a source of retransmissions: what it repairs.
    pub(crate) repairs: Option<u8>,
}

/// What a packet's source turned out to be.
pub(crate) struct Bound {
    pub(crate) source: Source,
    /// It was not known before.
    pub(crate) new: bool,
}

impl Line {
    pub(crate) fn new(section: &Section, codec: CodecLine, track: Key, id: TrackId) -> Self {
        Self {
            mid: section.mid.clone(),
            track,
            id,
            codec,
            ids: section.extensions,
            rids: by_size(&section.rids),
            group: section.group.clone(),
            named: section.sources.clone(),
        }
    }

    /// The names of its encodings, the smallest first, as far as they have names.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        if self.rids.is_empty() {
            vec![None; self.group.len().max(1)]
        } else {
            self.rids.iter().cloned().map(Some).collect()
        }
    }

    /// Whether a section goes on with the same track in the same shape.
    pub(crate) fn goes_on(&self, id: &TrackId, codec: &CodecLine, section: &Section) -> bool {
        self.id == *id
            && self.rids == by_size(&section.rids)
            && self.group == section.group
            && self.codec.payload_type == codec.payload_type
            && self.codec.is_compatible(codec)
    }

    fn encoding_of(&self, rid: &[u8]) -> Option<usize> {
        self.rids.iter().position(|known| known.as_bytes() == rid)
    }
}

impl Publish {
    pub(crate) fn new(now: Instant, ssrc: u32) -> Self {
        Self {
            remote: None,
            fingerprints: None,
            lines: Vec::new(),
            over: Vec::new(),
            takes_data: false,
            channels: HashMap::new(),
            openings: Openings::new(now),
            twcc: TwccReceiver::new(now),
            uplink: None,
            ssrc,
            next_report: now + REPORT,
            next_repair: None,
            rtt: None,
            is_steered: false,
            sources: HashMap::new(),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_repair.into_iter().chain(self.next_arrivals()).chain([self.next_report]).min()
    }

    /// When it is due to say what came.
    pub(crate) fn next_arrivals(&self) -> Option<Instant> {
        let uplink = self.uplink.as_ref().and_then(|uplink| uplink.estimator.next_timeout());
        self.twcc.next_timeout().into_iter().chain(uplink).min()
    }

    /// Whether it is due to be told how much it may send.
    pub(crate) fn is_limit_due(&self, now: Instant) -> bool {
        let due = self.uplink.as_ref().and_then(|uplink| uplink.estimator.next_timeout());
        due.is_some_and(|due| due <= now)
    }

    /// Notes the packet's transport-wide number, if it has one, and for who goes by our estimate when it came. Ids are the same on all
    /// lines of a bundle (RFC 8843 §9.2).
    pub(crate) fn note_arrival(&mut self, now: Instant, header: &Header, bytes: &[u8]) {
        let id = |extension| self.lines.iter().find_map(|line| line.ids.id(extension));
        if let Some(id) = id(Extension::Twcc) {
            self.twcc.note_packet(now, id, header, bytes);
        }
        let left = self.uplink.as_ref().and_then(|_| id(Extension::AbsSendTime));
        let left = left.and_then(|id| header.extensions(bytes).find(|element| element.id == id));
        let left = left.and_then(|element| <[u8; 3]>::try_from(element.value).ok());
        if let Some(uplink) = &mut self.uplink {
            let left = left.map(|[high, middle, low]| u32::from_be_bytes([0, high, middle, low]));
            uplink.estimator.note_packet(now, left, bytes.len());
        }
    }

    /// What packets came and which were lost at first is counted anew: packets that came, and such that did not, of all its encodings.
    pub(crate) fn note_loss(&mut self, now: Instant, came: u64, lost: u64) {
        let rtt = self.rtt;
        let Some(uplink) = &mut self.uplink else { return };
        let (before_came, before_lost) = std::mem::replace(&mut uplink.counted, (came, lost));
        // A packet that is late after all makes up for its loss.
        let (came, lost) = (came.saturating_sub(before_came) as u32, lost.saturating_sub(before_lost) as u32);
        rtt.into_iter().for_each(|rtt| uplink.estimator.set_rtt(rtt));
        uplink.estimator.note_loss(now, came + lost, lost);
    }

    /// A line has begun: whoever sends by it may need our estimate.
    pub(crate) fn note_line(&mut self, now: Instant) {
        if self.uplink.is_none() && self.lines.iter().any(|line| line.codec.feedback_taken().remb) {
            let estimator = ReceiverEstimator::new(now);
            self.uplink = Some(Box::new(Uplink { estimator, counted: (0, 0) }));
        }
    }

    /// Finds whose a packet is: by its source if that is known, else by what the packet or the offer says of it.
    pub(crate) fn bind(&mut self, header: &Header, bytes: &[u8]) -> Result<Bound, DropReason> {
        let known = self.sources.get(&header.ssrc);
        let over = known.is_some_and(|source| self.over.iter().any(|line| line.track == source.track));
        if let Some(source) = known.filter(|_| !over) {
            let expected = source.repairs.unwrap_or(source.payload_type);
            return match header.payload_type == expected {
                true => Ok(Bound { source: *source, new: false }),
                false => Err(DropReason::PayloadType),
            };
        }
        let source = self.identify(header, bytes, over)?;
        // A source that is replaced is forgotten: its encoding has one source at a time.
        self.sources.retain(|_, known| {
            (known.track, known.encoding, known.repairs) != (source.track, source.encoding, source.repairs)
        });
        self.sources.insert(header.ssrc, source);
        Ok(Bound { source, new: true })
    }

    /// The source of an SSRC that is known.
    pub(crate) fn source(&self, ssrc: u32) -> Option<Source> {
        self.sources.get(&ssrc).copied()
    }

    /// A track begins on a line. The sources of the one before go on with it if they can be the same: browsers name line and
    /// encoding only until they were told that a source was received. Those come back.
    pub(crate) fn begin(&mut self, line: Line) -> Vec<(u32, Source)> {
        let mut moved = Vec::new();
        for over in self.over.extract_if(.., |over| over.mid == line.mid) {
            let goes_on = |ssrc: u32, source: &Source| {
                (&over.rids, &over.group) == (&line.rids, &line.group)
                    && (line.named.is_empty() || line.is_of(ssrc))
                    && (source.repairs.is_none() || line.codec.rtx.is_some())
            };
            self.sources.retain(|ssrc, source| source.track != over.track || goes_on(*ssrc, source));
            for (ssrc, source) in self.sources.iter_mut().filter(|(_, source)| source.track == over.track) {
                (source.track, source.payload_type) = (line.track, line.codec.payload_type);
                source.repairs = source.repairs.and(line.codec.rtx);
                moved.push((*ssrc, *source));
            }
        }
        self.lines.push(line);
        moved
    }

    /// Forgets a track's line. Its sources stay known: what they still send is not to be taken for another track's.
    pub(crate) fn forget(&mut self, track: Key) {
        let gone = self.lines.extract_if(.., |line| line.track == track);
        self.over.extend(gone);
        self.over.retain(|line| self.sources.values().any(|source| source.track == line.track));
    }

    /// RFC 8843 §9.2: by mid, else by the SSRC that the offer names, else by a payload type that only one line has. Not by that if
    /// the source was of a track that is `over`: a microphone that was taken back would be heard through another line.
    fn identify(&self, header: &Header, bytes: &[u8], over: bool) -> Result<Source, DropReason> {
        let element = |ids: &ExtensionMap, extension| {
            let id = ids.id(extension)?;
            header.extensions(bytes).find(|element| element.id == id).map(|element| element.value)
        };
        // The id is the same on all lines of a bundle. A mid that names none of them is of a line that was refused.
        let mid = self.lines.iter().find_map(|line| element(&line.ids, Extension::Mid));
        let by_mid =
            mid.map(|mid| self.lines.iter().find(|line| line.mid.as_bytes() == mid).ok_or(DropReason::UnknownSource));
        let by_mid = by_mid.transpose()?;
        let by_name = || self.lines.iter().find(|line| line.is_of(header.ssrc));
        let by_type = || {
            let mut lines = self.lines.iter().filter(|line| line.has_type(header.payload_type));
            lines.next().filter(|_| lines.next().is_none() && !over)
        };
        let line = by_mid.or_else(by_name).or_else(by_type).ok_or(DropReason::UnknownSource)?;
        let repairs = match header.payload_type {
            own if own == line.codec.payload_type => None,
            own if Some(own) == line.codec.rtx => Some(own),
            _ => return Err(DropReason::PayloadType),
        };
        let named = if repairs.is_some() { Extension::RepairedRid } else { Extension::Rid };
        let encoding = match (line.rids.is_empty(), element(&line.ids, named)) {
            (true, _) => line.encoding_from(header.ssrc).ok_or(DropReason::UnknownSource)?,
            (false, Some(rid)) => line.encoding_of(rid).ok_or(DropReason::UnknownSource)?,
            (false, None) => return Err(DropReason::UnknownSource),
        };
        Ok(Source { track: line.track, encoding, payload_type: line.codec.payload_type, repairs })
    }
}

impl Line {
    fn is_of(&self, ssrc: u32) -> bool {
        self.named.iter().any(|(main, rtx)| *main == ssrc || *rtx == Some(ssrc))
    }

    /// Which encoding a source sends, or repairs, where they have no names.
    fn encoding_from(&self, ssrc: u32) -> Option<usize> {
        if self.group.is_empty() {
            return Some(0);
        }
        let repaired = self.named.iter().find(|(_, rtx)| *rtx == Some(ssrc)).map_or(ssrc, |(main, _)| *main);
        self.group.iter().position(|own| *own == repaired)
    }

    fn has_type(&self, payload_type: u8) -> bool {
        self.codec.payload_type == payload_type || self.codec.rtx == Some(payload_type)
    }
}

/// The encodings from the smallest. Descriptions do not say which is which: the names that clients use do, and where all of a
/// line's names are of one such family they count; otherwise the order in the description.
fn by_size(rids: &[String]) -> Vec<String> {
    let rank = |family: &[&str], rid: &String| family.iter().position(|name| name.eq_ignore_ascii_case(rid));
    let family = FAMILIES.iter().find(|family| rids.iter().all(|rid| rank(family, rid).is_some()));
    let mut sorted = rids.to_vec();
    if let Some(family) = family {
        sorted.sort_by_key(|rid| rank(family, rid));
    }
    sorted
}

/// Names of encodings, from the smallest.
const FAMILIES: &[&[&str]] = &[
    &["low", "mid", "high"],
    &["low", "medium", "high"],
    &["q", "h", "f"],
    &["l", "m", "h"],
    &["quarter", "half", "full"],
    &["0", "1", "2", "3"],
    &["r0", "r1", "r2", "r3"],
    &["s0", "s1", "s2", "s3"],
];

/// Receiver reports (RFC 3550 §6.2 allows more with this little traffic; browsers send them as often).
pub(crate) const REPORT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_ordered_by_their_names_else_as_described() {
        let sorted = |rids: &[&str]| by_size(&rids.iter().map(|rid| (*rid).to_owned()).collect::<Vec<_>>()).join(" ");
        assert_eq!(sorted(&["high", "mid", "low"]), "low mid high");
        assert_eq!(sorted(&["f", "q", "h"]), "q h f");
        assert_eq!(sorted(&["h", "l"]), "l h");
        assert_eq!(sorted(&["b", "a"]), "b a");
    }
}
