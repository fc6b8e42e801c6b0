//! Pipes to other engines that hold a part of the same room.
//!
//! A router's tracks are announced over all its pipes; those of the other end stand in the router like its own. What viewers are
//! to be sent and has not been announced yet waits for a while: commands and frames come by different ways.

use std::time::{Duration, Instant};

use lockgate_model::{Limits, TrackId};

use super::{Engine, Router, Subscription, transport_id};
use crate::arena::Key;
use crate::data::DataPublisher;
use crate::ids::{PipeId, RouterId};
use crate::pipe::{Announced, AnnouncedChannel, Frame, Frames, Pipe, PipedTrack};
use crate::stats::DropReason;
use crate::track::{Feed, Track};

/// A subscription to a track that is not there yet.
pub(super) struct Awaited {
    transport: Key,
    wanted: Subscription,
    until: Instant,
}

/// An announcement that came before the end of a track of the same name.
pub(super) enum Deferred {
    /// Over which pipe, and of what.
    Track(Key, Announced<'static>),
    Channel(Key, AnnouncedChannel<'static>),
}

impl Deferred {
    fn place(&self) -> (Key, PipedTrack) {
        match self {
            Self::Track(pipe, announced) => (*pipe, announced.track),
            Self::Channel(pipe, announced) => (*pipe, announced.track),
        }
    }

    fn id(&self) -> &TrackId {
        match self {
            Self::Track(_, announced) => &announced.id,
            Self::Channel(_, announced) => &announced.id,
        }
    }
}

impl Engine {
    /// Opens an end of a pipe: the router's tracks are announced over it. None if the router is gone.
    pub fn open_pipe(&mut self, now: Instant, router: RouterId) -> Option<PipeId> {
        let (key, time) = (Key::from_u64(router.0), self.at(now));
        let router = self.routers.get_mut(key)?;
        let pipe = self.pipes.open(key);
        router.pipes.push(pipe);
        self.pipes.send(pipe, &mut self.counters, &Frame::Hello { time });
        for own in router.tracks.values() {
            if let Some(track) = self.tracks.get_mut(*own).filter(|track| track.is_home()) {
                track.announce(now, *own, &mut self.pipes, &mut self.counters, pipe);
            }
        }
        let channels: Vec<_> = router.data.values().copied().collect();
        channels.into_iter().for_each(|channel| self.announce_channel_over(pipe, channel));
        Some(PipeId(pipe.to_u64()))
    }

    /// Closes an end of a pipe: the tracks that came out of it end here.
    pub fn close_pipe(&mut self, now: Instant, pipe: PipeId) {
        self.remove_pipe(now, Key::from_u64(pipe.0));
    }

    /// Takes whole frames that came out of a pipe, up to where enough was taken in: how many bytes that were comes back. Unless they
    /// are all, forward and call again with the rest. Frames that make no sense are dropped and counted.
    pub fn handle_pipe(&mut self, now: Instant, pipe: PipeId, batch: &[u8]) -> usize {
        let (key, mut frames) = (Key::from_u64(pipe.0), Frames::new(batch));
        while !self.is_full()
            && let Some(frame) = frames.next()
        {
            let taken = frame.map_err(|_| DropReason::PipeFrame).and_then(|frame| self.take_frame(now, key, frame));
            if let Err(reason) = taken {
                self.counters.drop(reason);
            }
        }
        batch.len() - frames.left()
    }

    /// The next pipe that has something for its carrier. To be drained after everything that was handed in.
    pub fn poll_pipe(&mut self) -> Option<PipeId> {
        while let Some(track) = self.wishes.pop_first() {
            if let Some(track) = self.tracks.get_mut(track) {
                track.tell_wanted(&mut self.pipes, &mut self.counters);
            }
        }
        self.pipes.pop_ready().map(|key| PipeId(key.to_u64()))
    }

    /// What waits for a pipe's carrier: whole frames, to be taken away together. None if the pipe is gone.
    pub fn pipe_bytes(&mut self, pipe: PipeId) -> Option<&mut Vec<u8>> {
        self.pipes.bytes(Key::from_u64(pipe.0))
    }

    /// Whether so little was taken away that there was no room for what the other end must know. Nothing good comes of it any more.
    pub fn is_pipe_broken(&self, pipe: PipeId) -> bool {
        self.pipes.is_broken(Key::from_u64(pipe.0))
    }

    fn take_frame(&mut self, now: Instant, key: Key, frame: Frame<'_>) -> Result<(), DropReason> {
        let at = self.at(now);
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        if let Frame::Hello { time } = frame {
            pipe.greet(at, time);
            self.end_piped(now, key);
            return Ok(());
        }
        if !pipe.is_greeted() {
            return Err(DropReason::PipeFrame);
        }
        let Some(frame) = self.take_channel_frame(now, key, frame)? else { return Ok(()) };
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        match frame {
            Frame::Hello { .. } => Ok(()),
            Frame::Announced(announced) => self.take_announced(now, key, announced),
            Frame::Gone { track } => self.take_gone(now, key, track),
            Frame::Wanted { track, encodings } => {
                let own = owned(pipe, track)?;
                self.with_track(now, own, |track, onward| track.take_wanted(onward, key, encodings))?;
                self.hurry(own);
                Ok(())
            }
            Frame::KeyFrames { track, encodings } => {
                let own = owned(pipe, track)?;
                self.with_track(now, own, |track, _| track.want_keys(encodings))?;
                self.hurry(own);
                Ok(())
            }
            Frame::Missing { track, origin, first, more } => {
                let own = owned(pipe, track)?;
                self.with_track(now, own, |track, onward| track.pipe_again(onward, key, origin, first, more))
            }
            media => self.take_media(now, key, media),
        }
    }

    /// What a track of the other end's sends.
    fn take_media(&mut self, now: Instant, key: Key, frame: Frame<'_>) -> Result<(), DropReason> {
        let at = self.at(now);
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        match frame {
            Frame::Packet(piped) => {
                let theirs = told(pipe, piped.track)?;
                self.counters.piped_delay += pipe.delay(at, piped.arrival);
                self.receive_piped(now, key, theirs, &piped)
            }
            Frame::Report { track, origin, info } => {
                let theirs = told(pipe, track)?;
                self.with_track(now, theirs, |track, onward| track.receive_piped_report(onward, origin, info))?
            }
            Frame::Muted { track, muted } => {
                let theirs = told(pipe, track)?;
                self.with_track(now, theirs, |track, _| track.set_muted(muted))?;
                self.stirred.insert(theirs);
                self.hurry(theirs);
                if muted {
                    self.withdraw_track(theirs);
                }
                Ok(())
            }
            Frame::Rates { track, rates } => {
                let theirs = told(pipe, track)?;
                self.with_track(now, theirs, |track, _| {
                    track.take_rates(rates);
                    track.aim(now);
                })?;
                self.stirred.insert(theirs);
                self.hurry(theirs);
                Ok(())
            }
            _ => Err(DropReason::PipeFrame),
        }
    }

    fn receive_piped(
        &mut self,
        now: Instant,
        pipe: Key,
        key: Key,
        piped: &crate::pipe::Piped<'_>,
    ) -> Result<(), DropReason> {
        let (tracks, mut onward) = self.split(now);
        let track = tracks.get_mut(key).ok_or(DropReason::PipeTrack)?;
        let before = track.next_timeout(now);
        track.receive_piped(&mut onward, piped)?;
        let (after, pending) = (track.next_timeout(now), track.has_pending());
        if let Some(due) = after.filter(|_| after != before)
            && let Some(pipe) = onward.pipes.get_mut(pipe)
        {
            pipe.hurry(due);
        }
        if pending {
            self.wait_for_forward(key, piped.packet.len());
        }
        Ok(())
    }

    fn with_track<T>(
        &mut self,
        now: Instant,
        key: Key,
        then: impl FnOnce(&mut Track, &mut crate::track::Onward<'_>) -> T,
    ) -> Result<T, DropReason> {
        let (tracks, mut onward) = self.split(now);
        let track = tracks.get_mut(key).ok_or(DropReason::PipeTrack)?;
        Ok(then(track, &mut onward))
    }

    // Tracks of others.

    fn take_announced(&mut self, now: Instant, key: Key, announced: Announced<'_>) -> Result<(), DropReason> {
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        if pipe.theirs.contains_key(&announced.track) {
            return Err(DropReason::PipeFrame);
        }
        if pipe.theirs.len() >= MAX_TRACKS {
            return Err(DropReason::PipeTrack);
        }
        let router_key = pipe.router;
        if !self.make_way(now, router_key, &announced.id) {
            let router = self.routers.get_mut(router_key).ok_or(DropReason::PipeTrack)?;
            return router.defer(Deferred::Track(key, announced.into_owned()));
        }
        self.install(now, key, router_key, &announced);
        Ok(())
    }

    /// Makes a name free for something new: what another engine announced under it ends here. False if something of ours has it: its
    /// publisher goes over to the other engine, and the end of it here is still on its way.
    pub(super) fn make_way(&mut self, now: Instant, router: Key, id: &TrackId) -> bool {
        let Some(router) = self.routers.get(router) else { return false };
        let (track, channel) = (router.tracks.get(id).copied(), router.data.get(id).copied());
        let home = |track: Key| self.tracks.get(track).is_some_and(Track::is_home);
        let home_channel = |channel: Key| self.channels.get(channel).is_some_and(DataPublisher::is_home);
        if track.is_some_and(home) || channel.is_some_and(home_channel) {
            return false;
        }
        track.into_iter().for_each(|track| self.end_remote(now, track));
        channel.into_iter().for_each(|channel| self.end_piped_channel(now, channel));
        true
    }

    fn install(&mut self, now: Instant, pipe_key: Key, router_key: Key, announced: &Announced<'_>) {
        let Some(pipe) = self.pipes.get_mut(pipe_key) else { return };
        let feed = Feed::Pipe(pipe_key, announced.track);
        let key = self.tracks.insert_with(|_| Track::announced(now, router_key, feed, announced));
        pipe.theirs.insert(announced.track, key);
        let Some(router) = self.routers.get_mut(router_key) else { return };
        router.tracks.insert(announced.id.clone(), key);
        for (transport, wanted) in router.take_awaited(now, &announced.id) {
            self.subscribe(now, transport_id(transport), wanted);
        }
    }

    fn take_gone(&mut self, now: Instant, key: Key, track: PipedTrack) -> Result<(), DropReason> {
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        if let Some(theirs) = pipe.theirs.get(&track).copied() {
            self.end_remote(now, theirs);
        } else if let Some(router) = self.routers.get_mut(pipe.router) {
            router.deferred.retain(|_, deferred| deferred.place() != (key, track));
        }
        Ok(())
    }

    /// A track of another engine is over here. Whoever is sent it goes on with one of its name that follows soon, unless told otherwise.
    pub(super) fn end_remote(&mut self, now: Instant, key: Key) {
        let Some(track) = self.tracks.get(key) else { return };
        let Feed::Pipe(pipe, number) = track.feed else { return };
        if let Some(pipe) = self.pipes.get_mut(pipe) {
            pipe.theirs.remove(&number);
        }
        let router = track.router;
        let awaited = self.viewers_of(key);
        self.remove_track(now, key);
        for (transport, wanted) in awaited {
            if let Some(router) = self.routers.get_mut(router) {
                router.await_track(now, transport, wanted);
            }
        }
    }

    /// A track of ours is over; perhaps another engine has announced one of its name.
    pub(super) fn install_deferred(&mut self, now: Instant, router_key: Key, id: &TrackId) {
        let Some(deferred) = self.routers.get_mut(router_key).and_then(|router| router.deferred.remove(id)) else {
            return;
        };
        match deferred {
            Deferred::Track(pipe, announced) => self.install(now, pipe, router_key, &announced),
            Deferred::Channel(pipe, announced) => self.install_channel(now, pipe, announced),
        }
    }

    /// A track of ours has begun.
    pub(super) fn announce(&mut self, now: Instant, router: Key, key: Key) {
        let (Some(router), Some(track)) = (self.routers.get(router), self.tracks.get_mut(key)) else { return };
        for pipe in &router.pipes {
            track.announce(now, key, &mut self.pipes, &mut self.counters, *pipe);
        }
    }

    // Ends.

    pub(super) fn remove_pipe(&mut self, now: Instant, key: Key) {
        self.end_piped(now, key);
        let Some(pipe) = self.pipes.close(key) else { return };
        self.forget_pipe_of_channels(key, pipe.own_channels.into_iter());
        for own in pipe.own.values() {
            if let Some(track) = self.tracks.get_mut(*own) {
                track.forget_pipe(key);
            }
        }
        if let Some(router) = self.routers.get_mut(pipe.router) {
            router.pipes.retain(|own| *own != key);
            router.deferred.retain(|_, deferred| deferred.place().0 != key);
        }
    }

    /// All tracks that came over a pipe are over.
    fn end_piped(&mut self, now: Instant, key: Key) {
        self.end_piped_channels(now, key);
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        let theirs: Vec<_> = pipe.theirs.values().copied().collect();
        theirs.into_iter().for_each(|track| self.end_remote(now, track));
    }

    /// What is due of the tracks that came over pipes.
    pub(super) fn handle_pipes_timeout(&mut self, now: Instant) {
        while let Some(key) = self.pipes.pop_due(now) {
            let Some(theirs) = self.pipes.get_mut(key).map(|pipe| std::mem::take(&mut pipe.theirs)) else { continue };
            let mut next: Option<Instant> = None;
            for track in theirs.values() {
                let Some(track) = self.tracks.get_mut(*track) else { continue };
                track.tell_wanted(&mut self.pipes, &mut self.counters);
                track.tell_needs(now, &mut self.pipes, &mut self.counters);
                next = next.into_iter().chain(track.next_timeout(now)).min();
            }
            if let Some(pipe) = self.pipes.get_mut(key) {
                pipe.theirs = theirs;
                pipe.due = next;
            }
        }
    }
}

impl Router {
    /// A track that may come soon is wanted.
    pub(super) fn await_track(&mut self, now: Instant, transport: Key, wanted: Subscription) {
        self.awaited.retain(|own| own.until > now && (own.transport, &own.wanted.track) != (transport, &wanted.track));
        if !self.pipes.is_empty() && self.awaited.len() < MAX_AWAITED {
            self.awaited.push(Awaited { transport, wanted, until: now + AWAIT });
        }
    }

    /// A track that may come soon is wanted no more.
    pub(super) fn await_no_more(&mut self, transport: Key, track: &TrackId) {
        self.awaited.retain(|own| (own.transport, &own.wanted.track) != (transport, track));
    }

    pub(super) fn forget_awaited_of(&mut self, transport: Key) {
        self.awaited.retain(|own| own.transport != transport);
    }

    /// A track that may come soon is wanted with other limits.
    pub(super) fn await_within(&mut self, transport: Key, track: &TrackId, limits: Limits) {
        let own = self.awaited.iter_mut().find(|own| (own.transport, &own.wanted.track) == (transport, track));
        if let Some(own) = own {
            own.wanted.limits = limits;
        }
    }

    /// Which viewers wait for a track that has come, and how each wants it.
    pub(super) fn take_awaited(&mut self, now: Instant, track: &TrackId) -> Vec<(Key, Subscription)> {
        let awaited = self.awaited.extract_if(.., |own| own.wanted.track == *track).filter(|own| own.until > now);
        awaited.map(|own| (own.transport, own.wanted)).collect()
    }

    pub(super) fn defer(&mut self, deferred: Deferred) -> Result<(), DropReason> {
        if self.deferred.len() >= MAX_DEFERRED {
            return Err(DropReason::PipeTrack);
        }
        self.deferred.insert(deferred.id().clone(), deferred);
        Ok(())
    }
}

fn owned(pipe: &Pipe, track: PipedTrack) -> Result<Key, DropReason> {
    pipe.own.get(&track).copied().ok_or(DropReason::PipeTrack)
}

fn told(pipe: &Pipe, track: PipedTrack) -> Result<Key, DropReason> {
    pipe.theirs.get(&track).copied().ok_or(DropReason::PipeTrack)
}

/// Tracks of the other end's on one pipe: a room of a thousand with sound, picture and screen.
const MAX_TRACKS: usize = 4096;
/// How much later than the command to send it a track may be announced.
const AWAIT: Duration = Duration::from_secs(5);
const MAX_AWAITED: usize = 16_384;
const MAX_DEFERRED: usize = 1024;
