//! A room with one publisher of data channels and its viewers, in another process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockgate_transport::data::{Channel, Message, Reliability};

use crate::client::Client;
use crate::host::Host;
use crate::protocol::{Sending, Usage};
use crate::sdp::{self, Server};

/// The worker, everybody in the room, and the channels.
pub(crate) struct Room {
    host: Host,
    worker: usize,
    publisher: Party,
    viewers: Vec<Party>,
    labels: Vec<String>,
}

/// A client with an SCTP association.
struct Party(Client);

impl Room {
    /// A room with so many channels in it.
    pub(crate) fn open(channels: usize, ordered: bool) -> Result<Self> {
        let mut host = Host::start()?;
        let worker = host.spawn(Sending::Runs)?;
        let client = Client::new()?;
        let offer = sdp::data_offer(&client.peer.fingerprint());
        let answer = host.publish(worker, offer, vec![("0".into(), "data".into())])?;
        let publisher = Party::connect(client, &answer)?;
        host.wait_until_connected(worker, 1)?;
        let labels = (0..channels).map(|index| format!("channel-{index}")).collect();
        let mut room = Self { host, worker, publisher, viewers: Vec::new(), labels };
        room.open_channels(ordered)?;
        Ok(room)
    }

    fn open_channels(&mut self, ordered: bool) -> Result<()> {
        let Self { host, worker, publisher, labels, .. } = self;
        publisher.wait_until("an association", |data| data.established)?;
        for (id, label) in (0..).step_by(2).zip(&*labels) {
            let channel =
                Channel { label: label.clone(), protocol: String::new(), ordered, reliability: Reliability::Reliable };
            publisher.data()?.open(Instant::now(), id, channel);
        }
        let wanted = labels.len();
        publisher.wait_until("its channels", |data| data.channels.len() == wanted)?;
        // A viewer that asks for one that is not forwarded yet is passed over.
        host.wait_until_opened(*worker, wanted)?;
        Ok(())
    }

    /// Viewers join until there are so many, each of all channels.
    pub(crate) fn fill(&mut self, viewers: usize) -> Result<()> {
        while self.viewers.len() < viewers {
            let client = Client::new()?;
            let (number, mut offer) = self.host.view(self.worker, self.labels.clone())?;
            let (first, fingerprint) = (offer.clone(), client.peer.fingerprint());
            while let Some(next) =
                self.host.answer(self.worker, number, sdp::view_answer(&offer, &fingerprint, false)?)?
            {
                offer = next;
            }
            let mut viewer = Party::connect(client, &first)?;
            let wanted = self.labels.len();
            viewer.wait_until("channels", |data| data.channels.len() == wanted)?;
            self.viewers.push(viewer);
            self.keep();
        }
        Ok(())
    }

    pub(crate) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    pub(crate) fn usage(&mut self) -> Result<Usage> {
        self.host.usage(self.worker)
    }

    /// Says something on the first channel.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.publisher.data()?.send(Instant::now(), 0, Message { text: false, bytes: bytes.into() });
        Ok(())
    }

    /// Has everybody take and answer what came, but for who is deaf.
    pub(crate) fn receive(&mut self, deaf: Option<usize>, mut each: impl FnMut(&[u8])) -> Result<()> {
        self.publisher.pump();
        for (_, viewer) in self.viewers.iter_mut().enumerate().filter(|(index, _)| Some(*index) != deaf) {
            viewer.pump();
            viewer.data()?.messages.drain(..).for_each(|(_, message)| each(&message.bytes));
        }
        Ok(())
    }

    /// Consent of all.
    pub(crate) fn keep(&self) {
        self.publisher.0.keep_alive();
        self.viewers.iter().for_each(|viewer| viewer.0.keep_alive());
    }
}

impl Party {
    fn connect(mut client: Client, description: &str) -> Result<Self> {
        client.connect(&Server::read(description)?)?;
        client.peer.start_data(Instant::now());
        Ok(Self(client))
    }

    fn data(&mut self) -> Result<&mut lockgate_transport::testing::DataPeer> {
        self.0.peer.data.as_mut().context("data was begun with the connection")
    }

    /// Takes what came, and says what is to be said.
    fn pump(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok(length) = self.0.socket.recv(&mut datagram) {
            self.0.peer.handle(Instant::now(), &datagram[..length]);
        }
        for flight in self.0.peer.poll(Instant::now()) {
            // What finds no room is lost as on any way: SCTP repeats it.
            let _ = self.0.socket.send(&flight);
        }
    }

    fn wait_until(&mut self, what: &str, is: impl Fn(&lockgate_transport::testing::DataPeer) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !is(self.data()?) {
            ensure!(begun.elapsed() < PATIENCE, "a client waited for {what} in vain");
            self.pump();
            std::thread::yield_now();
        }
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
