//! Commands that look at the node itself: how it does, what is being decided, what was recorded.

use std::io::Write;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Done;
use super::access::Access;
use super::call::{Refused, ask};
use super::follow::{is_for_now, is_read};
use super::lists::{all, list, text};
use super::table::{bytes, moment, span, table};

/// How the node is, its workers and its plugins.
pub(super) async fn node(access: &Access) -> Result<Done, Refused> {
    let answer = ask(access, Method::GET, "/node", None).await?;
    let media = &answer["media"];
    let whole = [
        text(&answer["version"]),
        span(millis(&answer["upMs"])),
        answer["rooms"].to_string(),
        answer["connections"].to_string(),
        media["tracks"].to_string(),
        media["subscriptions"].to_string(),
        recorder(&answer["recorder"]),
        answer["drainMs"].as_u64().map(|left| span(Duration::from_millis(left))).unwrap_or_default(),
    ];
    let headings = ["VERSION", "UP", "ROOMS", "CONNECTIONS", "TRACKS", "SUBSCRIPTIONS", "RECORDER", "ENDS WITHIN"];
    let workers: Vec<_> = list(&answer["workers"]).map(worker_row).collect();
    let plugins: Vec<_> = list(&answer["policy"]["plugins"]).map(plugin_row).collect();
    let parts = [
        table(headings, &[whole]),
        table(["WORKER", "STATE", "LOAD"], &workers),
        table(["PLUGIN", "ASKED", "DENIED", "FAILED"], &plugins),
    ];
    Ok(Done { text: parts.join("\n"), answer })
}

fn recorder(recorder: &Value) -> String {
    match recorder["attached"] == true {
        true => format!("{} tracks", recorder["tracks"]),
        false => "none".to_owned(),
    }
}

fn worker_row(worker: &Value) -> [String; 3] {
    let load = worker["load"].as_f64().map(|load| format!("{:.0} %", load * 100.0)).unwrap_or_default();
    [worker["worker"].to_string(), text(&worker["state"]), load]
}

fn plugin_row(plugin: &Value) -> [String; 4] {
    let sum = |of: &Value, key: &str| list(of).filter_map(|one| one[key].as_u64()).sum::<u64>().to_string();
    let (hooks, shadow) = (&plugin["hooks"], if plugin["shadow"] == true { " (shadow)" } else { "" });
    let name = format!("{}{shadow}", text(&plugin["plugin"]));
    [name, sum(hooks, "calls"), sum(hooks, "denied"), sum(&plugin["failures"], "count")]
}

/// What was recorded, the last sessions first.
pub(super) async fn recordings(access: &Access) -> Result<Done, Refused> {
    let sessions = all(access, "/recordings", "recordings").await?;
    let rows: Vec<_> = sessions.iter().map(session_row).collect();
    let headings = ["ROOM", "SESSION", "BEGAN", "LENGTH", "SIZE", "FILES", "SEALED", "END"];
    Ok(Done { text: table(headings, &rows), answer: json!({ "recordings": sessions }) })
}

fn session_row(session: &Value) -> [String; 8] {
    let end = match session["end"].as_str() {
        Some(end) => [Some(end), session["reason"].as_str()].into_iter().flatten().collect::<Vec<_>>().join(": "),
        None => "goes on".to_owned(),
    };
    [
        text(&session["roomName"]),
        text(&session["sessionId"]),
        moment(&session["startedAtMs"]),
        span(millis(&session["durationMs"])),
        bytes(session["bytes"].as_u64().unwrap_or_default()),
        list(&session["files"]).count().to_string(),
        if session["sealed"] == true { "yes" } else { "no" }.to_owned(),
        end,
    ]
}

/// Writes what is decided from now on, but for who operators are, until the node ends or says no. A node remembers decisions only while somebody looks.
pub(super) async fn decisions(
    access: &Access,
    room: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Refused> {
    let mut after = None;
    loop {
        let since = after.map(|after: u64| format!("&after={after}")).unwrap_or_default();
        let page = match ask(access, Method::GET, &format!("/decisions?limit=1000{since}"), None).await {
            Err(Refused::Away(_)) if after.is_some() => return Ok(()),
            Err(Refused::No { status, .. }) if after.is_some() && is_for_now(status) => {
                sleep(LOOK_EVERY).await;
                continue;
            }
            page => page?,
        };
        let in_room = |one: &&Value| room.is_none_or(|room| one["roomName"] == room);
        let wanted = list(&page["decisions"]).filter(|one| !is_look(one)).filter(in_room);
        let mut said: String = wanted.map(|one| if json { format!("{one}\n") } else { line(one) }).collect();
        let missed = page["missed"].as_u64().unwrap_or_default();
        if missed > 0 && after.is_some() && !json {
            said.push_str(&format!("… and {missed} more, which came too quickly\n"));
        }
        if !is_read(out, &said) {
            return Ok(());
        }
        after = page["next"].as_u64().or(after);
        sleep(LOOK_EVERY).await;
    }
}

/// Who an operator is: asked at each look, and nothing that one looks for.
fn is_look(decision: &Value) -> bool {
    decision["hook"] == "auth" && decision["door"] == "admin"
}

/// When, what was asked, what came of it, where and about whom; what each plugin said; how long it took.
fn line(one: &Value) -> String {
    let [asked, denied] = ["asked", "denied"].map(|key| one[key].as_u64().unwrap_or_default());
    let verdict = match denied {
        0 => "allow".to_owned(),
        _ if denied == asked => "deny".to_owned(),
        _ => format!("deny {denied} of {asked}"),
    };
    let quoted = |key: &str| one[key].as_str().map_or_else(|| "-".to_owned(), |text| format!("{text:?}"));
    let words: Vec<_> = list(&one["plugins"]).map(word).chain(one["host"].as_str().map(str::to_owned)).collect();
    let why = one["denial"]["message"].as_str().map(|why| format!(" {why:?}")).unwrap_or_default();
    let (time, hook) = (moment(&one["timeMs"]), text(&one["hook"]));
    let [room, subject] = ["roomName", "subject"].map(quoted);
    format!("{time} {hook:<12} {verdict:<5} {room} {subject} {} {} µs{why}\n", words.join(","), one["us"])
}

fn word(word: &Value) -> String {
    let failed = word["failed"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{}={}{failed}", text(&word["plugin"]), text(&word["said"]))
}

fn millis(ms: &Value) -> Duration {
    Duration::from_millis(ms.as_u64().unwrap_or_default())
}

/// Well within the time for which a node goes on remembering after a look (15 s).
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_one_line_with_what_each_plugin_said() {
        let decision = json!({
            "id": 1, "timeMs": 0, "hook": "admission", "roomName": "den\n", "subject": "42", "asked": 1, "denied": 1, "us": 153, "epoch": 1,
            "denial": {"code": "forbidden", "message": "full"},
            "plugins": [{"plugin": "jwt-auth", "said": "abstain", "us": 1}, {"plugin": "limits", "said": "deny", "failed": "trap", "us": 2}],
        });
        let said = line(&decision);
        let rest = said.strip_prefix("1970-01-01T00:00:00.000Z ").unwrap_or_else(|| panic!("{said}"));
        assert_eq!(rest, "admission    deny  \"den\\n\" \"42\" jwt-auth=abstain,limits=deny (trap) 153 µs \"full\"\n");
        let some = json!({ "hook": "recording", "asked": 4, "denied": 1, "host": "late", "us": 7, "plugins": [] });
        assert!(line(&some).ends_with("recording    deny 1 of 4 - - late 7 µs\n"), "{}", line(&some));
    }

    #[test]
    fn a_session_says_how_it_ended_or_that_it_goes_on() {
        let session = json!({ "roomName": "den", "sessionId": "1-1", "startedAtMs": 0, "durationMs": 61_000, "bytes": 2_500_000, "files": [{}, {}], "sealed": false });
        let row = session_row(&session);
        assert_eq!(
            (row[3].as_str(), row[4].as_str(), row[5].as_str(), row[7].as_str()),
            ("1m 1s", "2.5 MB", "2", "goes on")
        );
        let failed = json!({ "end": "failed", "reason": "disk full" });
        assert_eq!(session_row(&failed)[7], "failed: disk full");
    }
}
