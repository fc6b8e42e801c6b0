//! The media thread: wait, read, let the engine act, write.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use lockgate_media::{Engine, Event, Path, RouterId, Run};
use mio::{Events, Poll, Token};

use crate::batch::{Arena, MAX_MESSAGES};
use crate::command::{Command, Inbox, Reply};
use crate::events::{Owner, Told};
use crate::pipes::Pipes;
use crate::recorder::{self, RecorderLink};
use crate::sockets::Sockets;
use crate::stats::Stats;
use crate::tcp::Streams;
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
    streams: Streams,
    inbox: Inbox,
    routers: HashMap<RouterId, Owner>,
    own: Own,
    recorder: Option<RecorderLink>,
    arena: Arena,
    /// Control datagrams on their way out.
    control: Vec<(Path, Vec<u8>)>,
    turns: u64,
}

impl Worker {
    pub(crate) fn new(
        poll: Poll,
        engine: Engine,
        (sockets, streams): (Sockets, Streams),
        inbox: Inbox,
        own: Own,
    ) -> Self {
        let (routers, arena, control) = (HashMap::new(), Arena::new(), Vec::with_capacity(MAX_MESSAGES));
        Self { poll, engine, sockets, streams, inbox, routers, own, recorder: None, arena, control, turns: 0 }
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
            self.turns += 1;
            self.look(now, &events);
            if !self.obey(now) {
                self.own.pulse.stops();
                return self.drain(now);
            }
            self.withdraw();
            self.receive_piped(now);
            self.receive(now);
            self.receive_streams(now);
            self.flush(now);
            self.streams.accept(now, self.poll.registry());
            self.engine.handle_timeout(now);
            self.hand_over(now);
            self.engine.make_offers(now);
            self.drain(now);
            self.tell();
            self.hand_over(now);
            self.write_recording(now);
            self.tend_streams(now);
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        self.sockets.settle(now, self.poll.registry())?;
        self.own.pulse.sleeps(now);
        let recording = self.recorder.as_ref().is_some_and(RecorderLink::has_more);
        let more = self.sockets.any_readable() || self.streams.is_ready() || self.inbox.has_more() || recording;
        let timeout = if more { Duration::ZERO } else { self.idle(now) };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// How long there is nothing to do unless something comes.
    fn idle(&self, now: Instant) -> Duration {
        let until = |due: Instant| due.saturating_duration_since(now);
        let due = self.engine.next_timeout().map(|due| until(due).max(REST));
        let others = self.sockets.retry_at().into_iter().chain(self.streams.next_timeout()).map(until);
        due.into_iter().chain(others).fold(BEAT, Duration::min)
    }

    fn look(&mut self, now: Instant, events: &Events) {
        for event in events {
            match event.token() {
                recorder::TOKEN => self.read_recorder(now),
                WAKER => {}
                _ if self.streams.on_ready(now, event) => {}
                token => self.sockets.on_ready(now, token, event.is_readable(), event.is_writable()),
            }
        }
    }

    /// Carries out what waits. False: stop.
    fn obey(&mut self, now: Instant) -> bool {
        for _ in 0..MAX_COMMANDS {
            let Some(command) = self.inbox.next() else { return true };
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
            Command::LimitPublication(transport, track, most) => {
                engine.limit_publication(now, transport, &track, most);
            }
            // One that is gone by now, its owner is told of.
            Command::AdmitChannel(transport, stream, track) => {
                let _ = engine.admit_channel(now, transport, stream, &track);
            }
            Command::RefuseChannel(transport, stream) => engine.refuse_channel(now, transport, stream),
            Command::Subscribe(transport, subscription) => engine.subscribe(now, transport, subscription),
            Command::Unsubscribe(transport, track, cause) => engine.unsubscribe(now, transport, &track, cause),
            Command::ExpectNoMore(transport, track) => engine.expect_no_more(transport, &track),
            Command::DiscardLast(transport, cause, tracks) => {
                engine.discard_last(now, transport, cause, tracks.as_ref());
            }
            Command::SetLimits(transport, track, limits) => engine.set_limits(now, transport, &track, limits),
            Command::AcceptAnswer(transport, offer, answer, reply) => {
                drop(reply.send(engine.accept_answer(now, transport, offer, answer)));
            }
            Command::AnswerReceiver(transport, offer, reply) => {
                drop(reply.send(engine.answer_receiver(now, transport, &offer)));
            }
            Command::RestartIce(transport, cause) => engine.restart_ice(transport, cause),
            Command::SetMuted(router, track, muted) => engine.set_muted(router, &track, muted),
            Command::Record(router, track, number) => engine.record(now, router, &track, number),
            Command::RecordNoMore(router, track) => engine.record_no_more(now, router, &track),
            Command::RequestKeyFrame(router, track) => engine.request_key_frame(now, router, &track),
            Command::AttachRecorder(stream) => self.attach_recorder(now, stream),
            Command::Stats(reply) => drop(reply.send(self.stats())),
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
        self.write_recording(now);
    }

    /// Takes in a batch off each socket that has something.
    fn receive(&mut self, now: Instant) {
        for socket in 0..self.sockets.count() {
            if !self.sockets.is_readable(socket) {
                continue;
            }
            self.sockets.receive(socket, &mut self.arena);
            while let Some((remote, datagram)) = self.arena.next() {
                self.engine.handle_datagram(now, Path { socket, remote }, datagram);
                if self.engine.is_full() {
                    self.forward(now);
                }
            }
        }
    }

    /// Takes in what came by TCP, a piece of each of some streams.
    fn receive_streams(&mut self, now: Instant) {
        let readable = self.streams.readable();
        if readable > 0 {
            // What came as datagrams does not wait for it.
            self.flush(now);
        }
        for _ in 0..readable {
            let Some(path) = self.streams.read() else { continue };
            while let Some(datagram) = self.streams.next_frame() {
                self.engine.handle_datagram(now, path, datagram);
                self.streams.judge(|path| self.engine.has_path(path));
                if self.engine.is_full() {
                    self.forward(now);
                }
            }
        }
    }

    /// Ends streams that lead nowhere, and tells the engine of those that ended.
    fn tend_streams(&mut self, now: Instant) {
        self.streams.expire(now, |path| self.engine.has_path(path));
        self.streams.tidy(|path| self.engine.forget_path(path));
    }

    /// Sends what became of what came.
    fn flush(&mut self, now: Instant) {
        // The others begin with it while it is sent from here.
        self.hand_over(now);
        // The end of a handshake leaves before the media that it lets through: nobody can open what comes before the keys.
        self.send_control(now);
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
            self.send_media(now);
        }
        self.send_media(now);
    }

    /// Sends everything that the engine has ready.
    fn drain(&mut self, now: Instant) {
        self.forward(now);
        self.send_control(now);
    }

    /// What waits for room, and is not to be sent any more, goes.
    fn withdraw(&mut self) {
        let withdrawn = self.engine.take_withdrawn();
        if !withdrawn.is_empty() {
            self.sockets.withdraw(&withdrawn);
            self.streams.withdraw(&withdrawn);
        }
    }

    /// Sends what is not media: checks' answers, handshakes, farewells.
    fn send_control(&mut self, now: Instant) {
        self.withdraw();
        loop {
            self.control.extend(std::iter::from_fn(|| self.engine.poll_transmit()).take(MAX_MESSAGES));
            if self.control.is_empty() {
                return;
            }
            let runs = || self.control.iter().map(|(path, bytes)| Run { path: *path, segment: bytes.len(), bytes });
            self.sockets.send(now, runs);
            if !self.streams.is_empty() {
                self.streams.send(now, runs());
            }
            self.control.clear();
        }
    }

    fn send_media(&mut self, now: Instant) {
        self.withdraw();
        let egress = self.engine.egress();
        self.sockets.send(now, || egress.runs());
        if !self.streams.is_empty() {
            self.streams.send(now, egress.runs());
        }
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

    fn attach_recorder(&mut self, now: Instant, stream: std::os::unix::net::UnixStream) {
        self.detach_recorder(now);
        let replay = self.engine.recorder(now);
        match RecorderLink::new(stream, self.poll.registry(), replay.attach()) {
            Ok(link) => self.recorder = Some(link),
            Err(error) => {
                replay.detach();
                tracing::warn!(%error, "the recorder's data connection cannot be used");
            }
        }
    }

    fn detach_recorder(&mut self, now: Instant) {
        if let Some(link) = self.recorder.take() {
            link.detach(self.poll.registry());
        }
        self.engine.recorder(now).detach();
    }

    fn read_recorder(&mut self, now: Instant) {
        let replay = self.engine.recorder(now);
        if let Some(Err(error)) = self.recorder.as_mut().map(|link| link.read(replay)) {
            tracing::debug!(%error, "the recorder's data connection ended");
            self.detach_recorder(now);
        }
    }

    /// Writes what the recorder has room for; without one, what is too old goes.
    fn write_recording(&mut self, now: Instant) {
        let replay = self.engine.recorder(now);
        if let Some(Err(error)) = self.recorder.as_mut().map(|link| link.write(replay)) {
            tracing::debug!(%error, "the recorder's data connection ended");
            self.detach_recorder(now);
        }
    }

    fn stats(&self) -> Stats {
        let mut network = self.sockets.counters();
        self.streams.count(&mut network);
        Stats { engine: self.engine.counters(), network, turns: self.turns }
    }
}

/// The waker's token.
pub(crate) const WAKER: Token = Token((1 << 20) + 1);
/// Commands of one turn, so that media does not wait for many.
const MAX_COMMANDS: usize = 64;
/// The engine's timers are not looked at more often while nothing comes: hundreds of them would each wake the thread.
const REST: Duration = Duration::from_millis(2);
