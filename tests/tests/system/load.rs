//! The load generator and a node: what one sends the other forwards.

use lockgate_tests::{Load, Node, Setup};

#[tokio::test]
async fn two_publishers_reach_six_subscribers_and_nothing_is_lost() {
    let node = Node::plain().await;
    let arguments = ["--publishers", "2", "--subscribers", "6", "--duration", "3s", "--max-loss", "0"];
    let Load { status, result, said } = Load::run(&node, &arguments).await;
    assert!(status.success(), "{said}");
    assert_eq!((&result["ok"], &result["problems"]), (&true.into(), &serde_json::json!([])), "{said}");
    assert_eq!((&result["publishers"]["joined"], &result["subscribers"]["joined"]), (&2.into(), &6.into()), "{said}");
    let received = &result["received"];
    // 2 publishers of 170 packets a second to 6 subscribers for 3 s are 6000, on a machine that keeps up.
    assert!(received["delivered"].as_u64().unwrap() > 3000, "{said}");
    assert_eq!((&received["delivered"], &received["lost"]), (&received["expected"], &0.into()), "{said}");
    assert_eq!(received["duplicates"], 0, "{said}");
    let latency = &result["latency_us"];
    assert_eq!(latency["count"], received["delivered"], "{said}");
    assert!(latency["p50"].as_u64() > Some(0) && latency["p50"].as_u64() <= latency["max"].as_u64(), "{said}");
    assert_eq!(result["subscribers"]["join_us"]["count"], 6, "{said}");
    assert!(said.contains("received/s") || said.contains("received "), "progress and result are told: {said}");
}

#[tokio::test]
async fn simulcast_arrives_in_the_encoding_that_was_asked_for_while_people_come_and_go() {
    let node = Node::plain().await;
    let arguments = [
        "--subscribers",
        "4",
        "--simulcast",
        "--max-layer",
        "mid",
        "--bitrate",
        "900 kbps",
        "--media",
        "video",
        "--churn",
        "2",
        "--duration",
        "3s",
        "--max-loss",
        "0",
    ];
    let Load { status, result, said } = Load::run(&node, &arguments).await;
    assert!(status.success(), "{said}");
    assert!(result["subscribers"]["joined"].as_u64() > Some(4), "nobody came again: {said}");
    // A frame of the encoding in the middle is two packets of 625 bytes, of the smallest one of 375, of the largest four of 938.
    let per_second = |what: &str| result["received"][what].as_f64().unwrap();
    let bytes = per_second("bits_per_second") / 8.0 / per_second("packets_per_second");
    assert!((500.0..800.0).contains(&bytes), "{bytes} a packet: {said}");
}

#[tokio::test]
async fn clients_come_by_tcp_as_well_and_nothing_is_lost() {
    let node = Node::plain().await;
    let arguments = ["--tcp", "--publishers", "2", "--subscribers", "6", "--duration", "3s", "--max-loss", "0"];
    let Load { status, result, said } = Load::run(&node, &arguments).await;
    assert!(status.success(), "{said}");
    assert_eq!((&result["publishers"]["joined"], &result["subscribers"]["joined"]), (&2.into(), &6.into()), "{said}");
    let received = result["received"]["delivered"].as_f64().unwrap();
    assert!(received > 3000.0, "{said}");
    let [came, went] = ["received", "sent"].map(|way| format!("lockgate_tcp_{way}_total"));
    assert!(node.metric(&came).await > received / 6.0 && node.metric(&went).await >= received, "{said}");
}

#[tokio::test]
async fn counting_without_decryption_agrees() {
    let node = Node::plain().await;
    let arguments = ["--subscribers", "3", "--duration", "1s", "--no-decrypt", "--max-loss", "0", "--quiet"];
    let Load { status, result, said } = Load::run(&node, &arguments).await;
    assert!(status.success(), "{said}");
    assert!(result["received"]["delivered"].as_u64().unwrap() > 400 && result["latency_us"].is_null(), "{said}");
}

#[tokio::test]
async fn a_wrong_token_is_a_clear_error_and_fails_the_run() {
    let node = Node::plain().await;
    let Load { status, result, said } = Load::run(&node, &["--token", "wrong", "--duration", "1s"]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(result["errors"]["unauthenticated"]["count"], 1, "{said}");
    assert!(said.contains("unauthenticated: ") && said.contains("1 publisher did not join"), "{said}");
}

#[tokio::test]
async fn a_room_costs_what_its_places_do_and_pauses_leave_no_holes() {
    let node = Node::start(Setup { rooms: "last_n = 2\ntop_n = 1".into(), ..Setup::default() }).await;
    let media = ["--bitrate", "100 kbps", "--fps", "10", "--talk", "1s", "--no-decrypt"];
    let course = ["--participants", "6", "--duration", "5s", "--max-loss", "0"];
    let Load { status, result, said } = Load::run(&node, &[course.as_slice(), &media].concat()).await;
    assert!(status.success(), "{said}");
    assert_eq!(result["publishers"]["joined"], 6, "{said}");
    // Two cameras of 20 packets a second and a microphone of 50 for each; all five others would be 2100 a second.
    let rate = result["received"]["packets_per_second"].as_f64().unwrap();
    assert!((300.0..800.0).contains(&rate), "{rate} a second: {said}");
    // More than once somebody came back: that takes a key frame.
    assert!(result["sent"]["key_frames_asked"].as_u64() > Some(6), "{said}");
}

/// Fifty who all see each other, of whom each is sent nine, and nine who are watched by fifty. To be run alone:
/// `cargo xtask test` builds `load`; `load --ignored --nocapture what_a_room_of_fifty`.
#[tokio::test]
#[ignore = "measures for five minutes, and needs a quiet machine"]
async fn what_a_room_of_fifty_costs_with_nine_places_is_what_nine_streams_for_each_do() {
    let media = ["--talk", "5s", "--bitrate", "150 kbps", "--fps", "15", "--no-decrypt", "--join-rate", "25"];
    let run = async |rooms: &str, who: &[&str], length: &str| {
        let course = ["--duration", length, "--threads", "1"];
        let node = Node::start(Setup { rooms: rooms.into(), ..Setup::default() }).await;
        let Load { status, result, said } = Load::run(&node, &[who, &media, &course].concat()).await;
        assert!(status.success(), "{said}");
        (node.process().used_by("media"), result["received"]["packets_per_second"].as_f64().unwrap_or(0.0))
    };
    // Coming in costs more, once: a long run less a short one is without it.
    let room = async |rooms: &str, who: &[&str]| {
        let ((long, packets), (short, _)) = (run(rooms, who, "25s").await, run(rooms, who, "5s").await);
        (long - short, packets)
    };
    let places = "last_n = 9\ntop_n = 9";
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (ours, packets) = room(places, &["--participants", "50"]).await;
        let (theirs, others) = room("", &["--publishers", "9", "--subscribers", "50"]).await;
        eprintln!(
            "50 of whom 9 are sent: {packets:.0} packets/s, {ours:.2} s of the media thread; 9 to 50: {others:.0}, {theirs:.2} s; \
             ratio {:.2}",
            ours / theirs
        );
        assert!((0.7..1.1).contains(&(packets / others)), "that is not what nine streams are: {packets} and {others}");
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[1] < 1.5, "it costs {ratios:?} times as much");
}
