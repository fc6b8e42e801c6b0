//! Commands that change something.

use clap::ValueEnum;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::call::{Refused, ask};
use super::lists::in_room;
use super::table::table;
use super::{Done, Drain, Kick, Mute, Record, Revoke};
use crate::http::segment;

pub(super) async fn kick(access: &Access, kick: &Kick) -> Result<Done, Refused> {
    let Kick { room, participant, reason, .. } = kick;
    let reason = reason.as_ref().map(|reason| format!("?reason={}", segment(reason))).unwrap_or_default();
    let path = format!("/rooms/{}/participants/{participant}{reason}", segment(room));
    let answer = in_room(access, room, ask(access, Method::DELETE, &path, None).await).await?;
    Ok(Done { text: format!("participant {participant} is out of {room:?}\n"), answer })
}

pub(super) async fn mute(access: &Access, mute: &Mute) -> Result<Done, Refused> {
    let Mute { room, participant, track, undo, .. } = mute;
    let path = format!("/rooms/{}/participants/{participant}/mute", segment(room));
    let body = json!({ "muted": !undo, "trackId": track });
    let answer = in_room(access, room, ask(access, Method::POST, &path, Some(&body)).await).await?;
    let tracks = words(&answer["tracks"]);
    let text = match (tracks.is_empty(), undo) {
        (true, _) => format!("participant {participant} publishes nothing\n"),
        (false, false) => format!("silent: {tracks}\n"),
        (false, true) => format!("forwarded again: {tracks}\n"),
    };
    Ok(Done { answer, text })
}

pub(super) async fn record(access: &Access, record: &Record) -> Result<Done, Refused> {
    let Record { room, action, tracks, .. } = record;
    let mut body = json!({ "action": name_of(action) });
    if !tracks.is_empty() {
        body["trackIds"] = json!(tracks);
    }
    let path = format!("/rooms/{}/recording", segment(room));
    let answer = in_room(access, room, ask(access, Method::POST, &path, Some(&body)).await).await?;
    let word = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let mut text = format!("{}: session {}, tracks: {}\n", word("state"), word("sessionId"), words(&answer["tracks"]));
    for refused in answer["refused"].as_array().into_iter().flatten() {
        let [track, code, message] =
            ["trackId", "code", "message"].map(|key| refused[key].as_str().unwrap_or_default());
        text.push_str(&format!("refused: {track}: {message} ({code})\n"));
    }
    Ok(Done { answer, text })
}

pub(super) async fn revoke(access: &Access, revoke: &Revoke) -> Result<Done, Refused> {
    let Revoke { subject, room, participant, what, track, reason, hold, .. } = revoke;
    let mut body = Map::from_iter([("what".to_owned(), name_of(what).into())]);
    body.extend(track.iter().map(|track| ("trackId".to_owned(), track.as_str().into())));
    body.extend(reason.iter().map(|reason| ("reason".to_owned(), reason.as_str().into())));
    body.extend(hold.map(|hold| ("holdMs".to_owned(), crate::drain::milliseconds(hold).into())));
    let body = Value::Object(body);
    let answer = match (room, participant) {
        (Some(room), Some(participant)) => {
            let path = format!("/rooms/{}/participants/{participant}/revoke", segment(room));
            in_room(access, room, ask(access, Method::POST, &path, Some(&body)).await).await?
        }
        _ => {
            let path = format!("/subjects/{}/revoke", segment(subject.as_deref().unwrap_or_default()));
            ask(access, Method::POST, &path, Some(&body)).await?
        }
    };
    let places = answer["revoked"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = places
        .iter()
        .map(|place| [place["roomName"].as_str().unwrap_or_default().to_owned(), place["publisherId"].to_string()])
        .collect();
    let text = if rows.is_empty() { "nobody was in\n".to_owned() } else { table(["ROOM", "ID"], &rows) };
    Ok(Done { answer, text })
}

pub(super) async fn drain(access: &Access, drain: &Drain) -> Result<Done, Refused> {
    if drain.stop {
        let answer = ask(access, Method::DELETE, "/drain", None).await?;
        return Ok(Done { text: "the node lets people in\n".to_owned(), answer });
    }
    let body = json!({ "withinMs": crate::drain::milliseconds(drain.within) });
    let answer = ask(access, Method::POST, "/drain", Some(&body)).await?;
    let text = format!(
        "the node lets nobody in any more; it ends when its {} connections have, or in {} s\n",
        answer["connections"],
        drain.within.as_secs()
    );
    Ok(Done { answer, text })
}

pub(super) async fn reload(access: &Access) -> Result<Done, Refused> {
    let answer = ask(access, Method::POST, "/policy/reload", None).await?;
    let text = format!("{}\n{}", answer["outcome"].as_str().unwrap_or_default(), shown(&answer));
    Ok(Done { answer, text })
}

pub(super) async fn plugins(access: &Access) -> Result<Done, Refused> {
    let answer = ask(access, Method::GET, "/policy", None).await?;
    Ok(Done { text: shown(&answer), answer })
}

/// Which plugins answer.
fn shown(answer: &Value) -> String {
    let mut rows = Vec::new();
    for (place, set) in [("live", answer), ("canary", &answer["canary"])] {
        for plugin in set["plugins"].as_array().into_iter().flatten() {
            let text = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
            let digest: String = text("sha256").chars().take(DIGEST).collect();
            rows.push([place.to_owned(), set["epoch"].to_string(), text("name"), digest, words(&plugin["hooks"])]);
        }
    }
    table(["PLACE", "EPOCH", "PLUGIN", "SHA256", "HOOKS"], &rows)
}

fn words(list: &Value) -> String {
    let words: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(" ")
}

/// The name of a choice, as the command line and the interface have it.
fn name_of(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// How many digits of a digest tell files apart for people.
const DIGEST: usize = 12;

#[cfg(test)]
mod tests {
    use super::super::{StartOrStop, What};
    use super::*;

    #[test]
    fn choices_go_over_the_wire_by_their_names() {
        assert_eq!(name_of(&StartOrStop::Start), "start");
        assert_eq!(name_of(&What::Publication), "publication");
    }

    #[test]
    fn plugins_of_a_canary_are_listed_apart() {
        let one = |epoch: u64| json!({"epoch": epoch, "plugins": [{"name": "a", "sha256": "0".repeat(64), "hooks": ["auth", "admission"]}]});
        let mut answer = one(1);
        answer["canary"] = one(2);
        let text = shown(&answer);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("canary  2") && text.contains("000000000000  auth admission"), "{text}");
    }
}
