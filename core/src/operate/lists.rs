//! Commands that list: all pages of an answer, as one table.

use hyper::Method;
use lockgate_model::distance;
use serde_json::{Value, json};

use super::Done;
use super::access::Access;
use super::call::{Refused, ask};
use super::table::{bitrate, table};
use crate::http::segment;

pub(super) async fn rooms(access: &Access) -> Result<Done, Refused> {
    let rooms = all(access, "/rooms", "rooms").await?;
    let rows: Vec<_> = rooms
        .iter()
        .map(|room| {
            let number = |key: &str| room[key].as_u64().map_or("?".to_owned(), |number| number.to_string());
            let recording = text(&room["recording"]["state"]);
            let counts = ["participants", "waiting", "tracks", "watched"].map(number);
            let [participants, waiting, tracks, watched] = counts;
            [text(&room["roomName"]), participants, waiting, tracks, watched, recording]
        })
        .collect();
    let text = table(["ROOM", "PARTICIPANTS", "WAITING", "TRACKS", "WATCHED", "RECORDING"], &rows);
    Ok(Done { answer: json!({ "rooms": rooms }), text })
}

pub(super) async fn participants(access: &Access, room: &str) -> Result<Done, Refused> {
    let path = format!("/rooms/{}/participants", segment(room));
    let people = in_room(access, room, all(access, &path, "participants").await).await?;
    let rows: Vec<_> = people
        .iter()
        .map(|one| {
            let tracks = one["tracks"].as_array().map_or(0, Vec::len);
            [
                one["publisherId"].to_string(),
                text(&one["subject"]),
                text(&one["stage"]),
                text(&one["door"]),
                text(&one["peer"]),
                tracks.to_string(),
                flow(&one["sends"]),
                flow(&one["receives"]),
                text(&one["username"]),
            ]
        })
        .collect();
    let headings = ["ID", "SUBJECT", "STAGE", "DOOR", "ADDRESS", "TRACKS", "SENDS", "RECEIVES", "NAME"];
    Ok(Done { answer: json!({ "roomName": room, "participants": people }), text: table(headings, &rows) })
}

pub(super) async fn tracks(access: &Access, room: &str) -> Result<Done, Refused> {
    let path = format!("/rooms/{}", segment(room));
    let people = in_room(access, room, all(access, &path, "participants").await).await?;
    let (mut published, mut watched) = (Vec::new(), Vec::new());
    for one in &people {
        let id = one["publisherId"].to_string();
        published.extend(list(&one["tracks"]).map(|track| published_row(&id, track)));
        watched.extend(list(&one["watches"]).map(|watch| watched_row(&id, watch)));
    }
    let headings = ["PUBLISHER", "TRACK", "KIND", "SOURCE", "CODEC", "ENCODINGS", "MUTED", "RECORDED"];
    let mut text = table(headings, &published);
    text.push('\n');
    text.push_str(&table(["VIEWER", "PUBLISHER", "TRACK", "LAYER", "WHY"], &watched));
    Ok(Done { answer: json!({ "roomName": room, "participants": people }), text })
}

fn published_row(publisher: &str, track: &Value) -> [String; 8] {
    let yes = |key: &str| if track[key] == true { "yes" } else { "no" }.to_owned();
    [
        publisher.to_owned(),
        text(&track["trackId"]),
        text(&track["kind"]),
        text(&track["source"]),
        text(&track["codec"]),
        track["encodings"].to_string(),
        yes("muted"),
        yes("recorded"),
    ]
}

fn watched_row(viewer: &str, watch: &Value) -> [String; 5] {
    let layer = &watch["layer"];
    let layer = match watch["paused"] == true {
        true => "paused".to_owned(),
        false if layer.is_object() => format!("{}/{}", layer["spatial"], layer["temporal"]),
        false => String::new(),
    };
    [viewer.to_owned(), watch["publisherId"].to_string(), text(&watch["trackId"]), layer, text(&watch["reason"])]
}

fn flow(flow: &Value) -> String {
    flow["bitrate"].as_u64().map(bitrate).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The things of this name on all pages.
pub(super) async fn all(access: &Access, path: &str, name: &str) -> Result<Vec<Value>, Refused> {
    let (mut things, mut after) = (Vec::new(), String::new());
    loop {
        let mut page = ask(access, Method::GET, &format!("{path}?limit=1000{after}"), None).await?;
        if let Value::Array(more) = page[name].take() {
            things.extend(more);
        }
        after = match &page["next"] {
            Value::String(next) => format!("&after={}", segment(next)),
            Value::Number(next) => format!("&after={next}"),
            _ => return Ok(things),
        };
    }
}

/// What came of asking about a room; if there is none of this name, with the name that is most like it.
pub(super) async fn in_room<T>(access: &Access, room: &str, came: Result<T, Refused>) -> Result<T, Refused> {
    match came {
        Err(refused) if refused.is_not_found() => Err(match all(access, "/rooms", "rooms").await {
            Ok(rooms) => match nearest(room, &rooms) {
                Some(hint) => refused.with_hint(hint),
                None => refused,
            },
            Err(_) => refused,
        }),
        came => came,
    }
}

fn nearest(room: &str, rooms: &[Value]) -> Option<String> {
    let names = || rooms.iter().filter_map(|room| room["roomName"].as_str());
    if names().any(|name| name == room) {
        return None;
    }
    let far = |name: &&str| distance(&room.to_lowercase(), &name.to_lowercase());
    // Beyond that it is another name altogether.
    let near = names().min_by_key(far).filter(|name| far(name) <= room.chars().count() / 2 + 1);
    Some(match near {
        Some(name) => format!("the nearest room is {name:?}"),
        None => format!("there are {} rooms; `lockgate rooms` lists them", rooms.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_rooms_name_is_found() {
        let rooms = ["board", "lab"].map(|name| json!({ "roomName": name }));
        assert_eq!(nearest("Boatd", &rooms).unwrap(), "the nearest room is \"board\"");
        assert_eq!(nearest("board", &rooms), None, "then the participant is what there is not");
        assert!(nearest("conference", &rooms).unwrap().contains("2 rooms"));
    }

    #[test]
    fn who_watches_what_is_said_on_one_line() {
        let watch = json!({"trackId": "v", "publisherId": 7, "paused": false, "layer": {"spatial": 1, "temporal": 2}, "reason": "bandwidth"});
        assert_eq!(watched_row("8", &watch), ["8", "7", "v", "1/2", "bandwidth"]);
        let watch = json!({"trackId": "v", "publisherId": 7, "paused": true, "reason": "muted"});
        assert_eq!(watched_row("8", &watch)[3..], ["paused", "muted"]);
    }
}
