//! The worker's process: it embeds real workers and does what it is asked, line by line.
//!
//! It has a core to itself. The thread that reads the questions sleeps while the worker is measured.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lockgate_model::TrackId;
use lockgate_worker::{
    AdmittedMedia, Announced, Limits, NewRouter, PublishTransport, RouterEvent, Stats, SubscribeTransport,
    Subscription, TransportId, Workers, WorkersConfig,
};

use crate::floor::{Burst, Floor};
use crate::machine::{self, Thread};
use crate::protocol::{Answer, Ask, Sending, Usage};
use crate::{WORKER_CORE, heap};

/// Answers questions until there are no more.
pub(crate) fn serve() -> Result<()> {
    machine::pin(WORKER_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut role = Role::default();
    for line in std::io::stdin().lines() {
        let ask = serde_json::from_str(&line?).context("no question")?;
        let answer = runtime.block_on(role.obey(ask));
        let answer = answer.unwrap_or_else(|error| Answer::Failed { why: format!("{error:#}") });
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
        out.flush()?;
    }
    runtime.block_on(role.end());
    Ok(())
}

#[derive(Default)]
struct Role {
    hosted: Vec<Hosted>,
    floor: Option<(Vec<u16>, Floor)>,
}

/// A worker with its room.
struct Hosted {
    workers: Workers,
    thread: Thread,
    room: NewRouter,
    publishers: Vec<PublishTransport>,
    viewers: HashMap<u64, Viewer>,
    next_viewer: u64,
    connected: usize,
    opened: usize,
    offers: HashMap<TransportId, VecDeque<Offer>>,
}

struct Viewer {
    transport: SubscribeTransport,
    wanted: usize,
    open: Option<Offer>,
}

struct Offer {
    id: u64,
    sdp: String,
    tracks: usize,
}

impl Role {
    async fn obey(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Spawn { sending } => self.spawn(sending).await,
            Ask::Publish { worker, offer, tracks } => self.hosted(worker)?.publish(offer, tracks).await,
            Ask::View { worker, tracks } => self.hosted(worker)?.view(&tracks).await,
            Ask::Answer { worker, viewer, sdp } => self.hosted(worker)?.answer(viewer, sdp).await,
            Ask::Connected { worker, transports } => self.hosted(worker)?.wait_for(transports).await,
            Ask::Leave { worker, viewer } => self.hosted(worker)?.leave(viewer).await,
            Ask::Opened { worker, channels } => self.hosted(worker)?.wait_for_channels(channels).await,
            Ask::Usage { worker } => self.hosted(worker)?.usage().await,
            Ask::Floor { ports, bursts } => self.floor(ports, &bursts),
        }
    }

    fn hosted(&mut self, worker: usize) -> Result<&mut Hosted> {
        self.hosted.get_mut(worker).context("there is no such worker")
    }

    async fn spawn(&mut self, sending: Sending) -> Result<Answer> {
        let before = Thread::media()?;
        let workers = Workers::spawn(config(sending))?;
        let thread = Thread::media_besides(&before)?;
        let room = workers.new_router().await?;
        self.hosted.push(Hosted {
            workers,
            thread,
            room,
            publishers: Vec::new(),
            viewers: HashMap::new(),
            next_viewer: 0,
            connected: 0,
            opened: 0,
            offers: HashMap::new(),
        });
        Ok(Answer::Spawned { worker: self.hosted.len() - 1 })
    }

    fn floor(&mut self, ports: Vec<u16>, bursts: &[Burst]) -> Result<Answer> {
        if self.floor.as_ref().is_none_or(|(old, _)| *old != ports) {
            let floor = Floor::new(&ports)?;
            self.floor = Some((ports, floor));
        }
        let (_, floor) = self.floor.as_mut().context("it was just made")?;
        let (used, begun) = floor.send(bursts)?;
        Ok(Answer::Floor { used, begun })
    }

    async fn end(self) {
        for hosted in self.hosted {
            hosted.workers.stop().await;
        }
    }
}

impl Hosted {
    async fn publish(&mut self, offer: String, tracks: Vec<(String, String)>) -> Result<Answer> {
        let admit = |(mid, track): (String, String)| -> Result<_> {
            Ok(AdmittedMedia { mid, track: Some(name(&track)?), max_bitrate: None })
        };
        let admitted = tracks.into_iter().map(admit).collect::<Result<_>>()?;
        let transport = self.room.router.create_publish_transport().await?;
        let answer = transport.accept_offer(offer, admitted).await?;
        self.publishers.push(transport);
        Ok(Answer::Accepted { sdp: answer.sdp })
    }

    async fn view(&mut self, tracks: &[String]) -> Result<Answer> {
        let transport = self.room.router.create_subscribe_transport().await?;
        for track in tracks {
            let subscription =
                Subscription { track: name(track)?, stream: "room".into(), cause: 0, limits: Limits::default() };
            transport.subscribe(subscription);
        }
        let offer = self.next_offer(transport.id()).await?;
        let (viewer, sdp) = (self.next_viewer, offer.sdp.clone());
        self.next_viewer += 1;
        self.viewers.insert(viewer, Viewer { transport, wanted: tracks.len(), open: Some(offer) });
        Ok(Answer::Offer { viewer, offer: Some(sdp) })
    }

    /// A viewer of several tracks may be offered them in several offers.
    async fn answer(&mut self, viewer: u64, sdp: String) -> Result<Answer> {
        let known = self.viewers.get_mut(&viewer).context("there is no such viewer")?;
        let offer = known.open.take().context("no offer is open")?;
        known.transport.set_answer(Some(offer.id), sdp).await?;
        let (id, done) = (known.transport.id(), offer.tracks == known.wanted);
        let next = if done { None } else { Some(self.next_offer(id).await?) };
        let offer = next.as_ref().map(|offer| offer.sdp.clone());
        if let Some(known) = self.viewers.get_mut(&viewer) {
            known.open = next;
        }
        Ok(Answer::Offer { viewer, offer })
    }

    async fn leave(&mut self, viewer: u64) -> Result<Answer> {
        let gone = self.viewers.remove(&viewer).context("there is no such viewer")?;
        self.offers.remove(&gone.transport.id());
        self.catch_up().await?;
        Ok(Answer::Done)
    }

    async fn next_offer(&mut self, transport: TransportId) -> Result<Offer> {
        loop {
            if let Some(offer) = self.offers.get_mut(&transport).and_then(VecDeque::pop_front) {
                return Ok(offer);
            }
            self.next_event().await?;
        }
    }

    async fn wait_for(&mut self, transports: usize) -> Result<Answer> {
        while self.connected < transports {
            self.next_event().await?;
        }
        Ok(Answer::Done)
    }

    async fn wait_for_channels(&mut self, channels: usize) -> Result<Answer> {
        while self.opened < channels {
            self.next_event().await?;
        }
        Ok(Answer::Done)
    }

    async fn usage(&mut self) -> Result<Answer> {
        self.catch_up().await?;
        let usage = Usage {
            thread: self.thread.used()?,
            process: machine::used_by_this_process()?,
            allocations: self.thread.allocations()?,
            heap: heap::in_use(),
            resident: machine::resident(),
            ..Usage::default()
        };
        Ok(Answer::Usage(Box::new(counted(&self.workers, usage).await)))
    }

    async fn next_event(&mut self) -> Result<()> {
        let event = self.room.events.recv().await.context("the room has ended")?;
        self.take(event)
    }

    /// Takes what waits: a room whose events nobody reads is closed.
    async fn catch_up(&mut self) -> Result<()> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.room.events.recv() => event.context("the room has ended")?,
                () = std::future::ready(()) => return Ok(()),
            };
            self.take(event)?;
        }
    }

    fn take(&mut self, event: RouterEvent) -> Result<()> {
        match event {
            RouterEvent::Connected { .. } => self.connected += 1,
            RouterEvent::Closed { transport, reason } => {
                // Publishers that attacked are let go of by silence.
                if self.viewers.values().any(|viewer| viewer.transport.id() == transport) {
                    bail!("a viewer was lost: {reason}");
                }
            }
            RouterEvent::Offer { transport, offer_id, sdp, tracks, .. } => {
                let offer = Offer { id: offer_id, sdp, tracks: tracks.len() };
                self.offers.entry(transport).or_default().push_back(offer);
            }
            RouterEvent::ChannelOpened { transport, stream, channel } => {
                if let Some(publisher) = self.publishers.iter().find(|publisher| publisher.id() == transport) {
                    publisher.admit_channel(stream, &name(&channel.label)?);
                    self.opened += 1;
                }
            }
            RouterEvent::LayerChanged { .. }
            | RouterEvent::Levels { .. }
            | RouterEvent::Steered { .. }
            | RouterEvent::Quality { .. }
            | RouterEvent::ChannelClosed { .. }
            | RouterEvent::ChannelLost { .. }
            | RouterEvent::Placed { .. } => {}
        }
        Ok(())
    }
}

fn config(sending: Sending) -> WorkersConfig {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    WorkersConfig {
        count: 1,
        bind: vec![ip],
        port: 0,
        tcp: true,
        announce: vec![Announced { ip, port: None }],
        room_spread: usize::MAX,
        sending: match sending {
            Sending::Runs | Sending::Estimated => lockgate_worker::Sending::Gso,
            Sending::Batched => lockgate_worker::Sending::Batched,
            Sending::Single => lockgate_worker::Sending::Single,
        },
        started: Instant::now(),
        data: lockgate_worker::DataLimits::default(),
    }
}

async fn counted(workers: &Workers, usage: Usage) -> Usage {
    let Stats { engine, network, .. } = workers.stats().await;
    let happened = engine.drops().filter(|(_, count)| *count > 0);
    Usage {
        packets_out: engine.packets_out,
        probes: engine.probes_out,
        messages: network.datagrams_out - network.run_datagrams_out + network.runs_out,
        datagrams: network.datagrams_out,
        unsent: network.failures().map(|(_, count)| count).sum(),
        transports: engine.transports,
        drops: happened.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        ..usage
    }
}

fn name(track: &str) -> Result<TrackId> {
    TrackId::new(track).context("no name for a track")
}
