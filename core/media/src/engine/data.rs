//! Data channels: publishers' messages on their way to viewers.

use std::collections::BTreeSet;
use std::time::Instant;

use lockgate_model::{ChannelLoss, Limits, TrackId};
use lockgate_transport::data::{Channel, DataEvent, Message, Reliability, StreamId};

use super::{Engine, RouterEvent, Subscription, is_publish, transport_id};
use crate::arena::Key;
use crate::data::{DataFeed, DataPublisher, DataSubscriber, Last, Leaving, Queue, facts};
use crate::ids::{RouterId, TransportId};
use crate::stats::DropReason;
use crate::transport::{Role, Transport};

impl Engine {
    /// Forwards a channel that a publisher opened, under this name. False if it is gone, or the name is taken by another one of ours:
    /// then the channel is ended, which is told. One of another engine that has the name is about to end: it ends here.
    pub fn admit_channel(&mut self, now: Instant, transport: TransportId, stream: u16, id: &TrackId) -> bool {
        let (key, stream) = (Key::from_u64(transport.0), StreamId(stream));
        let Some(transport) = self.transports.get_mut(key) else { return false };
        let router = transport.router;
        let own = transport.publish_mut().and_then(|(publish, _)| publish.channels.get(&stream));
        if own.is_none_or(|own| own.published.is_some()) {
            return false;
        }
        if !self.make_way(now, router, id) {
            self.end_published(now, key, stream);
            self.tell(router, RouterEvent::ChannelClosed { transport: transport_id(key), stream: stream.0 });
            return false;
        }
        self.publish_channel(now, key, stream, id);
        true
    }

    fn publish_channel(&mut self, now: Instant, key: Key, stream: StreamId, id: &TrackId) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let router_key = transport.router;
        let own = transport.publish_mut().and_then(|(publish, _)| publish.channels.get_mut(&stream));
        let (Some(own), Some(router)) = (own, self.routers.get_mut(router_key)) else { return };
        let feed = DataFeed::Publisher(key, stream);
        let publisher = DataPublisher::new(id.clone(), router_key, feed, own.channel.clone(), false);
        let channel = self.channels.insert_with(|_| publisher);
        own.published = Some(channel);
        router.data.insert(id.clone(), channel);
        self.announce_channel(router_key, channel);
        self.take_awaited_channel(now, router_key, id);
    }

    /// Ends a channel that a publisher opened.
    pub fn refuse_channel(&mut self, now: Instant, transport: TransportId, stream: u16) {
        self.end_published(now, Key::from_u64(transport.0), StreamId(stream));
    }

    // What comes of connections.

    pub(super) fn take_data_events(&mut self, now: Instant, key: Key) {
        let mut any = false;
        while let Some(event) = self.transports.get_mut(key).and_then(|transport| transport.connection.poll_data()) {
            any = true;
            let publishes = self.transports.get(key).is_some_and(is_publish);
            match event {
                DataEvent::Established => {}
                DataEvent::Opened(stream, channel) if publishes => self.on_opened(now, key, stream, channel),
                // Viewers publish on a connection of their own.
                DataEvent::Opened(stream, _) => self.close_stream(now, key, stream),
                DataEvent::Message(stream, message) => self.on_message(now, key, stream, message),
                DataEvent::Closed(stream) if publishes => self.on_closed(now, key, stream),
                DataEvent::Closed(stream) => self.on_viewer_closed(key, stream),
            }
        }
        // Whatever came may have made room.
        let views = self.transports.get(key).is_some_and(|transport| !is_publish(transport));
        if views && (any || self.transports.get(key).is_some_and(|transport| transport.connection.data().is_some())) {
            self.flush_data(now, key);
        }
    }

    fn on_opened(&mut self, now: Instant, key: Key, stream: StreamId, channel: Channel) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let router = transport.router;
        let Some((publish, _)) = transport.publish_mut() else { return };
        if !publish.takes_data || !publish.openings.take(now) {
            self.counters.drop(DropReason::DataChannel);
            return self.close_stream(now, key, stream);
        }
        let opened = facts(&channel);
        publish.channels.insert(stream, crate::publish::PublishedChannel { channel, published: None });
        self.tell(
            router,
            RouterEvent::ChannelOpened { transport: transport_id(key), stream: stream.0, channel: opened },
        );
    }

    fn on_message(&mut self, now: Instant, key: Key, stream: StreamId, message: Message) {
        let publish = self.transports.get_mut(key).and_then(Transport::publish_mut);
        let published = publish.and_then(|(publish, _)| publish.channels.get(&stream)?.published);
        // Until policy has answered nobody can have asked for it.
        let Some(channel) = published else { return self.counters.drop(DropReason::DataUnusable) };
        self.counters.data_in += 1;
        self.counters.data_bytes_in += message.bytes.len() as u64;
        self.forward_message(now, channel, message);
    }

    /// A publisher ended one of its channels, or its association came to an end.
    fn on_closed(&mut self, now: Instant, key: Key, stream: StreamId) {
        let Some(router) = self.transports.get(key).map(|transport| transport.router) else { return };
        if self.forget_published(now, key, stream, Last::Delivered) {
            self.tell(router, RouterEvent::ChannelClosed { transport: transport_id(key), stream: stream.0 });
        }
    }

    /// A viewer ended our channel to it: it wants no more of that.
    fn on_viewer_closed(&mut self, key: Key, stream: StreamId) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let gone = subscribe.data.leaving.extract_if(.., |leaving| leaving.stream == stream);
        subscribe.data.waiting -= gone.map(|leaving| leaving.queue.bytes()).sum::<usize>();
        let ended = subscribe.data.channels.iter().copied().find(|channel| {
            let own = self.channels.get(*channel).and_then(|channel| channel.subscribers.get(&key));
            own.is_some_and(|own| own.stream == Some(stream))
        });
        if let Some(channel) = ended {
            self.drop_subscriber(key, channel);
            self.tell_channel_lost(key, channel, ChannelLoss::Closed);
        }
    }

    // Forwarding.

    /// Gives a message to everybody who is to have it.
    pub(super) fn forward_message(&mut self, now: Instant, key: Key, message: Message) {
        let most = self.config.data.buffer;
        let Some(channel) = self.channels.get_mut(key) else { return };
        if channel.muted {
            return self.counters.drop(DropReason::Muted);
        }
        let (reliability, counters) = (channel.channel.reliability, &mut self.counters);
        let (mut fed, mut behind) = (Vec::new(), Vec::new());
        for (viewer, own) in &mut channel.subscribers {
            if own.limits.paused {
                counters.drop(DropReason::Paused);
                continue;
            }
            let Some((subscribe, _)) = self.transports.get_mut(*viewer).and_then(Transport::subscribe_mut) else {
                continue;
            };
            let (before, room) = (own.queue.bytes(), (PER_VIEWER * most).saturating_sub(subscribe.data.waiting));
            let drop = |reason| counters.drop(reason);
            let pushed = own.queue.push(now, message.clone(), reliability, most, room, drop);
            subscribe.data.waiting = (subscribe.data.waiting + own.queue.bytes()).saturating_sub(before);
            if pushed.is_ok() { fed.push(*viewer) } else { behind.push(*viewer) }
        }
        self.pipe_message(key, &message);
        for viewer in behind {
            self.end_subscriber(now, viewer, key);
            self.tell_channel_lost(viewer, key, ChannelLoss::Behind);
        }
        fed.into_iter().for_each(|viewer| self.flush_data(now, viewer));
    }

    /// Sends what waits for a viewer, as far as its connection has room: a message of each channel at a time.
    pub(super) fn flush_data(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Role::Subscribe(subscribe) = &mut transport.role else { return };
        let connection = &mut transport.connection;
        let crate::subscribe::Data { channels, leaving, waiting, .. } = &mut subscribe.data;
        let mut moved = true;
        while std::mem::take(&mut moved) {
            let leaving = leaving.iter_mut().map(|own| (own.stream, own.reliability, &mut own.queue));
            for (stream, reliability, queue) in leaving {
                moved |= send_next(now, connection, stream, queue, reliability, waiting, &mut self.counters);
            }
            for channel in &*channels {
                let Some(channel) = self.channels.get_mut(*channel) else { continue };
                let reliability = channel.channel.reliability;
                let own = channel.subscribers.get_mut(&key).and_then(|own| own.stream.zip(Some(&mut own.queue)));
                let Some((stream, queue)) = own else { continue };
                moved |= send_next(now, connection, stream, queue, reliability, waiting, &mut self.counters);
            }
        }
        for done in subscribe.data.leaving.extract_if(.., |leaving| leaving.queue.is_empty()) {
            connection.close_channel(now, done.stream);
        }
        self.touched.insert(key);
    }

    // Viewers.

    /// Sends a channel to a viewer.
    pub(super) fn subscribe_channel(&mut self, now: Instant, key: Key, channel_key: Key, wanted: Subscription) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let Some(channel) = self.channels.get_mut(channel_key) else { return };
        self.touched.insert(key);
        if let Some(own) = channel.subscribers.get_mut(&key) {
            own.limits = wanted.limits;
            return subscribe.change(wanted.cause);
        }
        if !subscribe.add_channel(channel_key, wanted.cause) {
            subscribe.change(wanted.cause);
            self.counters.drop(DropReason::NoLine);
            return self.tell_channel_lost(key, channel_key, ChannelLoss::Unable);
        }
        let Subscription { stream, cause, limits, .. } = wanted;
        let queue = Queue::default();
        let new = DataSubscriber { cause, stream_name: stream, limits, stream: None, queue };
        channel.subscribers.insert(key, new);
        self.want_channel(channel_key);
        self.open_channels(now, key);
    }

    /// Sends a channel to a viewer no more.
    pub(super) fn unsubscribe_channel(&mut self, now: Instant, key: Key, channel: Key, cause: u64) {
        self.end_subscriber(now, key, channel);
        if let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) {
            subscribe.change(cause);
        }
        self.touched.insert(key);
    }

    pub(super) fn limit_channel(&mut self, key: Key, channel: Key, limits: Limits) {
        if let Some(own) = self.channels.get_mut(channel).and_then(|channel| channel.subscribers.get_mut(&key)) {
            own.limits = limits;
            if limits.paused {
                let discarded = own.queue.clear();
                self.waits_less(key, discarded);
            }
        }
    }

    pub(super) fn mute_channel(&mut self, channel: Key, muted: bool) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        channel.muted = muted;
        if muted {
            let discarded: Vec<_> =
                channel.subscribers.iter_mut().map(|(viewer, own)| (*viewer, own.queue.clear())).collect();
            discarded.into_iter().for_each(|(viewer, bytes)| self.waits_less(viewer, bytes));
        }
    }

    /// Opens the channels to a viewer that are not open yet, if its connection has data channels.
    pub(super) fn open_channels(&mut self, now: Instant, key: Key) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        let Role::Subscribe(subscribe) = &transport.role else { return };
        if transport.connection.data().is_none() {
            return;
        }
        let mut failed = Vec::new();
        for channel_key in &subscribe.data.channels {
            let Some(channel) = self.channels.get_mut(*channel_key) else { continue };
            let towards = channel.towards_viewers();
            let Some(own) = channel.subscribers.get_mut(&key).filter(|own| own.stream.is_none()) else { continue };
            own.stream = transport.connection.open_channel(now, towards);
            if own.stream.is_none() {
                failed.push(*channel_key);
            }
        }
        for channel in failed {
            self.counters.drop(DropReason::NoLine);
            self.drop_subscriber(key, channel);
            self.tell_channel_lost(key, channel, ChannelLoss::Unable);
        }
        self.flush_data(now, key);
    }

    /// Takes a viewer of a channel out, and ends our channel to it at once.
    fn end_subscriber(&mut self, now: Instant, key: Key, channel: Key) {
        if let Some(stream) = self.drop_subscriber(key, channel).and_then(|own| own.stream) {
            self.close_stream(now, key, stream);
        }
    }

    fn drop_subscriber(&mut self, key: Key, channel_key: Key) -> Option<DataSubscriber> {
        if let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) {
            subscribe.data.channels.retain(|own| *own != channel_key);
        }
        let gone = self.channels.get_mut(channel_key)?.subscribers.remove(&key)?;
        self.waits_less(key, gone.queue.bytes());
        self.want_channel(channel_key);
        Some(gone)
    }

    pub(super) fn tell_channel_lost(&mut self, key: Key, channel: Key, loss: ChannelLoss) {
        let Some(router) = self.transports.get(key).map(|transport| transport.router) else { return };
        let Some(track) = self.channels.get(channel).map(|channel| channel.id.clone()) else { return };
        self.tell(router, RouterEvent::ChannelLost { transport: transport_id(key), track, loss });
    }

    /// Something that waited for a viewer was discarded.
    fn waits_less(&mut self, key: Key, bytes: usize) {
        if let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) {
            subscribe.data.waiting = subscribe.data.waiting.saturating_sub(bytes);
        }
    }

    fn close_stream(&mut self, now: Instant, key: Key, stream: StreamId) {
        if let Some(transport) = self.transports.get_mut(key) {
            transport.connection.close_channel(now, stream);
            self.touched.insert(key);
        }
    }

    // Ends.

    /// Ends a publisher's channel by its name. False: there is none of this name.
    pub(super) fn unpublish_channel(&mut self, now: Instant, key: Key, id: &TrackId) -> bool {
        let Some(router) = self.transports.get(key).and_then(|transport| self.routers.get(transport.router)) else {
            return false;
        };
        let feed = router.data.get(id).and_then(|channel| self.channels.get(*channel)).map(|channel| channel.feed);
        let Some(DataFeed::Publisher(_, stream)) =
            feed.filter(|feed| matches!(feed, DataFeed::Publisher(own, _) if *own == key))
        else {
            return false;
        };
        self.end_published(now, key, stream);
        true
    }

    /// A publisher's channels are over.
    pub(super) fn end_channels_of(&mut self, now: Instant, key: Key) {
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return };
        let streams: Vec<_> = publish.channels.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.end_published(now, key, stream));
    }

    /// A viewer waits no more for a channel that its publisher ended, and gets what was said on it last.
    pub fn expect_no_more(&mut self, transport: TransportId, track: &TrackId) {
        let key = Key::from_u64(transport.0);
        let router = self.transports.get(key).map(|transport| transport.router);
        if let Some(router) = router.and_then(|router| self.routers.get_mut(router)) {
            router.await_no_more(key, track);
        }
    }

    /// What was said last on channels that their publishers ended is not for this viewer any more: on those that it had by this cause, and
    /// of these names; none: on all.
    pub fn discard_last(
        &mut self,
        now: Instant,
        transport: TransportId,
        cause: Option<u64>,
        tracks: Option<&BTreeSet<TrackId>>,
    ) {
        let key = Key::from_u64(transport.0);
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let discarded = |own: &mut Leaving| {
            cause.is_none_or(|cause| own.cause == cause) && tracks.is_none_or(|tracks| tracks.contains(&own.id))
        };
        let gone: Vec<_> = subscribe.data.leaving.extract_if(.., discarded).collect();
        for Leaving { stream, queue, .. } in gone {
            self.waits_less(key, queue.bytes());
            self.close_stream(now, key, stream);
        }
    }

    /// A viewer is gone: it is sent nothing more.
    pub(super) fn end_data_of_viewer(&mut self, key: Key) {
        let Some((subscribe, _)) = self.transports.get_mut(key).and_then(Transport::subscribe_mut) else { return };
        let channels = std::mem::take(&mut subscribe.data.channels);
        for channel in channels {
            self.drop_subscriber(key, channel);
        }
    }

    fn end_published(&mut self, now: Instant, key: Key, stream: StreamId) {
        self.forget_published(now, key, stream, Last::Discarded);
        self.close_stream(now, key, stream);
    }

    /// Takes a publisher's channel out. False: it was not there.
    fn forget_published(&mut self, now: Instant, key: Key, stream: StreamId, last: Last) -> bool {
        let Some((publish, _)) = self.transports.get_mut(key).and_then(Transport::publish_mut) else { return false };
        let Some(gone) = publish.channels.remove(&stream) else { return false };
        if let Some(channel) = gone.published {
            self.end_channel(now, channel, last);
        }
        true
    }

    /// A channel is over for everybody.
    pub(super) fn end_channel(&mut self, now: Instant, channel_key: Key, last: Last) {
        let Some(gone) = self.channels.remove(channel_key) else { return };
        if let Some(router) = self.routers.get_mut(gone.router) {
            router.data.remove(&gone.id);
        }
        self.tell_channel_gone(&gone, last);
        let (home, reliability) = (gone.is_home(), gone.channel.reliability);
        for (viewer, own) in gone.subscribers {
            let Some((subscribe, _)) = self.transports.get_mut(viewer).and_then(Transport::subscribe_mut) else {
                continue;
            };
            subscribe.data.channels.retain(|channel| *channel != channel_key);
            subscribe.change(own.cause);
            self.touched.insert(viewer);
            match (own.stream, last) {
                (Some(stream), Last::Delivered) => {
                    let (id, cause, queue) = (gone.id.clone(), own.cause, own.queue);
                    subscribe.data.leaving.push(Leaving { id, cause, stream, reliability, queue });
                    self.flush_data(now, viewer);
                }
                (stream, _) => {
                    self.waits_less(viewer, own.queue.bytes());
                    stream.into_iter().for_each(|stream| self.close_stream(now, viewer, stream));
                }
            }
        }
        if home {
            self.install_deferred(now, gone.router, &gone.id);
        }
    }

    /// The channel of this name in a router.
    pub(super) fn find_channel(&self, router: RouterId, id: &TrackId) -> Option<Key> {
        self.routers.get(Key::from_u64(router.0))?.data.get(id).copied()
    }
}

/// How many times what may wait on one channel may wait for a viewer in all.
const PER_VIEWER: usize = 4;

/// Sends the next message of a queue, if the connection has room and its channel is open. False: nothing moved.
fn send_next(
    now: Instant,
    connection: &mut lockgate_transport::Connection,
    stream: StreamId,
    queue: &mut Queue,
    reliability: Reliability,
    waiting: &mut usize,
    counters: &mut crate::stats::Counters,
) -> bool {
    if !connection.data().is_some_and(|association| association.has_room() && association.is_open(stream)) {
        return false;
    }
    let before = queue.bytes();
    let next = queue.next(now, reliability, |reason| counters.drop(reason));
    *waiting = waiting.saturating_sub(before - queue.bytes());
    let Some(message) = next else { return false };
    let bytes = message.bytes.len() as u64;
    if connection.send_message(now, stream, message) {
        counters.data_out += 1;
        counters.data_bytes_out += bytes;
    } else {
        counters.drop(DropReason::TooLong);
    }
    true
}
