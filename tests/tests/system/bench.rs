//! The benchmark runs and says everything it should. What it measures here means nothing: the machine is busy with tests.

use std::process::Command;

use lockgate_tests::program;
use serde_json::Value;

fn forward(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("forward.json");
    let mut command = Command::new(program("lockgate-bench"));
    let output = command.arg("forward").args(arguments).arg("--out").arg(&file).output().expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read(file).expect("it writes its report");
    serde_json::from_slice(&report).expect("the report is JSON")
}

#[test]
fn the_benchmark_reports_every_row_with_every_figure() {
    let report = forward(&["--quick"]);
    let rows = report["scenarios"].as_array().unwrap();
    let names = ["audio-opus", "video-burst8", "video-real"];
    let expected: Vec<_> = [1, 5].iter().flat_map(|viewers| names.map(|name| (name, *viewers))).collect();
    let reported: Vec<_> =
        rows.iter().map(|row| (row["scenario"].as_str().unwrap(), row["viewers"].as_u64().unwrap())).collect();
    assert_eq!(reported, expected);
    let positive = [
        "floor_ns",
        "ours_ns",
        "ours_nogso_ns",
        "sendto_ns",
        "ratio_to_floor",
        "latency_p50_us",
        "latency_p99_us",
        "heap_per_viewer_bytes",
        "gso_run_mean",
    ];
    for row in rows {
        for key in positive {
            assert!(row[key].as_f64().is_some_and(|value| value > 0.0), "{key} of {row}");
        }
        assert!(row["allocs_per_packet"].is_number(), "{row}");
        assert!(row["estimated_ns"].as_f64().is_none_or(|value| value > 0.0), "{row}");
    }
    assert!(!report["gates"].as_array().unwrap().is_empty());
}

#[test]
fn the_benchmark_attacks_in_every_way_and_counts_what_is_dropped() {
    let report = forward(&["--quick", "--hostile"]);
    let rows = report["hostile"].as_array().unwrap();
    let dropped = |attack: &str, reason: &str| {
        let row = rows.iter().find(|row| row["attack"] == attack).unwrap();
        let drops = row["drops"].as_array().unwrap();
        drops.iter().any(|drop| drop[0] == reason && drop[1].as_u64().unwrap() > 10)
    };
    assert!(dropped("spoofed-sources", "stray"), "{report:#}");
    assert!(dropped("unknown-ufrags", "ice-check"), "{report:#}");
    assert!(dropped("odd-lengths", "malformed"), "{report:#}");
    assert!(dropped("odd-lengths", "srtp-authentication"), "{report:#}");
    assert!(dropped("replay", "srtp-replay"), "{report:#}");
    assert!(dropped("many-sources", "unknown-source"), "{report:#}");
    assert!(dropped("nack-storm", "too-many-repairs"), "{report:#}");
    assert!(dropped("lying-reports", "feedback"), "{report:#}");
}

/// Ten thousand viewers come and go, ten at a time. The first tenth fills what the allocator keeps for itself.
#[test]
#[ignore = "takes minutes"]
fn memory_stays_flat_while_viewers_come_and_go() {
    let output = Command::new(program("lockgate-bench"))
        .args(["soak", "--joins", "10000"])
        .output()
        .expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let levels: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(levels.len() >= 10, "{text}");
    let (first, last) = (&levels[0], &levels[levels.len() - 1]);
    eprintln!("after {}: {first}\nafter {}: {last}", first["joins"], last["joins"]);
    assert_eq!(last["transports"], first["transports"], "nobody is left behind");
    for key in ["heap", "resident"] {
        let (before, after) = (first[key].as_f64().unwrap(), last[key].as_f64().unwrap());
        assert!(after < before * 1.05 + 256.0 * 1024.0, "{key}: {before} to {after}");
    }
}

#[test]
fn the_benchmark_of_decisions_reports_every_figure_and_budget() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("policy.json");
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist");
    let mut command = Command::new(program("lockgate-bench"));
    let output = command.args(["policy", "--quick", "--plugins", plugins, "--out"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for key in ["fresh_p50_us", "fresh_p99_us", "warm_p50_us", "warm_p99_us"] {
        assert!(positive(&report[key]), "{key} of {report}");
    }
    let algorithms: Vec<_> = report["auth"].as_array().unwrap().iter().map(|row| &row["algorithm"]).collect();
    assert_eq!(algorithms, ["HS256", "RS256", "ES256", "EdDSA"]);
    assert!(report["auth"].as_array().unwrap().iter().all(|row| positive(&row["p99_us"])), "{report}");
    assert!(positive(&report["guests"][0]["fresh_decisions_per_second"]) && positive(&report["guests"][0]["cost"]));
    assert!(positive(&report["join_storm"]["with"]["p99_us"]), "{report}");
    assert_eq!(report["gates"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_benchmark_of_data_channels_reports_every_figure() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("data.json");
    let mut command = Command::new(program("lockgate-bench"));
    let output = command.args(["data", "--quick", "--out"]).arg(&file).output().expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let reported: Vec<_> = rows.iter().map(|row| (&row["ordered"], row["viewers"].as_u64())).collect();
    let (yes, no) = (&Value::Bool(true), &Value::Bool(false));
    assert_eq!(reported, [(yes, Some(1)), (no, Some(1)), (yes, Some(3)), (no, Some(3))]);
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for row in rows {
        assert_eq!(
            row["delivered"].as_u64(),
            row["sent"].as_u64().zip(row["viewers"].as_u64()).map(|(sent, by)| sent * by)
        );
        assert!(positive(&row["ns_per_message"]) && positive(&row["latency_us"]["p99"]), "{row}");
    }
    assert!(positive(&report["memory"]["viewer_bytes"]) && positive(&report["memory"]["channel_bytes"]), "{report}");
    let behind = &report["behind"];
    assert_eq!(
        behind["delivered"].as_u64(),
        behind["sent"].as_u64().map(|sent| sent * 9),
        "nobody else loses anything"
    );
    assert_eq!(behind["closed"], 1, "{behind}");
}

#[test]
fn the_benchmark_of_recording_reports_every_figure() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("record.json");
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist");
    let mut command = Command::new(program("lockgate-bench"));
    let output = command.args(["record", "--quick", "--plugins", plugins, "--out"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for key in ["cpu_us_per_participant_second", "participants_per_core"] {
        assert!(positive(&report[key]), "{key} of {report}");
    }
    assert!(report["core_overhead_ratio"].is_number(), "{report}");
    let fed = &report["fed"][0];
    // A camera of 1 Mbit/s and 48 kbit/s of sound.
    let rate = fed["media_mbit_per_participant"].as_f64().unwrap();
    assert!((1.0..1.1).contains(&rate) && positive(&fed["recorder_us"]), "{fed}");
    // Everything that was sent is in the files, and little else.
    let disk = fed["disk_bytes_per_media_byte"].as_f64().unwrap();
    assert!((1.0..1.1).contains(&disk), "{fed}");
    let calls = report["calls"].as_array().unwrap();
    let shapes: Vec<_> = calls.iter().map(|row| (row["participants"].as_u64(), row["viewers"].as_u64())).collect();
    assert_eq!(shapes, [(Some(2), Some(0)), (Some(2), Some(3))]);
    for row in calls {
        for key in ["core_us_without", "core_us_with", "recorder_us", "recorder_us_with_ends"] {
            assert!(positive(&row[key]), "{key} of {row}");
        }
        assert!(positive(&row["resident_bytes"][1]) && row["core_overhead_ratios"][0].is_number(), "{row}");
    }
    assert!(!report["gates"].as_array().unwrap().is_empty(), "{report}");
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["record.json"], "recordings are removed");
}
