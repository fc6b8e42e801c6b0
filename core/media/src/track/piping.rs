//! A track on pipes: at home it is sent to other engines, elsewhere it comes from one.
//!
//! Elsewhere it is a track like any other: its packets lie in its own rings, from which its viewers are served. Only what is
//! wanted of its publisher goes back over the pipe instead.

use std::borrow::Cow;
use std::time::Instant;

use lockgate_rtp::{Header, SenderInfo};

use super::{Onward, Track};
use crate::arena::Key;
use crate::encoding::{Encoding, Reading};
use crate::numbers::Origin;
use crate::pipe::{Announced, Encodings, Frame, Piped, PipedTrack, Pipes, Rates};
use crate::stats::{Counters, DropReason};
use crate::subscription::Subscription;

/// Where a track comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// A publisher's transport: the track is at home here.
    Publisher(Key),
    /// Another engine, over a pipe.
    Pipe(Key, PipedTrack),
}

/// A pipe to an engine that was told of a track.
pub(super) struct Told {
    pipe: Key,
    number: PipedTrack,
    /// What its viewers want.
    pub(super) wanted: Encodings,
    /// Which encodings it believes to be alive.
    alive: Encodings,
}

/// What must be known of a track that comes over a pipe.
#[derive(Default)]
pub(super) struct Remote {
    /// What the other engine was told that is wanted here.
    wanted: Encodings,
    pub(super) rates: Rates,
}

impl Track {
    pub(crate) fn is_home(&self) -> bool {
        matches!(self.feed, Feed::Publisher(_))
    }

    /// Whether packets of an encoding come from its publisher.
    pub(super) fn is_alive(&self, now: Instant, index: usize) -> bool {
        match self.feed {
            Feed::Publisher(_) => self.encodings[index].is_alive(now),
            Feed::Pipe(..) => self.remote.rates.get(index).is_some_and(|rate| *rate > 0 && rate & RESTS == 0),
        }
    }

    /// How many bits a second an encoding has.
    pub(super) fn rate(&mut self, now: Instant, index: usize) -> u64 {
        match self.feed {
            Feed::Publisher(_) => self.encodings[index].rate(now),
            Feed::Pipe(..) => (self.remote.rates.get(index).copied().unwrap_or(0) & !RESTS).into(),
        }
    }

    // At home.

    /// Tells another engine that this track can be had.
    pub(crate) fn announce(&mut self, now: Instant, own: Key, pipes: &mut Pipes, counters: &mut Counters, pipe: Key) {
        let Some(number) = pipes.get_mut(pipe).map(|pipe| pipe.allot(own)) else { return };
        let announced = Frame::Announced(Announced {
            track: number,
            id: self.id.clone(),
            codec: self.codec.codec,
            payload_type: self.codec.payload_type,
            rtx: self.codec.rtx,
            feedback: self.codec.feedback,
            encodings: self.encodings.len() as u8,
            muted: self.muted,
            ids: self.ids,
            fmtp: Cow::Borrowed(&self.codec.fmtp),
        });
        pipes.send(pipe, counters, &announced);
        let none = Encodings::default();
        self.told.push(Told { pipe, number, wanted: none, alive: none });
        self.tell_rates(now, pipes, counters);
    }

    /// A pipe is gone.
    pub(crate) fn forget_pipe(&mut self, pipe: Key) {
        self.told.retain(|told| told.pipe != pipe);
        self.is_steered_anew = true;
    }

    /// Tells other engines that this track is over.
    pub(crate) fn tell_end(&self, pipes: &mut Pipes, counters: &mut Counters) {
        for told in &self.told {
            if let Some(pipe) = pipes.get_mut(told.pipe) {
                pipe.own.remove(&told.number);
            }
            pipes.send(told.pipe, counters, &Frame::Gone { track: told.number });
        }
    }

    pub(crate) fn tell_muted(&self, pipes: &mut Pipes, counters: &mut Counters) {
        for told in &self.told {
            pipes.send(told.pipe, counters, &Frame::Muted { track: told.number, muted: self.muted });
        }
    }

    /// Tells other engines which encodings come and how much they have: those that watch, and those that are mistaken.
    pub(crate) fn tell_rates(&mut self, now: Instant, pipes: &mut Pipes, counters: &mut Counters) {
        if self.told.is_empty() {
            return;
        }
        let (mut rates, mut alive) = (Rates::default(), Encodings::default());
        for (index, rate) in rates.iter_mut().enumerate().take(self.encodings.len()) {
            let is_alive = self.is_alive(now, index);
            if is_alive || self.rests(now, index) {
                // Its first second is not over: it has some.
                *rate = u32::try_from(self.expected(now, index)).unwrap_or(u32::MAX).clamp(1, RESTS - 1);
            }
            match is_alive {
                true => alive = alive.with(index as u8),
                false => *rate |= if *rate > 0 { RESTS } else { 0 },
            }
        }
        for told in &mut self.told {
            if !told.wanted.is_empty() || told.alive != alive {
                told.alive = alive;
                pipes.send(told.pipe, counters, &Frame::Rates { track: told.number, rates });
            }
        }
    }

    /// Sends a packet over the pipes at whose other ends it is wanted.
    pub(super) fn pipe(&self, onward: &mut Onward<'_>, index: usize, number: u64, packet: &[u8]) {
        let Some(origin) = self.encodings.get(index).map(Encoding::origin) else { return };
        for told in self.told.iter().filter(|told| told.wanted.has(origin.encoding)) {
            let piped = Piped { track: told.number, origin, number, arrival: onward.at, packet };
            onward.pipes.send_media(told.pipe, onward.counters, &Frame::Packet(piped));
            onward.counters.piped_out += 1;
        }
    }

    /// Sends a sender report over the pipes at whose other ends the track is wanted: a viewer that changes to another encoding
    /// needs the reports of both.
    pub(super) fn pipe_report(&self, onward: &mut Onward<'_>, origin: Origin, info: SenderInfo) {
        for told in self.told.iter().filter(|told| !told.wanted.is_empty()) {
            let report = Frame::Report { track: told.number, origin, info };
            onward.pipes.send_media(told.pipe, onward.counters, &report);
        }
    }

    /// Another engine's viewers want these encodings from now on.
    pub(crate) fn take_wanted(&mut self, onward: &mut Onward<'_>, pipe: Key, wanted: Encodings) {
        let Some(told) = self.told.iter_mut().find(|told| told.pipe == pipe) else { return };
        self.is_steered_anew = true;
        let begins = std::mem::replace(&mut told.wanted, wanted).is_empty() && !wanted.is_empty();
        let number = told.number;
        if !begins {
            return;
        }
        self.tell_rates(onward.now, onward.pipes, onward.counters);
        for encoding in &self.encodings {
            if let Some(info) = encoding.sender() {
                let report = Frame::Report { track: number, origin: encoding.origin(), info };
                onward.pipes.send_media(pipe, onward.counters, &report);
            }
        }
    }

    /// Another engine's viewers need key frames of these encodings.
    pub(crate) fn want_keys(&mut self, wanted: Encodings) {
        for (index, encoding) in (0..).zip(&mut self.encodings) {
            if wanted.has(index) {
                encoding.keys.want();
            }
        }
    }

    /// Sends over a pipe again what did not come out of it, as far as it is still there.
    pub(crate) fn pipe_again(&self, onward: &mut Onward<'_>, pipe: Key, origin: Origin, first: u64, more: u64) {
        let Some(told) = self.told.iter().find(|told| told.pipe == pipe && !self.muted) else { return };
        let encoding = self.encodings.get(usize::from(origin.encoding)).filter(|one| one.origin() == origin);
        let Some(encoding) = encoding else { return };
        let behind = (0..64).filter(|bit| more >> bit & 1 == 1).map(|bit| first + 1 + bit);
        for packet in std::iter::once(first).chain(behind).filter_map(|number| encoding.ring.get(number)) {
            let (track, number, packet) = (told.number, packet.number, packet.bytes);
            let piped = Piped { track, origin, number, arrival: onward.at, packet };
            onward.pipes.send_media(pipe, onward.counters, &Frame::Packet(piped));
        }
    }

    // Elsewhere.

    /// Takes a packet that came over a pipe.
    pub(crate) fn receive_piped(&mut self, onward: &mut Onward<'_>, piped: &Piped<'_>) -> Result<(), DropReason> {
        let header = Header::parse(piped.packet).map_err(|_| DropReason::Malformed)?;
        if piped.packet.len() > super::MAX_PACKET || header.sequence != piped.number as u16 {
            return Err(DropReason::Malformed);
        }
        let index = usize::from(piped.origin.encoding);
        let reading = Reading { codec: self.codec.codec, ids: &self.ids, repairs: self.repairs(), muted: self.muted };
        let encoding = self.encodings.get_mut(index).ok_or(DropReason::PipeTrack)?;
        if !encoding.go_on(piped.origin.life) {
            return Err(DropReason::Duplicate);
        }
        encoding.ssrc = Some(header.ssrc);
        onward.counters.piped_in += 1;
        let received = encoding.receive(onward.now, piped.number, header, piped.packet, reading, false);
        self.take(onward, index, piped.packet, received);
        Ok(())
    }

    /// Takes a sender report that came over a pipe.
    pub(crate) fn receive_piped_report(
        &mut self,
        onward: &mut Onward<'_>,
        origin: Origin,
        info: SenderInfo,
    ) -> Result<(), DropReason> {
        let index = usize::from(origin.encoding);
        let encoding = self.encodings.get_mut(index).ok_or(DropReason::PipeTrack)?;
        if !encoding.go_on(origin.life) {
            return Err(DropReason::Duplicate);
        }
        self.receive_report(onward, index, info);
        Ok(())
    }

    /// How much each encoding has at home.
    pub(crate) fn take_rates(&mut self, rates: Rates) {
        self.remote.rates = rates;
    }

    /// Tells home what viewers here want, if it is something else than before.
    pub(crate) fn tell_wanted(&mut self, pipes: &mut Pipes, counters: &mut Counters) {
        let Feed::Pipe(pipe, track) = self.feed else { return };
        let both = self.subscriptions.iter().filter(|one| one.is_agreed());
        let wanted = both.flat_map(Subscription::wishes).fold(Encodings::default(), Encodings::with);
        let before = std::mem::replace(&mut self.remote.wanted, wanted);
        if before == wanted {
            return;
        }
        pipes.send(pipe, counters, &Frame::Wanted { track, encodings: wanted });
        for (index, encoding) in (0..).zip(&mut self.encodings) {
            if before.has(index) && !wanted.has(index) {
                encoding.rest();
            }
            if wanted.is_empty() {
                encoding.forget();
            }
        }
    }

    /// Tells home which packets did not come and which key frames are needed.
    pub(crate) fn tell_needs(&mut self, now: Instant, pipes: &mut Pipes, counters: &mut Counters) {
        let Feed::Pipe(pipe, track) = self.feed else { return };
        let mut keys = Encodings::default();
        for (index, encoding) in (0..).zip(&mut self.encodings) {
            let due = encoding.poll_missing(now);
            let missing: Vec<_> = due.ask.iter().map(|sequence| encoding.number(*sequence)).collect();
            for (first, more) in in_windows(&missing) {
                pipes.send_media(pipe, counters, &Frame::Missing { track, origin: encoding.origin(), first, more });
            }
            if encoding.keys.poll(now) && self.remote.wanted.has(index) {
                keys = keys.with(index);
            }
        }
        if !keys.is_empty() {
            pipes.send(pipe, counters, &Frame::KeyFrames { track, encodings: keys });
        }
    }
}

/// Set in a rate: the encoding does not come as nobody wanted it, and can be had.
pub(super) const RESTS: u32 = 1 << 31;

/// Ascending numbers as first ones, each with those of the next 64 that are among them.
fn in_windows(numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut windows: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match windows.last_mut() {
            Some((first, more)) if (1..=64).contains(&number.wrapping_sub(*first)) => {
                *more |= 1 << (number - *first - 1);
            }
            _ => windows.push((*number, 0)),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_told_in_windows_of_sixty_five() {
        assert_eq!(in_windows(&[10, 11, 74, 75, 200]), [(10, 1 | 1 << 63), (75, 0), (200, 0)]);
        assert_eq!(in_windows(&[]), []);
    }
}
