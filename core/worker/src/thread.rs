//! The media thread: wait, read, let the engine act, write.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use lockgate_media::{Counters, Engine, Event, RouterId};
use mio::{Events, Poll, Token};

use crate::command::{Command, Inbox, Reply};
use crate::events::{Owner, Told};
use crate::pipes::Pipes;
use crate::recorder::{self, RecorderLink};
use crate::sockets::{BATCH, Sockets};
use crate::vitals::{BEAT, Pulse};

/// What a thread shows of itself, and its ways to the others.
pub(crate) struct Own {
    pub(crate) number: u32,
    pub(crate) pipes: Pipes,
    pub(crate) pulse: Pulse,
}

/// Everything that one media thread owns.
pub(crate) struct Worker {
    poll: Poll,
    engine: Engine,
    sockets: Sockets,
    inbox: Inbox,
    routers: HashMap<RouterId, Owner>,
    own: Own,
    recorder: Option<RecorderLink>,
    buffer: Vec<u8>,
    unsent: u64,
}

impl Worker {
    pub(crate) fn new(poll: Poll, engine: Engine, sockets: Sockets, inbox: Inbox, own: Own) -> Self {
        let (routers, buffer) = (HashMap::new(), vec![0; MAX_DATAGRAM]);
        Self { poll, engine, sockets, inbox, routers, own, recorder: None, buffer, unsent: 0 }
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
            self.own.pulse.wakes(now);
            if !self.obey(now) {
                self.own.pulse.stops();
                return self.drain();
            }
            self.receive_piped(now);
            self.receive(now);
            self.engine.handle_timeout(now);
            self.hand_over(now);
            self.engine.make_offers(now);
            self.drain();
            self.tell();
            self.hand_over(now);
            self.write_recording();
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        self.own.pulse.sleeps(now);
        let idle = || self.engine.next_timeout().map_or(BEAT, |due| due.saturating_duration_since(now).min(BEAT));
        let timeout = Some(if self.sockets.any_readable() { Duration::ZERO } else { idle() });
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
            Command::OpenPipe(router, end) => self.own.pipes.open(now, engine, router, end),
            Command::ClosePipe(pipe) => self.own.pipes.close(now, engine, pipe),
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
            #[cfg(test)]
            Command::Fail(failure) => failure.happen(),
        }
    }

    fn create_router(&mut self, owner: Owner, reply: Reply<RouterId>) {
        let router = self.engine.create_router();
        if reply.send(router).is_ok() {
            self.routers.insert(router, owner);
        } else {
            self.engine.close_router(Instant::now(), router);
        }
    }

    fn close_router(&mut self, now: Instant, router: RouterId) {
        self.engine.close_router(now, router);
        self.own.pipes.forget(router);
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
        // The others begin with it while it is sent from here.
        self.hand_over(now);
        self.forward(now);
    }

    /// Takes in what the other workers piped here.
    fn receive_piped(&mut self, now: Instant) {
        self.own.pipes.look();
        while let Some(batch) = self.own.pipes.next_batch(now, &mut self.engine) {
            let mut rest = &batch.frames[..];
            while !rest.is_empty() {
                let taken = self.engine.handle_pipe(now, batch.pipe, rest);
                rest = &rest[taken..];
                if self.engine.is_full() {
                    self.forward(now);
                }
            }
            self.own.pipes.done(&mut self.engine, batch);
        }
    }

    /// Hands over to the other workers what is for them.
    fn hand_over(&mut self, now: Instant) {
        if let Some(router) = self.own.pipes.hand_over(&mut self.engine) {
            tracing::error!(
                worker = self.own.number,
                "a pipe to another media worker is full; a room loses what is here of it"
            );
            if let Some(owner) = self.routers.get(&router) {
                owner.tell(Told::Lost(self.own.number));
            }
            self.close_router(now, router);
        }
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
            if !owner.tell(Told::Event(self.own.number, event)) {
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
