//! The node as a whole, and what was decided lately. What is counted here is counted anyway: looking costs packets nothing.

use std::time::Duration;

use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;
use lockgate_policy::{HookMetrics, MetricsSnapshot, PluginMetrics};
use lockgate_signal::PageRequest;
use lockgate_worker::{Stats, WorkerState};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::drain::milliseconds;
use crate::node::Node;

/// How the node is: what flows, how busy its workers are, how plugins and the recorder do.
pub(super) async fn show_node(node: &Node) -> Result<Value, Denial> {
    let late = |_| Denial::new(ErrorCode::OVERLOADED, "the media workers do not answer; try again later");
    let stats = timeout(ANSWER_WITHIN, node.workers.stats()).await.map_err(late)?;
    let mut shown = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "upMs": node.time().0 / 1000,
        "rooms": node.rooms.count(),
        "connections": node.counters.connections.load(std::sync::atomic::Ordering::Relaxed),
        "workers": workers(node),
        "media": media(&stats),
        "policy": policy(&node.policy.stats()),
        "recorder": node.recorders.look().await,
    });
    if let Some(left) = node.drain.left() {
        shown["drainMs"] = milliseconds(left).into();
    }
    if let Some(log) = node.policy.journal().stats() {
        shown["decisionLog"] = json!({ "lines": log.lines, "lost": log.lost, "works": log.works });
    }
    Ok(shown)
}

/// What was decided since the decision that the operator had last. Each look has them kept for a while.
pub(super) fn list_decisions(node: &Node, page: &PageRequest<u64>) -> Value {
    json!(node.policy.recent_decisions(page.after, page.limit))
}

fn workers(node: &Node) -> Vec<Value> {
    let state = |state| match state {
        WorkerState::Turns => "turns",
        WorkerState::Stalled => "stalled",
        WorkerState::Gone => "gone",
        WorkerState::Stopped => "stopped",
    };
    let health = node.workers.health();
    health.iter().map(|one| json!({ "worker": one.worker, "state": state(one.state), "load": one.load })).collect()
}

fn media(stats: &Stats) -> Value {
    let engine = &stats.engine;
    let dropped: Vec<_> = engine
        .drops()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| json!({ "reason": reason.as_str(), "count": count }))
        .collect();
    json!({
        "transports": engine.transports,
        "tracks": engine.tracks,
        "subscriptions": engine.subscriptions,
        "packetsReceived": engine.packets_in,
        "bytesReceived": engine.bytes_in,
        "packetsSent": engine.packets_out,
        "bytesSent": engine.bytes_out,
        "retransmissionsSent": engine.retransmissions_out,
        "nacksSent": engine.nacks_out,
        "dropped": dropped,
    })
}

fn policy(stats: &MetricsSnapshot) -> Value {
    let plugins: Vec<_> = stats.plugins.iter().map(plugin).collect();
    let mut shown = json!({ "epoch": stats.epoch, "overloaded": stats.overloaded, "plugins": plugins });
    if let Some(canary) = stats.canary {
        shown["canaryEpoch"] = canary.into();
    }
    shown
}

fn plugin(plugin: &PluginMetrics) -> Value {
    let failures: Vec<_> = plugin
        .failures
        .iter()
        .map(|(failure, count)| json!({ "cause": failure.to_string(), "count": count }))
        .collect();
    json!({
        "plugin": plugin.plugin,
        "shadow": !plugin.shadow.is_empty(),
        "hooks": plugin.hooks.iter().map(hook).collect::<Vec<_>>(),
        "failures": failures,
        "lastKnown": plugin.last_known,
        "instancesKept": plugin.kept,
        "memoryPeakBytes": plugin.memory_peak,
    })
}

fn hook(hook: &HookMetrics) -> Value {
    let mean = hook.latency_sum.as_micros() / u128::from(hook.calls.max(1));
    json!({
        "hook": hook.hook,
        "calls": hook.calls,
        "allowed": hook.allowed,
        "denied": hook.denied,
        "abstained": hook.abstained,
        "failed": hook.failed,
        "paused": hook.paused,
        "pauses": hook.pauses,
        "meanUs": u64::try_from(mean).unwrap_or(u64::MAX),
    })
}

/// How long the media workers may take to say what they have counted.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
