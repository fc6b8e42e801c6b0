//! The result, for people and as JSON.

use std::fmt;
use std::time::Duration;

use lockgate_load::{Delivery, Histogram, Snapshot, Uplink};
use serde::Serialize;

use crate::failure::Failures;
use crate::ledger::{Entries, Side};

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether all is as it should be; `problems` says what is not.
    pub(crate) ok: bool,
    pub(crate) problems: Vec<String>,
    /// Ended by Ctrl-C.
    pub(crate) interrupted: bool,
    /// From the first client to the end.
    pub(crate) seconds: f64,
    /// Of these, with all clients in.
    pub(crate) steady_seconds: f64,
    pub(crate) publishers: Clients,
    pub(crate) subscribers: Clients,
    pub(crate) sent: Uplink,
    pub(crate) received: Received,
    /// From the publisher's send call to the kernel's receipt for the subscriber; absent without decryption.
    pub(crate) latency_us: Option<Times>,
    pub(crate) errors: Failures,
    pub(crate) generator: Generator,
}

/// Clients of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Clients {
    pub(crate) asked: u64,
    pub(crate) joined: u64,
    pub(crate) refused: u64,
    pub(crate) lost: u64,
    /// From opening the WebSocket (or the HTTP request) to the first packet of media; of publishers, to where they may send.
    pub(crate) join_us: Option<Times>,
}

/// What subscribers got.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    #[serde(flatten)]
    pub(crate) counts: Delivery,
    pub(crate) lost: u64,
    /// Of what was expected, 0 to 1.
    pub(crate) loss: f64,
    pub(crate) packets_per_second: f64,
    pub(crate) bits_per_second: f64,
}

/// Times in µs.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// The program itself, while all clients were in.
#[derive(Debug, Serialize)]
pub(crate) struct Generator {
    /// Of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) threads: usize,
    pub(crate) busiest_thread_percent: f64,
    pub(crate) decrypted: bool,
    /// It was the bottleneck, or nearly: the numbers say little about the server.
    pub(crate) saturated: bool,
}

/// What was measured between two moments.
pub(crate) struct Span {
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    pub(crate) busiest: Duration,
    pub(crate) delivered: u64,
    pub(crate) bytes: u64,
}

/// All that a summary is made of.
pub(crate) struct Measured {
    pub(crate) entries: Entries,
    pub(crate) all: Snapshot,
    pub(crate) steady: Span,
    pub(crate) took: Duration,
    pub(crate) interrupted: bool,
    pub(crate) threads: usize,
    pub(crate) decrypted: bool,
    /// In percent.
    pub(crate) max_loss: Option<f64>,
}

impl Summary {
    pub(crate) fn new(measured: Measured) -> Self {
        let problems = problems(&measured);
        let Measured { entries, all, steady, took, interrupted, threads, decrypted, .. } = measured;
        let seconds = steady.took.as_secs_f64().max(1e-9);
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
        let counts = all.delivery;
        let busiest_thread_percent = percent(steady.busiest);
        Self {
            ok: problems.is_empty(),
            problems,
            interrupted,
            seconds: took.as_secs_f64(),
            steady_seconds: steady.took.as_secs_f64(),
            publishers: Clients::new(&entries.publishers),
            subscribers: Clients::new(&entries.subscribers),
            sent: all.uplink,
            received: Received {
                counts,
                lost: counts.lost(),
                loss: counts.loss(),
                packets_per_second: steady.delivered as f64 / seconds,
                bits_per_second: 8.0 * steady.bytes as f64 / seconds,
            },
            latency_us: Times::of(&all.latency),
            errors: entries.errors,
            generator: Generator {
                cpu_percent: percent(steady.cpu),
                threads,
                busiest_thread_percent,
                decrypted,
                saturated: busiest_thread_percent > SATURATED
                    || all.uplink.frames_left_out > 0
                    || all.uplink.not_sent > 0,
            },
        }
    }
}

/// One sentence for each thing that is not as it should be.
fn problems(measured: &Measured) -> Vec<String> {
    let Measured { entries, all, max_loss, .. } = measured;
    let mut problems = Vec::new();
    let mut say = |count: u64, kind: &str, what: &str| {
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            problems.push(format!("{count} {kind}{plural} {what}"));
        }
    };
    for (side, name) in [(&entries.publishers, "publisher"), (&entries.subscribers, "subscriber")] {
        say(side.refused, name, "did not join");
        say(side.asked - side.joined - side.refused, name, "had not joined by the end");
        say(side.lost, name, "lost the connection");
    }
    if entries.subscribers.joined > 0 && all.delivery.delivered == 0 {
        problems.push("nothing was received".into());
    }
    let loss = 100.0 * all.delivery.loss();
    if let Some(most) = max_loss.filter(|most| loss > *most) {
        problems.push(format!("{loss:.3} % of the packets were lost, more than {most} %"));
    }
    problems
}

impl Clients {
    fn new(side: &Side) -> Self {
        let Side { asked, joined, refused, lost, .. } = *side;
        Self { asked, joined, refused, lost, join_us: Times::of(&side.join) }
    }
}

impl Times {
    /// None without any.
    pub(crate) fn of(times: &Histogram) -> Option<Self> {
        (times.count() > 0).then(|| Self {
            count: times.count(),
            p50: times.quantile_us(0.5),
            p90: times.quantile_us(0.9),
            p99: times.quantile_us(0.99),
            max: times.max_us(),
        })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1000.0;
        write!(
            f,
            "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.max)
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.interrupted { ", interrupted" } else { "" };
        writeln!(f, "After {:.1} s, {:.1} s of them with all clients in{how}:", self.seconds, self.steady_seconds)?;
        for (clients, name, until) in [
            (&self.publishers, "publishers", "connected after"),
            (&self.subscribers, "subscribers", "first media after"),
        ] {
            let Clients { asked, joined, refused, lost, join_us } = clients;
            writeln!(f, "  {name:<12} {joined} of {asked} joined, {refused} refused, {lost} lost later")?;
            if let Some(times) = join_us {
                writeln!(f, "{:15}{until} {times}", "")?;
            }
        }
        let (sent, got) = (&self.sent, &self.received);
        writeln!(
            f,
            "  sent         {} packets; the server reports {} lost and asked for {} again",
            sent.packets, sent.lost, sent.asked_again
        )?;
        let Delivery {
            expected,
            delivered,
            duplicates,
            reordered,
            recovered,
            probes,
            early,
            unreadable,
            feedback_sent,
            ..
        } = got.counts;
        writeln!(
            f,
            "  received     {delivered} of {expected} packets, {} lost ({:.4} %)\n               \
             {duplicates} duplicates, {reordered} out of order, {recovered} after a request, {probes} probes, {early} before the keys, {unreadable} unreadable",
            got.lost,
            100.0 * got.loss
        )?;
        writeln!(f, "               {:.0} packets/s, {:.1} Mbit/s", got.packets_per_second, got.bits_per_second / 1e6)?;
        match feedback_sent {
            0 => writeln!(f, "  feedback     none: not offered, or not taken")?,
            count => writeln!(f, "  feedback     {count} transport-wide reports of arrivals sent")?,
        }
        match &self.latency_us {
            Some(times) => writeln!(
                f,
                "  latency      {times}\n               (same clock only: publisher and subscriber on one machine)"
            )?,
            None => writeln!(f, "  latency      not measured")?,
        }
        for (code, counted) in self.errors.iter() {
            writeln!(f, "  error        {} × {code}: {}", counted.count, counted.first)?;
        }
        let own = &self.generator;
        writeln!(
            f,
            "  generator    {:.0} % of a core; the busiest of {} media threads {:.0} %",
            own.cpu_percent, own.threads, own.busiest_thread_percent
        )?;
        if own.saturated {
            writeln!(
                f,
                "  warning      the generator was at its limit ({} frames were left out, {} datagrams not sent): give it more cores",
                sent.frames_left_out, sent.not_sent
            )?;
        }
        match self.problems.as_slice() {
            [] => write!(f, "All is well."),
            problems => write!(f, "Not well: {}.", problems.join("; ")),
        }
    }
}

/// Percent of a core.
const SATURATED: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn measured() -> Measured {
        let side = |count| Side { asked: count, joined: count, ..Side::default() };
        let entries = Entries { publishers: side(1), subscribers: side(2), ..Entries::default() };
        let delivery = Delivery { expected: 1000, delivered: 999, feedback_sent: 40, ..Delivery::default() };
        let mut all = Snapshot { delivery, ..Snapshot::default() };
        all.latency.note_us(1500);
        let second = Duration::from_secs(1);
        let steady = Span { took: 2 * second, cpu: second, busiest: second, delivered: 900, bytes: 90_000 };
        Measured {
            entries,
            all,
            steady,
            took: 3 * second,
            interrupted: false,
            threads: 1,
            decrypted: true,
            max_loss: None,
        }
    }

    #[test]
    fn a_run_is_well_until_something_is_not() {
        let summary = Summary::new(measured());
        assert!(summary.ok, "{summary}");
        assert!(summary.to_string().contains("999 of 1000 packets, 1 lost (0.1000 %)"), "{summary}");
        assert!(summary.to_string().contains("40 transport-wide reports of arrivals sent"), "{summary}");
        let strict = Summary::new(Measured { max_loss: Some(0.05), ..measured() });
        assert_eq!(strict.problems, ["0.100 % of the packets were lost, more than 0.05 %"]);
        let mut refused = measured();
        refused.entries.subscribers.joined = 1;
        refused.entries.subscribers.refused = 1;
        refused.entries.errors.note(Failure::new("room-full", "no place"));
        let refused = Summary::new(refused);
        assert_eq!(refused.problems, ["1 subscriber did not join"]);
        assert!(refused.to_string().contains("1 × room-full: no place"), "{refused}");
    }

    #[test]
    fn the_result_can_be_read_by_machines() {
        let value = serde_json::to_value(Summary::new(measured())).unwrap();
        assert_eq!(value["received"]["loss"], 0.001);
        assert_eq!(value["received"]["packets_per_second"], 450.0);
        assert_eq!(value["received"]["feedback_sent"], 40);
        assert_eq!(value["generator"]["cpu_percent"], 50.0);
        assert!(value["latency_us"]["p99"].as_u64().unwrap() >= 1500);
    }
}
