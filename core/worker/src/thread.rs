//! The media thread: wait, read, let the engine act, write.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use lockgate_media::{Counters, Engine, Event, RouterEvent, RouterId};
use mio::{Events, Poll, Token};
use tokio::sync::mpsc;

use crate::command::{Command, Inbox};
use crate::recorder::{self, RecorderLink};
use crate::sockets::{BATCH, Sockets};

/// Everything that one media thread owns.
pub(crate) struct Worker {
    poll: Poll,
    engine: Engine,
    sockets: Sockets,
    inbox: Inbox,
    routers: HashMap<RouterId, mpsc::Sender<RouterEvent>>,
    recorder: Option<RecorderLink>,
    buffer: Vec<u8>,
    unsent: u64,
}

impl Worker {
    pub(crate) fn new(poll: Poll, engine: Engine, sockets: Sockets, inbox: Inbox) -> Self {
        let (routers, buffer) = (HashMap::new(), vec![0; MAX_DATAGRAM]);
        Self { poll, engine, sockets, inbox, routers, recorder: None, buffer, unsent: 0 }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "the media thread cannot wait for packets and ends");
                return;
            }
            let now = Instant::now();
            if !self.obey(now) {
                return self.drain();
            }
            self.receive(now);
            self.engine.handle_timeout(now);
            self.engine.make_offers(now);
            self.drain();
            self.tell();
            self.write_recording();
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let idle = || self.engine.next_timeout().map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = if self.sockets.any_readable() { Some(Duration::ZERO) } else { idle() };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in events.iter() {
            match event.token() {
                recorder::TOKEN => self.read_recorder(),
                WAKER => {}
                token => self.sockets.set_readable(token),
            }
        }
        Ok(())
    }

    /// Carries out what waits. False: stop.
    fn obey(&mut self, now: Instant) -> bool {
        while let Some(command) = self.inbox.next() {
            if matches!(command, Command::Stop) {
                self.close_all(now);
                return false;
            }
            self.carry_out(now, command);
        }
        true
    }

    fn carry_out(&mut self, now: Instant, command: Command) {
        let engine = &mut self.engine;
        // Of a reply nobody waits for, nothing is lost.
        match command {
            Command::CreateRouter(events, reply) => self.create_router(events, reply),
            Command::CloseRouter(router) => self.close_router(now, router),
            Command::CreatePublish(router, reply) => drop(reply.send(engine.create_publish_transport(now, router))),
            Command::CreateSubscribe(router, reply) => drop(reply.send(engine.create_subscribe_transport(now, router))),
            Command::CloseTransport(transport) => engine.close_transport(now, transport),
            Command::AcceptOffer(transport, offer, admitted, reply) => {
                drop(reply.send(engine.accept_offer(now, transport, &offer, &admitted)));
            }
            Command::Unpublish(transport, track, reply) => {
                engine.unpublish(now, transport, &track);
                let _ = reply.send(());
            }
            Command::Subscribe(transport, subscription) => engine.subscribe(now, transport, subscription),
            Command::Unsubscribe(transport, track, cause) => engine.unsubscribe(transport, &track, cause),
            Command::SetLimits(transport, track, limits) => engine.set_limits(now, transport, &track, limits),
            Command::AcceptAnswer(transport, offer, answer, reply) => {
                drop(reply.send(engine.accept_answer(now, transport, offer, &answer)));
            }
            Command::RestartIce(transport, cause) => engine.restart_ice(transport, cause),
            Command::SetMuted(router, track, muted) => engine.set_muted(router, &track, muted),
            Command::Record(router, track, number) => engine.record(now, router, &track, number),
            Command::RecordNoMore(router, track) => engine.record_no_more(now, router, &track),
            Command::RequestKeyFrame(router, track) => engine.request_key_frame(now, router, &track),
            Command::AttachRecorder(stream) => self.attach_recorder(stream),
            Command::Stats(reply) => drop(reply.send(self.counters())),
            Command::Stop => {}
        }
    }

    fn create_router(&mut self, events: mpsc::Sender<RouterEvent>, reply: tokio::sync::oneshot::Sender<RouterId>) {
        let router = self.engine.create_router();
        if reply.send(router).is_ok() {
            self.routers.insert(router, events);
        } else {
            self.engine.close_router(Instant::now(), router);
        }
    }

    fn close_router(&mut self, now: Instant, router: RouterId) {
        self.engine.close_router(now, router);
        self.routers.remove(&router);
    }

    fn close_all(&mut self, now: Instant) {
        let routers: Vec<_> = self.routers.keys().copied().collect();
        routers.into_iter().for_each(|router| self.close_router(now, router));
        self.write_recording();
    }

    fn receive(&mut self, now: Instant) {
        for index in 0..self.sockets.len() {
            for _ in 0..BATCH {
                let Some((path, length)) = self.sockets.receive(index, &mut self.buffer) else { break };
                self.engine.handle_datagram(now, path, &mut self.buffer[..length]);
                if self.engine.is_full() {
                    self.forward(now);
                }
            }
        }
        self.forward(now);
    }

    /// Hands on what came, and sends it.
    fn forward(&mut self, now: Instant) {
        while self.engine.forward(now) {
            self.send_media();
        }
        self.send_media();
    }

    /// Sends everything that the engine has ready.
    fn drain(&mut self) {
        self.send_media();
        while let Some((path, datagram)) = self.engine.poll_transmit() {
            self.unsent += u64::from(!self.sockets.send(path, &datagram));
        }
    }

    fn send_media(&mut self) {
        let egress = self.engine.egress();
        let datagrams = egress.runs().flat_map(|run| run.bytes.chunks(run.segment).map(move |one| (run.path, one)));
        let refused = datagrams.filter(|(path, datagram)| !self.sockets.send(*path, datagram)).count();
        self.unsent += refused as u64;
        egress.clear();
    }

    /// Hands events to the owners of their routers. An owner that does not keep up loses its router: it would go on with wrong ideas.
    fn tell(&mut self) {
        while let Some(Event { router, event }) = self.engine.poll_event() {
            let Some(owner) = self.routers.get(&router) else { continue };
            if let Err(error) = owner.try_send(event) {
                if matches!(error, mpsc::error::TrySendError::Full(_)) {
                    tracing::error!("a room does not keep up with its media events and is closed");
                }
                self.close_router(Instant::now(), router);
            }
        }
    }

    fn attach_recorder(&mut self, stream: std::os::unix::net::UnixStream) {
        self.detach_recorder();
        match RecorderLink::new(stream, self.poll.registry()) {
            Ok(link) => self.recorder = Some(link),
            Err(error) => tracing::warn!(%error, "the recorder's data connection cannot be used"),
        }
    }

    fn detach_recorder(&mut self) {
        if let Some(link) = self.recorder.take() {
            link.detach(self.poll.registry());
        }
        // What nobody reads is not for the next one, which is told everything anew.
        self.engine.recorder_bytes().clear();
    }

    fn read_recorder(&mut self) {
        if let Some(Err(error)) = self.recorder.as_mut().map(RecorderLink::read) {
            tracing::debug!(%error, "the recorder's data connection ended");
            self.detach_recorder();
        }
    }

    fn write_recording(&mut self) {
        let waiting = self.engine.recorder_bytes();
        match &mut self.recorder {
            Some(link) => {
                if let Err(error) = link.write(waiting) {
                    tracing::debug!(%error, "the recorder's data connection ended");
                    self.detach_recorder();
                }
            }
            None => waiting.clear(),
        }
    }

    fn counters(&self) -> Counters {
        Counters { unsent: self.unsent, ..self.engine.counters() }
    }
}

/// The waker's token.
pub(crate) const WAKER: Token = Token((1 << 20) + 1);
/// A UDP datagram is no longer.
const MAX_DATAGRAM: usize = 65_536;
