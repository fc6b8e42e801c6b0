//! Other plugins in a running node: how that is brought about, what it costs those who are in, and that it is taken back if it is bad.

use std::path::Path;

use lockgate_tests::{Client, Load, Node, ROOM, Setup, Token, camera_offer, until};
use serde_json::{Value, json};

const NOTHING: &str = "fault = \"none\"";
const DENIES: &str = "fault = \"deny\"";

/// A node with a plugin that allows everything about subscriptions, until it is configured otherwise.
async fn node(watch: bool) -> Node {
    let policy =
        format!("watch = {watch}\n[policy.canary]\nmin_answers = 8\n[policy.log]\ndirectory = \"decisions\"\n");
    Node::start(Setup { faulty: Some(NOTHING.into()), policy, ..Setup::default() }).await
}

/// Alice publishes, and Bob is told of her.
async fn alice_and_bob(node: &Node) -> (Client, Client) {
    let (mut alice, _) = node.enter(&Token::of(42, "Alice"), ROOM).await;
    assert_eq!(alice.ask(camera_offer()).await["tracks"][0]["accepted"], true);
    let (mut bob, _) = node.enter(&Token::of(7, "Bob"), ROOM).await;
    bob.hear_type("new-publisher").await;
    (alice, bob)
}

async fn epoch(node: &Node) -> u64 {
    node.metric("lockgate_policy_epoch").await as u64
}

async fn reaches(node: &Node, wanted: u64) {
    until(&format!("epoch {wanted}"), async || (epoch(node).await == wanted).then_some(())).await;
}

async fn swaps(node: &Node, outcome: &str) -> u64 {
    node.metric(&format!("lockgate_policy_swaps_total{{outcome=\"{outcome}\"}}")).await as u64
}

#[tokio::test]
async fn an_operator_has_plugins_replaced_and_those_who_are_in_are_asked_about_again() {
    let mut node = node(false).await;
    let (_alice, mut bob) = alice_and_bob(&node).await;
    let before = node.plugins().await;
    assert_eq!((&before["epoch"], before["plugins"].as_array().map(Vec::len)), (&json!(1), Some(4)));
    node.reconfigure(NOTHING, "fault = \"deny\"\nat = [\"subscription\"]");
    let (status, answer) = node.reload().await;
    assert_eq!((status, &answer["outcome"], &answer["epoch"]), (200, &json!("swapped"), &json!(2)), "{answer}");
    assert_eq!(answer["plugins"][3]["name"], "faulty");
    // Nobody but the plugins changed: Bob stays, and does not see Alice any more.
    bob.hear_type("publisher-left").await;
    assert!(!bob.has_heard(|said| said["type"] == "revoked" && said["what"] == "stay"));
    node.reconfigure(DENIES, NOTHING);
    let (_, answer) = node.reload().await;
    assert_eq!((&answer["outcome"], &answer["epoch"]), (&json!("swapped"), &json!(3)), "{answer}");
    bob.hear_type("new-publisher").await;

    let (_, answer) = node.reload().await;
    assert_eq!((&answer["outcome"], &answer["epoch"]), (&json!("unchanged"), &json!(3)), "{answer}");
    let refused = node.post("/admin/v1/policy/reload", Some(&Token::of(7, "Bob")), &json!({})).await;
    assert_eq!(refused.status, 400, "it takes no body: {refused:?}");
    assert!(node.terminate().await.success());
    let verified = node.policy_command(&["verify-log", "decisions"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let log = std::fs::read_to_string(node.folder().join("decisions/decisions-000001.jsonl")).expect("there is a log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "swap")
        .map(|line| (line["from"]["epoch"].as_u64(), line["to"]["epoch"].as_u64(), line["why"].as_str()))
        .collect();
    let why = Some("the operator 99");
    assert_eq!(told, [(Some(1), Some(2), why), (Some(2), Some(3), why)]);
    assert!(lines.iter().any(|line| line["kind"] == "question" && line["epoch"] == 2 && line["why"] == "recheck"));
}

#[tokio::test]
async fn a_node_is_ready_while_a_plugin_that_answers_lets_people_in() {
    let node = node(true).await;
    let answers = async |status| {
        until(&format!("/ready with {status}"), async || {
            let answer = node.get("/ready").await;
            (answer.status == status).then_some(answer.body)
        })
        .await
    };
    answers(200).await;
    let (asked, tried) = ("hooks = [\"auth\"]", "hooks = [\"auth\"]\nshadow = true");
    node.reconfigure(asked, tried);
    assert!(answers(503).await.contains("no plugin is asked for auth: nobody can come in"));
    node.reconfigure(tried, asked);
    answers(200).await;
}

#[tokio::test]
async fn a_changed_file_and_a_hangup_are_noticed_and_what_is_wrong_changes_nothing() {
    let node = node(true).await;
    let (mut alice, mut bob) = alice_and_bob(&node).await;
    node.reconfigure(NOTHING, DENIES);
    reaches(&node, 2).await;
    // Bob, and Alice as well: this plugin denies everything, and so their stay.
    for client in [&mut alice, &mut bob] {
        client.hear_type("revoked").await;
    }
    node.reconfigure(DENIES, "fault = \"nonsense\"");
    until("the refusal", async || (swaps(&node, "refused").await == 1).then_some(())).await;
    let (status, answer) = node.reload().await;
    let problem = answer["problems"][0].as_str().unwrap_or_default();
    assert_eq!((status, &answer["outcome"], &answer["epoch"]), (422, &json!("refused"), &json!(2)), "{answer}");
    assert!(problem.contains("plugin \"faulty\"") && problem.contains("; correct the plugin's settings"), "{answer}");
    node.reconfigure("watch = true", "watsh = true");
    let (status, answer) = node.reload().await;
    let problem = answer["problems"][0].as_str().unwrap_or_default();
    assert!(status == 422 && problem.contains("unknown key; did you mean \"watch\"?"), "{answer}");
    assert_eq!(epoch(&node).await, 2);
    node.reconfigure("watsh = true", "watch = false");
    node.reconfigure("fault = \"nonsense\"", NOTHING);
    node.reconfigure("workers = 1", "workers = 2");
    node.process().hang_up();
    reaches(&node, 3).await;
    node.enter(&Token::of(8, "Eve"), ROOM).await;
    let told = |log: &str| log.contains("restart the node") && log.contains("[media]");
    until("what counts after a restart", async || told(&node.process().log()).then_some(())).await;
}

#[tokio::test]
async fn plugins_that_fail_are_taken_back_by_themselves() {
    let node = node(false).await;
    let (_alice, mut bob) = alice_and_bob(&node).await;
    node.reconfigure(NOTHING, "fault = \"trap\"");
    let (_, answer) = node.reload().await;
    assert_eq!((&answer["outcome"], &answer["fallback"]), (&json!("swapped"), &json!(1)), "{answer}");
    let mut stranger = node.connect().await;
    stranger.authenticate(&Token::of(8, "Eve")).await;
    let mut enters = async || stranger.ask(json!({ "type": "join-room", "roomName": "another" })).await;
    // Those who are in were asked about at most five times; three more are judged with them.
    assert_eq!(enters().await["code"], "policy-unavailable");
    let answers = async || {
        enters().await;
        (swaps(&node, "rolled-back").await == 1).then_some(())
    };
    until("those before to answer", answers).await;
    assert_eq!(epoch(&node).await, 1);
    node.enter(&Token::of(9, "Max"), "another").await;
    assert!(
        !bob.has_heard(|said| said["type"] == "revoked" || said["type"] == "publisher-left"),
        "nobody lost anything"
    );
    assert!(node.process().log().contains("new plugins did worse: those before answer again"));
    let pong = bob.ask(json!({ "type": "ping" })).await;
    assert_eq!(pong["type"], "pong");
}

/// The same component with another digest: with a section that nobody reads.
fn put(from: &Path, to: &Path, mark: u8) {
    let mut bytes = std::fs::read(from).expect("the plugins are built");
    bytes.extend([0, 2, 1, mark]);
    let next = to.with_extension("next");
    std::fs::write(&next, bytes).expect("the folder is ours");
    std::fs::rename(next, to).expect("the folder is ours");
}

#[tokio::test]
async fn a_hundred_swaps_under_load_lose_no_decision_and_no_packet() {
    let node = node(false).await;
    let file = node.folder().join("policy.wasm");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist/subscription-policy.wasm");
    put(&shipped, &file, 0);
    let config = std::fs::read_to_string(node.folder().join("config.toml")).expect("it is there");
    let was = config.lines().find(|line| line.starts_with("file = ") && line.contains("subscription-policy"));
    node.reconfigure(was.expect("the plugin is configured"), "file = \"policy.wasm\"");
    let media = ["--publishers", "2", "--subscribers", "6", "--churn", "4", "--duration", "20s", "--max-loss", "0"];
    let swapping = async {
        for number in 1..=100 {
            put(&shipped, &file, number % 2);
            let (status, answer) = node.reload().await;
            assert_eq!((status, &answer["outcome"]), (200, &json!("swapped")), "{number}: {answer}");
        }
    };
    let joining = async {
        for number in 0..100 {
            let (mut client, _) = node.enter(&Token::of(1000 + number, "Ann"), ROOM).await;
            client.ask(json!({ "type": "leave-room", "roomName": ROOM })).await;
        }
    };
    let (Load { status, result, said }, (), ()) = tokio::join!(Load::run(&node, &media), swapping, joining);
    assert!(status.success(), "{said}");
    assert_eq!((&result["received"]["lost"], &result["problems"]), (&0.into(), &json!([])), "{said}");
    assert_eq!(result["errors"], json!({}), "{said}");
    assert!(result["received"]["delivered"].as_u64() > Some(10_000), "{said}");
    assert_eq!((swaps(&node, "swapped").await, swaps(&node, "refused").await, epoch(&node).await), (100, 0, 101));
    assert_eq!(node.metric("lockgate_policy_overloaded_total").await, 0.0);
    let page = node.get("/metrics").await.body;
    assert!(!page.lines().any(|line| line.starts_with("lockgate_policy_failures_total{")), "{page}");
    println!(
        "{} packets were delivered, none lost, and {} people came in",
        result["received"]["delivered"], result["subscribers"]["joined"]
    );
}
