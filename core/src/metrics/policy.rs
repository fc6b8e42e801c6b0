//! What plugins cost, how they answer and how they fail.

use lockgate_policy::{HookMetrics, LATENCY_BOUNDS, MetricsSnapshot, PluginMetrics, ShadowResult};

use super::Page;

pub(super) fn write(page: &mut Page, stats: &MetricsSnapshot) {
    page.counter("lockgate_policy_overloaded_total", "Questions denied as too many waited.", stats.overloaded);
    page.gauge("lockgate_policy_epoch", "The number of the configuration of plugins that answers.", stats.epoch);
    let help = "The number of the one that answers for a share of the rooms; 0: none does.";
    page.gauge("lockgate_policy_canary_epoch", help, stats.canary.unwrap_or(0));
    let name = "lockgate_policy_swaps_total";
    page.head(name, "Changes of plugins while the node runs, by what came of them.", "counter");
    for (outcome, count) in &stats.swaps {
        page.sample(name, &format!("outcome=\"{}\"", outcome.as_str()), count);
    }
    verdicts(page, stats);
    breakers(page, stats);
    failures(page, stats);
    of_plugins(page, stats);
    shadows(page, stats);
    page.head("lockgate_plugin_counter_total", "The plugins' own counters.", "counter");
    for plugin in &stats.plugins {
        for (name, count) in &plugin.own {
            let labels = format!("{},counter=\"{name}\"", label(plugin));
            page.sample("lockgate_plugin_counter_total", &labels, count);
        }
    }
}

fn verdicts(page: &mut Page, stats: &MetricsSnapshot) {
    let name = "lockgate_policy_verdicts_total";
    page.head(name, "Verdicts of plugins, by what they say.", "counter");
    for (labels, hook) in hooks(stats) {
        let verdicts =
            [("allow", hook.allowed), ("deny", hook.denied), ("abstain", hook.abstained), ("failed", hook.failed)];
        for (verdict, count) in verdicts {
            page.sample(name, &format!("{labels},verdict=\"{verdict}\""), count);
        }
    }
    page.head("lockgate_policy_call_seconds", "Time of one call of a plugin.", "histogram");
    hooks(stats).for_each(|(labels, hook)| latency(page, &labels, hook));
}

fn breakers(page: &mut Page, stats: &MetricsSnapshot) {
    let name = "lockgate_policy_paused";
    page.head(name, "Whether a plugin is asked no more for a while (1), as it failed too often.", "gauge");
    hooks(stats).for_each(|(labels, hook)| page.sample(name, &labels, u8::from(hook.paused)));
    let name = "lockgate_policy_pauses_total";
    page.head(name, "Times that such a pause began, those after a probe that failed included.", "counter");
    hooks(stats).for_each(|(labels, hook)| page.sample(name, &labels, hook.pauses));
}

fn failures(page: &mut Page, stats: &MetricsSnapshot) {
    let name = "lockgate_policy_failures_total";
    page.head(name, "Questions that plugins failed to answer, by cause.", "counter");
    for plugin in &stats.plugins {
        for (failure, count) in &plugin.failures {
            page.sample(name, &format!("{},cause=\"{failure}\"", label(plugin)), count);
        }
    }
}

fn shadows(page: &mut Page, stats: &MetricsSnapshot) {
    let name = "lockgate_policy_shadow_total";
    page.head(name, "Questions to plugins in shadow, by whether they say what the others say.", "counter");
    for plugin in &stats.plugins {
        for (hook, counts) in &plugin.shadow {
            for (result, count) in ShadowResult::ALL.iter().zip(counts) {
                let (plugin, hook, result) = (label(plugin), hook.as_str(), result.as_str());
                page.sample(name, &format!("{plugin},hook=\"{hook}\",result=\"{result}\""), count);
            }
        }
    }
}

fn of_plugins(page: &mut Page, stats: &MetricsSnapshot) {
    type Number = fn(&PluginMetrics) -> u64;
    let numbers: [(&str, &str, &str, Number); 5] = [
        (
            "lockgate_policy_last_known_total",
            "Verdicts that a plugin failed to give and for which its last ones stood in.",
            "counter",
            |plugin| plugin.last_known,
        ),
        ("lockgate_policy_instances_total", "Instances of a plugin that were made.", "counter", |plugin| {
            plugin.instances
        }),
        ("lockgate_policy_instances_kept", "Instances of a plugin that are kept for questions.", "gauge", |plugin| {
            plugin.kept
        }),
        ("lockgate_policy_memory_peak_bytes", "Most memory that an instance of a plugin had.", "gauge", |plugin| {
            plugin.memory_peak
        }),
        ("lockgate_policy_log_dropped_total", "Log lines of a plugin that were too many.", "counter", |plugin| {
            plugin.log_dropped
        }),
    ];
    for (name, help, kind, number) in numbers {
        page.head(name, help, kind);
        stats.plugins.iter().for_each(|plugin| page.sample(name, &label(plugin), number(plugin)));
    }
}

/// One histogram; its buckets accumulate.
fn latency(page: &mut Page, labels: &str, hook: &HookMetrics) {
    let name = "lockgate_policy_call_seconds";
    let mut within = 0;
    for (bound, count) in LATENCY_BOUNDS.iter().zip(hook.latency) {
        within += count;
        page.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{}\"", bound.as_secs_f64()), within);
    }
    page.sample(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), hook.calls);
    page.sample(&format!("{name}_sum"), labels, hook.latency_sum.as_secs_f64());
    page.sample(&format!("{name}_count"), labels, hook.calls);
}

fn label(plugin: &PluginMetrics) -> String {
    format!("plugin=\"{}\"", plugin.plugin)
}

fn hooks(stats: &MetricsSnapshot) -> impl Iterator<Item = (String, &HookMetrics)> {
    let of = |plugin| move |hook: &HookMetrics| format!("{},hook=\"{}\"", label(plugin), hook.hook.as_str());
    stats.plugins.iter().flat_map(move |plugin| plugin.hooks.iter().map(move |hook| (of(plugin)(hook), hook)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockgate_model::policy::Hook;
    use lockgate_policy::Failure;
    use lockgate_policy::journal::SwapOutcome;

    use super::*;

    #[test]
    fn a_plugins_answers_failures_and_costs_can_be_read() {
        let mut latency = [0; LATENCY_BOUNDS.len() + 1];
        (latency[0], latency[LATENCY_BOUNDS.len()]) = (2, 1);
        let hook = HookMetrics {
            hook: Hook::Auth,
            calls: 3,
            allowed: 1,
            denied: 1,
            abstained: 0,
            failed: 2,
            paused: true,
            pauses: 1,
            latency_sum: Duration::from_millis(1500),
            latency,
        };
        let plugin = PluginMetrics {
            plugin: "a".into(),
            hooks: vec![hook],
            failures: vec![(Failure::Timeout, 1), (Failure::Paused, 1)],
            last_known: 4,
            instances: 5,
            kept: 3,
            memory_peak: 6,
            log_dropped: 7,
            own: vec![("b".into(), 8)],
            shadow: vec![(Hook::Admission, [11, 12, 13, 14])],
        };
        let mut page = Page::default();
        let swaps = vec![(SwapOutcome::RolledBack, 10)];
        write(&mut page, &MetricsSnapshot { plugins: vec![plugin], overloaded: 9, epoch: 3, canary: Some(4), swaps });
        for line in [
            "lockgate_policy_overloaded_total 9",
            "lockgate_policy_epoch 3",
            "lockgate_policy_canary_epoch 4",
            "lockgate_policy_swaps_total{outcome=\"rolled-back\"} 10",
            "lockgate_policy_verdicts_total{plugin=\"a\",hook=\"auth\",verdict=\"failed\"} 2",
            "lockgate_policy_call_seconds_bucket{plugin=\"a\",hook=\"auth\",le=\"0.000025\"} 2",
            "lockgate_policy_call_seconds_bucket{plugin=\"a\",hook=\"auth\",le=\"0.025\"} 2",
            "lockgate_policy_call_seconds_bucket{plugin=\"a\",hook=\"auth\",le=\"+Inf\"} 3",
            "lockgate_policy_call_seconds_sum{plugin=\"a\",hook=\"auth\"} 1.5",
            "lockgate_policy_paused{plugin=\"a\",hook=\"auth\"} 1",
            "lockgate_policy_pauses_total{plugin=\"a\",hook=\"auth\"} 1",
            "lockgate_policy_failures_total{plugin=\"a\",cause=\"timeout\"} 1",
            "lockgate_policy_failures_total{plugin=\"a\",cause=\"paused\"} 1",
            "lockgate_policy_last_known_total{plugin=\"a\"} 4",
            "lockgate_policy_instances_total{plugin=\"a\"} 5",
            "lockgate_policy_instances_kept{plugin=\"a\"} 3",
            "lockgate_policy_memory_peak_bytes{plugin=\"a\"} 6",
            "lockgate_policy_log_dropped_total{plugin=\"a\"} 7",
            "lockgate_policy_shadow_total{plugin=\"a\",hook=\"admission\",result=\"different\"} 12",
            "lockgate_policy_shadow_total{plugin=\"a\",hook=\"admission\",result=\"dropped\"} 14",
            "lockgate_plugin_counter_total{plugin=\"a\",counter=\"b\"} 8",
        ] {
            assert!(page.text.lines().any(|written| written == line), "{line} is not in\n{}", page.text);
        }
    }
}
