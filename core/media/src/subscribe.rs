//! A viewer's transport: its m-lines, and one offer at a time about them.
//!
//! Later changes gather while an offer is open. Lines that lost their track go inactive; when there are many of them,
//! they are stopped and later taken for other tracks (RFC 8829 §5.2.2), so that descriptions stay short.

mod line;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use lockgate_model::{MediaKind, TrackId};
use lockgate_rtp::ReportBlock;
use lockgate_transport::Connection;
use lockgate_transport::dtls::Fingerprint;
use lockgate_transport::sdp::{
    CodecLine, DataLine, Description, Feedback, Local, MAX_SECTIONS, Section, Setup, write_offer,
};

pub(crate) use self::line::Settled;
use self::line::{Line, Use, Used};
use crate::arena::Key;
use crate::data::Leaving;
use crate::demands::Demands;
use crate::link::Link;
use crate::negotiate::{NegotiateError, ViewersAnswer};
use crate::slots::{Placed, Slots};
use crate::subscription::Past;
use crate::transport::OfferToMake;

/// A viewer's transport, beside its connection.
pub(crate) struct Subscribe {
    lines: Vec<Line>,
    next_mid: u64,
    next_offer: u64,
    state: Negotiation,
    /// Changes that no offer has told of yet, and who caused the last of them.
    changed: Option<u64>,
    /// Whose track a source is.
    sources: HashMap<u32, Reported>,
    types: Vec<CodecLine>,
    fingerprints: Option<Vec<Fingerprint>>,
    /// What it has asked of tracks that it left lately, and is held against it if it returns.
    left: BTreeMap<Key, Demands>,
    pub(crate) data: Data,
    pub(crate) link: Link,
    /// The viewer's own lines, if it was the one that offered: then it is offered nothing.
    pub(crate) slots: Option<Box<Slots>>,
}

/// Data channels to a viewer.
#[derive(Default)]
pub(crate) struct Data {
    /// The place of their m-line among all, and its mid; made with the first channel, and there from then on.
    line: Option<(usize, String)>,
    /// The published channels that the viewer gets.
    pub(crate) channels: Vec<Key>,
    /// Those whose last messages are on their way.
    pub(crate) leaving: Vec<Leaving>,
    /// What waits for the viewer in all.
    pub(crate) waiting: usize,
}

/// A source of ours, and how far its viewer has told of it.
#[derive(Clone, Copy)]
struct Reported {
    track: Key,
    highest: Option<u32>,
}

enum Negotiation {
    Stable,
    Offered { offer: OfferToMake, since: Instant, repeated: bool },
}

/// A track to be sent, and under which sources.
pub(crate) struct NewLine {
    pub(crate) track: Key,
    pub(crate) id: TrackId,
    pub(crate) stream: String,
    pub(crate) cause: u64,
    pub(crate) codec: CodecLine,
    /// Its packets have dependency descriptors.
    pub(crate) described: bool,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
}

/// The line that a track took.
pub(crate) enum Taken {
    /// One that is offered with the next offer.
    Offered,
    /// One of the viewer's own: how it is sent is settled.
    Own(Placed),
}

impl Subscribe {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            lines: Vec::new(),
            next_mid: 0,
            next_offer: 1,
            state: Negotiation::Stable,
            changed: None,
            sources: HashMap::new(),
            types: Vec::new(),
            fingerprints: None,
            left: BTreeMap::new(),
            data: Data::default(),
            link: Link::new(now),
            slots: None,
        }
    }

    /// The track that a source of ours carries.
    pub(crate) fn track_of(&self, ssrc: u32) -> Option<Key> {
        self.sources.get(&ssrc).map(|source| source.track)
    }

    /// The viewer tells how much of a source was lost since it last did (RFC 3550 §6.4.1).
    pub(crate) fn take_report(&mut self, block: ReportBlock) {
        let Some(source) = self.sources.get_mut(&block.ssrc) else { return };
        let before = source.highest.replace(block.highest);
        let expected = before.map_or(0, |before| block.highest.wrapping_sub(before));
        if expected <= MAX_REPORTED {
            self.link.report(expected.into(), block.fraction_lost);
        }
    }

    /// The tracks that are sent.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = Key> + '_ {
        let own = self.slots.iter().flat_map(|slots| slots.tracks());
        self.lines.iter().filter_map(Line::used).map(|used| used.track).chain(own)
    }

    /// Who caused that a track is sent.
    pub(crate) fn cause_of(&self, track: Key) -> Option<u64> {
        let line = self.lines.iter().filter_map(Line::used).find(|used| used.track == track).map(|used| used.cause);
        line.or_else(|| self.slots.as_ref()?.cause_of(track))
    }

    pub(crate) fn has(&self, track: Key) -> bool {
        self.tracks().any(|own| own == track)
    }

    /// Takes a line for a track: one that is offered with the next offer, or one of the viewer's own. None when payload types or
    /// lines are used up, or none fits.
    pub(crate) fn add(&mut self, new: NewLine) -> Option<Taken> {
        if self.slots.is_some() {
            self.take_slot(&new).map(Taken::Own)
        } else {
            self.add_line(new).map(|()| Taken::Offered)
        }
    }

    fn take_slot(&mut self, new: &NewLine) -> Option<Placed> {
        // Whoever asked for it hears what is sent, also if this is not.
        self.change(new.cause);
        let placed = self.slots.as_mut()?.take(new)?;
        self.sources.insert(placed.ssrc, Reported { track: new.track, highest: None });
        self.link.watches_anew();
        Some(placed)
    }

    fn add_line(&mut self, new: NewLine) -> Option<()> {
        // A stopped line may be taken for another kind of media, too (RFC 8829 §5.2.2).
        let stopped = self.lines.iter().position(|line| matches!(line.use_, Use::Stopped));
        let stopped = stopped.filter(|_| !matches!(self.state, Negotiation::Offered { .. }));
        if stopped.is_none() && self.lines.len() + 1 >= MAX_SECTIONS {
            return None;
        }
        let codec = self.type_for(&new.codec)?;
        let rtx = codec.rtx.map(|_| new.rtx_ssrc);
        self.sources.insert(new.ssrc, Reported { track: new.track, highest: None });
        let used = Used { track: new.track, id: new.id, stream: new.stream, cause: new.cause, ssrc: new.ssrc, rtx };
        let (mid, kind, described) = (self.next_mid.to_string(), codec.codec.kind(), new.described);
        let line = Line { mid, kind, codec, described, use_: Use::Track(used) };
        self.next_mid += 1;
        match stopped {
            Some(stopped) => self.lines[stopped] = line,
            None => self.lines.push(line),
        }
        self.change(new.cause);
        self.link.watches_anew();
        Some(())
    }

    /// Takes the line for data channels for one more. False: lines are used up.
    pub(crate) fn add_channel(&mut self, channel: Key, cause: u64) -> bool {
        if self.slots.is_some() {
            self.change(cause);
            return false;
        }
        if self.data.line.is_none() {
            if self.lines.len() + 1 >= MAX_SECTIONS {
                return false;
            }
            self.data.line = Some((self.lines.len(), self.next_mid.to_string()));
            self.next_mid += 1;
        }
        self.data.channels.push(channel);
        self.change(cause);
        true
    }

    /// Where the numbers of a track stand that is about to end.
    pub(crate) fn note_past(&mut self, track: Key, past: Past) {
        self.slots.iter_mut().for_each(|slots| slots.note_past(track, past));
    }

    /// Takes a track's line back.
    pub(crate) fn remove(&mut self, track: Key, cause: Option<u64>) {
        let own = self.slots.as_mut().and_then(|slots| slots.free(track));
        let Some(before) = own.or_else(|| self.free_line(track)) else { return };
        self.sources.retain(|_, own| own.track != track);
        self.link.forget(track);
        self.link.watches_anew();
        self.change(cause.unwrap_or(before));
    }

    /// A track has no line of ours any more. Who caused that it had comes back, if it had.
    fn free_line(&mut self, track: Key) -> Option<u64> {
        let line = self.lines.iter_mut().find(|line| line.used().is_some_and(|used| used.track == track))?;
        let cause = line.used().map(|used| used.cause);
        line.use_ = Use::Inactive;
        cause
    }

    /// It left a track, of which it had asked for so much.
    pub(crate) fn note_left(&mut self, now: Instant, track: Key, demands: Demands) {
        self.left.insert(track, demands);
        self.left.retain(|_, demands| demands.is_owed(now));
    }

    /// What it had asked of a track before.
    pub(crate) fn take_left(&mut self, track: Key) -> Option<Demands> {
        self.left.remove(&track)
    }

    /// Something is to be offered (again).
    pub(crate) fn change(&mut self, cause: u64) {
        self.changed = Some(cause);
    }

    /// What is sent on the viewer's own lines, when that has changed, and who caused it.
    pub(crate) fn take_placed(&mut self) -> Option<(u64, Vec<(String, TrackId)>)> {
        let slots = self.slots.as_ref()?;
        let cause = self.changed.take()?;
        Some((cause, slots.placed()))
    }

    /// The next offer, when one is wanted and none is open.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        channels: impl Iterator<Item = TrackId>,
    ) -> Option<OfferToMake> {
        if self.slots.is_some() || matches!(self.state, Negotiation::Offered { .. }) {
            return None;
        }
        let cause = self.changed.take()?;
        self.stop_idle_lines();
        let sdp = write_offer(local, &self.lines.iter().map(Line::offer).collect::<Vec<_>>(), self.data.offer());
        let used = self.lines.iter().filter_map(|line| Some((line.mid.clone(), line.used()?.id.clone())));
        let channels =
            self.data.line.iter().zip([channels]).flat_map(|((_, mid), ids)| ids.map(|id| (mid.clone(), id)));
        let tracks = used.chain(channels).collect();
        let offer = OfferToMake { offer_id: self.next_offer, cause, sdp, tracks };
        self.next_offer += 1;
        self.state = Negotiation::Offered { offer: offer.clone(), since: now, repeated: false };
        Some(offer)
    }

    /// Takes an answer to the open offer; what it settles comes back. An answer that is wrong changes nothing.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        offer_id: Option<u64>,
        ViewersAnswer(mut answer): ViewersAnswer,
    ) -> Result<Vec<Settled>, NegotiateError> {
        let Negotiation::Offered { offer, .. } = &self.state else { return Err(NegotiateError::NoOffer) };
        if offer_id.is_some_and(|id| id != offer.offer_id) {
            return Err(NegotiateError::NoOffer);
        }
        let told = offer.tracks.iter().all(|(mid, _)| answer.sections.iter().any(|section| section.mid == *mid));
        let live = answer.sections.iter().any(|section| !section.rejected);
        let data = self.data.take_answer(&mut answer)?;
        // Lines that were added while the offer was open are not in it.
        let offered = self.lines.iter().take(answer.sections.len());
        let same = offered.zip(&answer.sections).all(|(line, section)| line.mid == section.mid);
        if !same || !told || answer.sections.len() > self.lines.len() {
            return Err(NegotiateError::OtherLines);
        }
        if live {
            self.take_peer(now, connection, &answer)?;
        }
        self.state = Negotiation::Stable;
        if let Some(section) = data.filter(|section| !section.rejected)
            && let Some(data) = section.data
        {
            connection.start_data(now, data.max_message);
        }
        let settled = self.lines.iter().zip(&answer.sections).filter_map(|(line, section)| line.settle(section));
        Ok(settled.collect())
    }

    /// Time passes: an offer without an answer is repeated once; then there is nobody.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<Option<OfferToMake>, Unanswered> {
        self.link.estimator.handle_timeout(now);
        let Negotiation::Offered { offer, since, repeated } = &mut self.state else { return Ok(None) };
        match (*since + ANSWER_WITHIN <= now, *repeated) {
            (false, _) => Ok(None),
            (true, true) => Err(Unanswered),
            (true, false) => {
                (*since, *repeated) = (now, true);
                Ok(Some(offer.clone()))
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let answer = match &self.state {
            Negotiation::Offered { since, .. } => Some(*since + ANSWER_WITHIN),
            Negotiation::Stable => None,
        };
        answer.into_iter().chain(self.link.estimator.next_timeout()).min()
    }

    /// Whether nothing was offered yet, so that the viewer may be the one that offers.
    pub(crate) fn is_unused(&self) -> bool {
        self.lines.is_empty() && self.data.line.is_none() && self.changed.is_none()
    }

    /// Takes the viewer's certificate, from its answer or its offer.
    pub(crate) fn take_peer(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        answer: &Description,
    ) -> Result<(), NegotiateError> {
        match &self.fingerprints {
            Some(known) if *known != answer.fingerprints => return Err(NegotiateError::OtherCertificate),
            Some(_) => {}
            None => {
                self.fingerprints = Some(answer.fingerprints.clone());
                connection.set_peer(now, answer.fingerprints.clone(), answer.setup);
            }
        }
        Ok(())
    }

    /// The payload types of a codec on this connection: the same for the same format, as a bundle requires (RFC 8843 §9.1).
    fn type_for(&mut self, codec: &CodecLine) -> Option<CodecLine> {
        if let Some(known) = self.types.iter().find(|known| known.codec == codec.codec && known.fmtp == codec.fmtp) {
            return Some(known.clone());
        }
        let mut free = (96..=127).chain(35..=63).filter(|own| {
            !self.types.iter().any(|one| [Some(one.payload_type), one.rtx, one.red].contains(&Some(*own)))
        });
        let payload_type = free.next()?;
        let video = codec.codec.kind() == MediaKind::Video;
        // One more for what mends losses, each in its way.
        let mends = free.next()?;
        let (rtx, red) = if video { (Some(mends), None) } else { (None, Some(mends)) };
        // What viewers send back is ours to act upon, whatever the publisher can.
        let feedback = Feedback::wanted(codec.codec);
        let line = CodecLine { payload_type, codec: codec.codec, fmtp: codec.fmtp.clone(), rtx, red, feedback };
        self.types.push(line.clone());
        Some(line)
    }

    /// All but the first: it carries the connection (RFC 8843 §7.2), and browsers take its end for that of the whole bundle.
    fn stop_idle_lines(&mut self) {
        let mut idle: Vec<_> =
            self.lines.iter_mut().skip(1).filter(|line| matches!(line.use_, Use::Inactive)).collect();
        if idle.len() >= MAX_IDLE {
            idle.iter_mut().for_each(|line| line.use_ = Use::Stopped);
        }
    }
}

impl Data {
    fn offer(&self) -> Option<DataLine<'_>> {
        self.line.as_ref().map(|(place, mid)| DataLine { place: *place, mid })
    }

    /// Takes the section out of an answer that is about data channels, so that the others stand as the media's lines do.
    fn take_answer(&self, answer: &mut Description) -> Result<Option<Section>, NegotiateError> {
        let Some((place, mid)) = self.line.as_ref().filter(|(place, _)| *place < answer.sections.len()) else {
            return Ok(None);
        };
        let section = answer.sections.remove(*place);
        if section.mid == *mid { Ok(Some(section)) } else { Err(NegotiateError::OtherLines) }
    }
}

/// Nobody answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// What all our descriptions of a connection say, from its parts.
pub(crate) fn local<'a>(
    connection: &'a Connection,
    (candidates, tcp): (&'a [std::net::SocketAddr], bool),
    session: u64,
    version: u64,
    setup: Setup,
) -> Local<'a> {
    let (ice, fingerprint) = (connection.ice().local(), connection.fingerprint());
    Local { session, version, ice, fingerprint, setup, candidates, tcp }
}

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const MAX_IDLE: usize = 8;
/// No source sends more between two reports of a second each: a report that tells of more is none.
const MAX_REPORTED: u32 = 10_000;
