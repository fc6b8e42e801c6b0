//! Data channels of a room that is spread over engines: they are announced over pipes, and sent where somebody wants them.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;
use lockgate_model::{ChannelLoss, TrackId};
use lockgate_transport::data::{MAX_MESSAGE, Message, Reliability};

use super::pipes::Deferred;
use super::{Engine, Subscription, transport_id};
use crate::arena::Key;
use crate::data::{DataFeed, DataPublisher, DataSubscriber, Last, ToldOfData};
use crate::pipe::{AnnouncedChannel, Encodings, Frame, PipedMessage, PipedTrack, TheirChannel};
use crate::stats::DropReason;

impl Engine {
    /// A channel of ours can be had.
    pub(super) fn announce_channel(&mut self, router: Key, key: Key) {
        let pipes = self.routers.get(router).map(|router| router.pipes.clone()).unwrap_or_default();
        pipes.into_iter().for_each(|pipe| self.announce_channel_over(pipe, key));
    }

    pub(super) fn announce_channel_over(&mut self, pipe_key: Key, key: Key) {
        let Some(channel) = self.channels.get_mut(key).filter(|channel| channel.is_home()) else { return };
        let Some(pipe) = self.pipes.get_mut(pipe_key) else { return };
        let number = pipe.allot_channel(key);
        channel.told.push(ToldOfData { pipe: pipe_key, number, wanted: false });
        let announced = AnnouncedChannel {
            track: number,
            id: channel.id.clone(),
            channel: Cow::Borrowed(&channel.channel),
            muted: channel.muted,
        };
        self.pipes.send(pipe_key, &mut self.counters, &Frame::Channel(announced));
    }

    pub(super) fn tell_channel_gone(&mut self, gone: &DataPublisher, last: Last) {
        for told in &gone.told {
            if let Some(pipe) = self.pipes.get_mut(told.pipe) {
                pipe.own_channels.remove(&told.number);
            }
            let track = told.number;
            let frame = if last == Last::Delivered { Frame::Closed { track } } else { Frame::Gone { track } };
            self.pipes.send(told.pipe, &mut self.counters, &frame);
        }
        if let DataFeed::Pipe(pipe, number) = gone.feed
            && let Some(pipe) = self.pipes.get_mut(pipe)
        {
            pipe.their_channels.remove(&number);
        }
    }

    /// Tells the engine where a channel comes from whether anybody here wants it.
    pub(super) fn want_channel(&mut self, key: Key) {
        let Some(channel) = self.channels.get(key) else { return };
        let DataFeed::Pipe(pipe_key, track) = channel.feed else { return };
        let wanted = !channel.subscribers.is_empty();
        let Some(their) = self.pipes.get_mut(pipe_key).and_then(|pipe| pipe.their_channels.get_mut(&track)) else {
            return;
        };
        if std::mem::replace(&mut their.wanted, wanted) != wanted {
            let encodings = Encodings(u8::from(wanted));
            self.pipes.send(pipe_key, &mut self.counters, &Frame::Wanted { track, encodings });
        }
    }

    /// Sends a message to the engines whose viewers want it. One that is behind loses it; of a reliable channel nothing may be left
    /// out, so that it ends there, and can be had anew.
    pub(super) fn pipe_message(&mut self, key: Key, message: &Message) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let mut ended = Vec::new();
        for told in channel.told.iter().filter(|told| told.wanted) {
            if self.pipes.has_room(told.pipe) {
                for piped in PipedMessage::parts(told.number, message) {
                    self.pipes.send(told.pipe, &mut self.counters, &Frame::Message(piped));
                }
                continue;
            }
            self.counters.drop(DropReason::PipeOverflow);
            if channel.channel.reliability == Reliability::Reliable {
                ended.push((told.pipe, told.number));
            }
        }
        channel.told.retain(|told| !ended.contains(&(told.pipe, told.number)));
        for (pipe_key, track) in ended {
            if let Some(pipe) = self.pipes.get_mut(pipe_key) {
                pipe.own_channels.remove(&track);
            }
            self.pipes.send(pipe_key, &mut self.counters, &Frame::Behind { track });
            self.announce_channel_over(pipe_key, key);
        }
    }

    pub(super) fn tell_channel_muted(&mut self, key: Key) {
        let Some(channel) = self.channels.get(key) else { return };
        for told in &channel.told {
            let frame = Frame::Muted { track: told.number, muted: channel.muted };
            self.pipes.send(told.pipe, &mut self.counters, &frame);
        }
    }

    // What comes over pipes.

    /// A frame about a channel; it comes back if it is about something else.
    pub(super) fn take_channel_frame<'a>(
        &mut self,
        now: Instant,
        key: Key,
        frame: Frame<'a>,
    ) -> Result<Option<Frame<'a>>, DropReason> {
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        match frame {
            Frame::Channel(announced) => self.take_channel(now, key, announced)?,
            Frame::Message(piped) => self.take_piped_message(now, key, &piped)?,
            Frame::Wanted { track, encodings } if pipe.own_channels.contains_key(&track) => {
                let channel = pipe.own_channels.get(&track).and_then(|channel| self.channels.get_mut(*channel));
                let told = channel.and_then(|channel| channel.told.iter_mut().find(|told| told.pipe == key));
                told.ok_or(DropReason::PipeTrack)?.wanted = !encodings.is_empty();
            }
            Frame::Muted { track, muted } if pipe.their_channels.contains_key(&track) => {
                if let Some(channel) = pipe.their_channels.get(&track).map(|their| their.channel) {
                    self.mute_channel(channel, muted);
                }
            }
            Frame::Gone { track } if pipe.their_channels.contains_key(&track) => {
                if let Some(channel) = pipe.their_channels.get(&track).map(|their| their.channel) {
                    self.end_channel(now, channel, Last::Discarded);
                }
            }
            Frame::Closed { track } | Frame::Behind { track } => {
                // It may have been kept for later.
                let Some(their) = pipe.their_channels.get(&track) else { return Ok(Some(Frame::Gone { track })) };
                let channel = their.channel;
                if matches!(frame, Frame::Behind { .. }) {
                    self.tell_all_behind(channel);
                }
                self.end_channel(now, channel, Last::Delivered);
            }
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// Its viewers lose a channel without having asked for that, and may have it anew.
    fn tell_all_behind(&mut self, channel: Key) {
        let viewers = self.channels.get(channel).map(|channel| channel.subscribers.keys().copied().collect::<Vec<_>>());
        for viewer in viewers.into_iter().flatten() {
            self.tell_channel_lost(viewer, channel, ChannelLoss::Behind);
        }
    }

    fn take_channel(&mut self, now: Instant, key: Key, announced: AnnouncedChannel<'_>) -> Result<(), DropReason> {
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        if pipe.their_channels.contains_key(&announced.track) || pipe.their_channels.len() >= MAX_CHANNELS {
            return Err(DropReason::PipeTrack);
        }
        let router = pipe.router;
        if !self.make_way(now, router, &announced.id) {
            let router = self.routers.get_mut(router).ok_or(DropReason::PipeTrack)?;
            return router.defer(Deferred::Channel(key, announced.into_owned()));
        }
        self.install_channel(now, key, announced);
        Ok(())
    }

    pub(super) fn install_channel(&mut self, now: Instant, key: Key, announced: AnnouncedChannel<'_>) {
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        let router_key = pipe.router;
        let Some(router) = self.routers.get_mut(router_key) else { return };
        let AnnouncedChannel { track, id, channel, muted } = announced;
        let feed = DataFeed::Pipe(key, track);
        let channel = DataPublisher::new(id.clone(), router_key, feed, channel.into_owned(), muted);
        let channel = self.channels.insert_with(|_| channel);
        router.data.insert(id.clone(), channel);
        pipe.their_channels.insert(track, TheirChannel::new(channel));
        self.take_awaited_channel(now, router_key, &id);
    }

    /// Whoever waited for a channel of this name gets it.
    pub(super) fn take_awaited_channel(&mut self, now: Instant, router: Key, id: &TrackId) {
        let Some(router) = self.routers.get_mut(router) else { return };
        for (transport, wanted) in router.take_awaited(now, id) {
            self.subscribe(now, transport_id(transport), wanted);
        }
    }

    fn take_piped_message(&mut self, now: Instant, key: Key, piped: &PipedMessage<'_>) -> Result<(), DropReason> {
        let pipe = self.pipes.get_mut(key).ok_or(DropReason::PipeTrack)?;
        let their = pipe.their_channels.get_mut(&piped.track).ok_or(DropReason::PipeTrack)?;
        if piped.first {
            their.partial.clear();
        }
        if their.partial.len() + piped.bytes.len() > MAX_MESSAGE {
            return Err(DropReason::PipeFrame);
        }
        their.partial.extend_from_slice(piped.bytes);
        if piped.last {
            let (channel, bytes) = (their.channel, Bytes::from(std::mem::take(&mut their.partial)));
            self.forward_message(now, channel, Message { text: piped.text, bytes });
        }
        Ok(())
    }

    /// Everything that came over a pipe is over.
    pub(super) fn end_piped_channels(&mut self, now: Instant, key: Key) {
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        let channels: Vec<_> = pipe.their_channels.values().map(|their| their.channel).collect();
        channels.into_iter().for_each(|channel| self.end_piped_channel(now, channel));
    }

    /// A channel of another engine is over here. Its viewers go on with one of its name that follows soon, unless told otherwise.
    pub(super) fn end_piped_channel(&mut self, now: Instant, key: Key) {
        let Some(channel) = self.channels.get(key) else { return };
        let (router, id) = (channel.router, channel.id.clone());
        let waiting = channel.subscribers.iter().map(|(viewer, own)| (*viewer, wanted(&id, own)));
        let waiting: Vec<_> = waiting.collect();
        self.end_channel(now, key, Last::Discarded);
        if let Some(router) = self.routers.get_mut(router) {
            waiting.into_iter().for_each(|(transport, wanted)| router.await_track(now, transport, wanted));
        }
    }

    /// A pipe is gone: what it was told of need not be known any more.
    pub(super) fn forget_pipe_of_channels(&mut self, key: Key, own: impl Iterator<Item = (PipedTrack, Key)>) {
        for (_, channel) in own {
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.told.retain(|told| told.pipe != key);
            }
        }
    }
}

fn wanted(id: &TrackId, own: &DataSubscriber) -> Subscription {
    Subscription { track: id.clone(), stream: own.stream_name.clone(), cause: own.cause, limits: own.limits }
}

/// Channels that the other end of a pipe may announce.
const MAX_CHANNELS: usize = 10_000;
