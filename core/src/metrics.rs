//! The numbers that operators watch, in the Prometheus text format.
//!
//! Labels come from small closed sets only: never a room's or a participant's name.

mod policy;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockgate_policy::journal::JournalStats;
use lockgate_worker::{NetworkCounters, Stats, WorkerHealth, WorkerState};

use crate::events::Events;
use crate::node::Node;

/// What the shell itself counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_total: AtomicU64,
    pub(crate) slow_sessions: AtomicU64,
}

/// All metrics as text.
pub(crate) async fn render(node: Arc<Node>) -> String {
    let mut page = Page::default();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    page.gauge("lockgate_connections", "Open sockets.", load(&node.counters.connections));
    page.counter("lockgate_connections_total", "Sockets that were opened.", load(&node.counters.connections_total));
    page.counter(
        "lockgate_slow_sessions_total",
        "Participants put out because their client did not read.",
        load(&node.counters.slow_sessions),
    );
    page.gauge("lockgate_rooms", "Open rooms.", u64::try_from(node.rooms.count()).unwrap_or(u64::MAX));
    let drains = "Whether the node lets nobody in any more and ends when it is empty (1) or not (0).";
    page.gauge("lockgate_draining", drains, u64::from(node.drain.left().is_some()));
    page.gauge(
        "lockgate_recorder_attached",
        "Whether a recorder is attached (1) or not (0).",
        u64::from(node.recorders.is_attached().await),
    );
    events(&mut page, &node.events);
    media(&mut page, &node).await;
    policy::write(&mut page, &node.policy.stats());
    if let Some(log) = node.policy.journal().stats() {
        decision_log(&mut page, &log);
    }
    page.text
}

fn events(page: &mut Page, events: &Events) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &events.counts;
    page.gauge("lockgate_event_readers", "Readers who follow the events.", load(&counts.readers));
    let slow = "Readers of events that were ended because they did not read.";
    page.counter("lockgate_event_readers_slow_total", slow, load(&counts.slow_readers));
    page.counter("lockgate_webhook_delivered_total", "Events that the webhook took.", load(&counts.delivered));
    page.counter("lockgate_webhook_failed_total", "Attempts that the webhook did not take.", load(&counts.failed));
    let lost = "Events that were not kept until the webhook took them.";
    page.counter("lockgate_webhook_lost_total", lost, load(&counts.lost));
    if events.has_webhook() {
        page.gauge("lockgate_webhook_waiting", "Events that the webhook has not taken yet.", events.webhook_behind());
    }
}

async fn media(page: &mut Page, node: &Node) {
    let Stats { engine: stats, network, turns } = node.workers.stats().await;
    page.gauge("lockgate_workers", "Media workers.", u64::try_from(node.workers.count()).unwrap_or(u64::MAX));
    workers(page, &node.workers.health());
    page.counter("lockgate_worker_turns_total", "Times that workers looked for something to do.", turns);
    page.gauge("lockgate_routers", "Routers of rooms, one for each worker that a room is on.", stats.routers);
    page.gauge("lockgate_transports", "Connections that carry media.", stats.transports);
    page.gauge("lockgate_tracks", "Published tracks.", stats.tracks);
    page.gauge("lockgate_subscriptions", "Tracks on their way to a participant.", stats.subscriptions);
    page.counter("lockgate_packets_received_total", "Packets that came in.", stats.packets_in);
    page.counter("lockgate_bytes_received_total", "Bytes that came in.", stats.bytes_in);
    page.counter("lockgate_packets_sent_total", "Packets that went out.", stats.packets_out);
    page.counter("lockgate_bytes_sent_total", "Bytes that went out.", stats.bytes_out);
    let retransmissions = stats.retransmissions_out;
    page.counter("lockgate_retransmissions_sent_total", "Packets that were sent again.", retransmissions);
    let probes = "Packets that were repeated to find out what viewers' links carry.";
    page.counter("lockgate_probes_sent_total", probes, stats.probes_out);
    page.counter("lockgate_nacks_sent_total", "Packets that publishers were asked to send again.", stats.nacks_out);
    let requests = stats.key_frame_requests_out;
    page.counter("lockgate_key_frame_requests_total", "Key frames that publishers were asked for.", requests);
    page.gauge("lockgate_data_channels", "Published data channels.", stats.data_channels);
    page.counter("lockgate_data_messages_received_total", "Messages that came in on data channels.", stats.data_in);
    page.counter("lockgate_data_bytes_received_total", "Bytes of those messages.", stats.data_bytes_in);
    page.counter("lockgate_data_messages_sent_total", "Messages that went out on data channels.", stats.data_out);
    page.counter("lockgate_data_bytes_sent_total", "Bytes of those messages.", stats.data_bytes_out);
    page.gauge("lockgate_pipes", "Ends of pipes between workers that share a room.", stats.pipes);
    page.counter("lockgate_piped_packets_sent_total", "Packets for which there was a pipe.", stats.piped_out);
    page.counter("lockgate_piped_packets_received_total", "Packets that came over pipes.", stats.piped_in);
    page.head(
        "lockgate_piped_delay_seconds_total",
        "How much longer than the quickest ones packets were on their way over pipes.",
        "counter",
    );
    page.sample("lockgate_piped_delay_seconds_total", "", Duration::from_micros(stats.piped_delay).as_secs_f64());
    page.head("lockgate_dropped_total", "Packets that were not forwarded, by reason.", "counter");
    for (reason, count) in stats.drops() {
        page.sample("lockgate_dropped_total", &format!("reason=\"{}\"", reason.as_str()), count);
    }
    sockets(page, &network);
}

fn sockets(page: &mut Page, network: &NetworkCounters) {
    let all = [
        ("lockgate_datagrams_received_total", "Datagrams that came in, of any kind.", network.datagrams_in),
        ("lockgate_receive_calls_total", "System calls that received them.", network.receive_calls),
        (
            "lockgate_receive_joined_total",
            "Messages of several datagrams that the system had joined.",
            network.joined_in,
        ),
        ("lockgate_receive_joined_datagrams_total", "Datagrams in them.", network.joined_datagrams_in),
        ("lockgate_receive_truncated_total", "Messages that were too long to be received.", network.truncated),
        ("lockgate_receive_overflow_total", "Datagrams that no worker received in time.", network.overflowed),
        ("lockgate_datagrams_sent_total", "Datagrams that went out, of any kind.", network.datagrams_out),
        ("lockgate_send_calls_total", "System calls that sent them.", network.send_calls),
        ("lockgate_send_runs_total", "Messages that the system cut into several datagrams.", network.runs_out),
        ("lockgate_send_run_datagrams_total", "Datagrams in them.", network.run_datagrams_out),
        ("lockgate_send_runs_refused_total", "Messages that it would not cut.", network.runs_refused),
        ("lockgate_send_held_total", "Datagrams that waited for room in the system.", network.held),
    ];
    all.into_iter().for_each(|(name, help, value)| page.counter(name, help, value));
    page.gauge("lockgate_send_held_bytes", "Bytes that wait for room in the system.", network.held_bytes);
    page.head("lockgate_send_failed_total", "Datagrams that were not sent, by reason.", "counter");
    for (failure, count) in network.failures() {
        page.sample("lockgate_send_failed_total", &format!("reason=\"{}\"", failure.as_str()), count);
    }
    page.gauge("lockgate_tcp_connections", "TCP connections that carry media, or may.", network.streams);
    let accepted = network.streams_accepted;
    page.counter("lockgate_tcp_accepted_total", "TCP connections that came about at media ports.", accepted);
    page.counter("lockgate_tcp_received_total", "Datagrams that came in by TCP.", network.frames_in);
    page.counter("lockgate_tcp_sent_total", "Datagrams that went out by TCP.", network.frames_out);
    page.head("lockgate_tcp_ended_total", "TCP connections at media ports that ended, by reason.", "counter");
    for (end, count) in network.ends() {
        page.sample("lockgate_tcp_ended_total", &format!("reason=\"{}\"", end.as_str()), count);
    }
}

fn workers(page: &mut Page, health: &[WorkerHealth]) {
    let label = |health: &WorkerHealth| format!("worker=\"{}\"", health.worker);
    page.head("lockgate_worker_up", "Whether a media worker turns (1), or stands still or is gone (0).", "gauge");
    for one in health {
        page.sample("lockgate_worker_up", &label(one), u8::from(one.state == WorkerState::Turns));
    }
    page.head("lockgate_worker_busy_ratio", "The busy share of a media worker's last second.", "gauge");
    for one in health {
        page.sample("lockgate_worker_busy_ratio", &label(one), one.load);
    }
}

fn decision_log(page: &mut Page, log: &JournalStats) {
    page.counter("lockgate_policy_log_lines_total", "Lines of the decision log.", log.lines);
    page.counter("lockgate_policy_log_lost_total", "Decisions that could not be logged.", log.lost);
    page.gauge("lockgate_policy_log_sequence", "The number of the last line of the decision log.", log.head.seq);
    let works = "Whether the decision log could be written (1) or not (0) the last time.";
    page.gauge("lockgate_policy_log_up", works, u64::from(log.works));
}

/// A page being written.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.sample(name, "", value);
    }

    pub(crate) fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::recording::ToHub;

    /// The format's rules that scrapers insist on: every sample has its type before it, and no name has two.
    #[tokio::test]
    async fn every_number_has_a_name_a_type_and_a_help_text() {
        let (node, mut hub) = crate::testing::node();
        let hub = async {
            while let Some(ToHub::IsAttached(reply)) = hub.recv().await {
                reply.send(true).unwrap();
            }
        };
        let text = tokio::select! {
            text = render(node) => text,
            () = hub => panic!("the hub was asked something else"),
        };
        let mut typed = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(typed.insert(rest.split(' ').next().unwrap()), "{line}");
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(typed.contains(name) && name.starts_with("lockgate_"), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.contains("lockgate_recorder_attached 1"), "{text}");
        assert!(text.contains("lockgate_dropped_total{reason=\"srtp-replay\"} 0"), "{text}");
        assert!(text.contains("lockgate_send_failed_total{reason=\"no-room\"} 0"), "{text}");
    }
}
