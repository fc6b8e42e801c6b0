//! `/admin/v1` is what its OpenAPI document says: every operation in it is called, and every answer held against its schemas.
//!
//! The document is what tests are made from: an operation that is added to it is called here without another line.

use lockgate_tests::{Client, Node, ROOM, Recorder, Token, camera_offer, operator, until};
use serde_json::{Map, Value, json};

/// One operation of the document.
struct Operation<'a> {
    document: &'a Value,
    method: String,
    path: String,
    says: &'a Value,
}

/// The document of a node, without whose token it is had.
async fn document(node: &Node) -> Value {
    let answer = node.get("/admin/v1/openapi.json").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("it has paths") {
        for (method, says) in methods.as_object().expect("a path has methods") {
            operations.push(Operation { document, method: method.to_uppercase(), path: path.clone(), says });
        }
    }
    operations
}

impl Operation<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it goes on for as long as somebody listens.
    fn streams(&self) -> bool {
        self.says["responses"]["200"]["content"].get("text/event-stream").is_some()
    }

    fn takes_no_token(&self) -> bool {
        self.says["security"].as_array().is_some_and(Vec::is_empty)
    }

    /// The path with these values in the place of its parameters.
    fn at(&self, room: &str, publisher: u64, subject: &str, session: &str) -> String {
        let path = self.path.replace("{room}", room).replace("{publisher}", &publisher.to_string());
        path.replace("{subject}", subject).replace("{session}", session)
    }

    /// The body of the example, if it takes one.
    fn example(&self) -> String {
        let example = self.says["requestBody"]["content"]["application/json"].get("example");
        example.map(Value::to_string).unwrap_or_default()
    }

    /// Holds an answer against what the document says of its status: what it has no schema for must not come, nor what the schema does not name.
    fn assert_says(&self, status: u16, body: &Value) {
        let response = &self.says["responses"][status.to_string()];
        assert!(response.is_object(), "{} answered {status}, of which the document says nothing: {body}", self.name());
        let response = response["$ref"].as_str().map_or(response, |place| at_place(self.document, place));
        let content = response["content"].as_object().expect("an answer has content");
        let schema = &content.values().next().expect("of some type")["schema"];
        let mut whole = json!({ "components": self.document["components"] });
        let mut schema = schema.clone();
        [&mut whole, &mut schema].into_iter().for_each(close);
        whole.as_object_mut().expect("an object").append(schema.as_object_mut().expect("a schema is an object"));
        let validator = jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{}: {error}", self.name()));
        let problems: Vec<_> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{} {status}: {problems:#?}\n{body:#}", self.name());
    }
}

fn at_place<'a>(document: &'a Value, place: &str) -> &'a Value {
    document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("there is no {place}"))
}

/// Lets no keys pass that are not named: clients pass over them, but here they are missing in the document.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if keys.get("properties").is_some_and(Value::is_object) && !keys.contains_key("additionalProperties") {
                keys.insert("additionalProperties".to_owned(), false.into());
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// Somebody who publishes and watches, so that there is something to see, and their number in the room.
async fn participant(node: &Node, subject: u64) -> (Client, u64) {
    let (mut client, joined) = node.enter(&Token::of(subject, "Somebody"), ROOM).await;
    client.ask(camera_offer()).await;
    (client, joined["publisherId"].as_u64().expect("a place has a number"))
}

/// A session of [`ROOM`] in the archive.
async fn recorded(node: &Node) -> String {
    let page = format!("/rooms/{ROOM}/recording");
    for action in ["start", "stop"] {
        let (status, answer) =
            node.admin("POST", &page, Some(&operator()), &json!({ "action": action }).to_string()).await;
        assert_eq!(status, 200, "{answer}");
    }
    until("the recording in the archive", async || {
        let (_, listed) = node.admin("GET", "/recordings", Some(&operator()), "").await;
        listed["recordings"][0]["sessionId"].as_str().map(ToOwned::to_owned)
    })
    .await
}

#[tokio::test]
async fn every_operation_answers_as_its_document_says() {
    let node = Node::plain().await;
    let _recorder = Recorder::beside(&node).await;
    let document = document(&node).await;
    let (_watched, watched) = participant(&node, 1).await;
    let session = recorded(&node).await;
    let mut called = 0;
    for operation in operations(&document) {
        let name = operation.name();
        let (mut client, publisher) = participant(&node, 7).await;
        client.ask(json!({ "type": "subscribe-request", "roomName": ROOM, "publisherId": watched })).await;
        let path = operation.at(ROOM, publisher, "7", &session);
        if operation.takes_no_token() {
            operation.assert_says(200, &document);
            continue;
        }
        let call = async |path: &str, token: Option<&Token>, body: &str| {
            node.admin(&operation.method, path, token, body).await
        };
        for (token, expected) in [(None, 401), (Some(operator().forged()), 401), (Some(Token::of(7, "Eve")), 403)] {
            let (status, problem) = call(&path, token.as_ref(), &operation.example()).await;
            assert_eq!(status, expected, "{name}: {problem}");
            operation.assert_says(status, &problem);
        }
        let bad_query = format!("{path}?no-such-key=1");
        let bad = if operation.streams() {
            call(&bad_query, Some(&operator()), "").await
        } else {
            call(&path, Some(&operator()), "[").await
        };
        assert_eq!(bad.0, 400, "{name}: {}", bad.1);
        operation.assert_says(400, &bad.1);
        if operation.path.contains("{room}") {
            let elsewhere = operation.at("no%20such%20room", publisher, "7", &session);
            for absent in [elsewhere, operation.at(ROOM, 5, "7", "no-such-session")] {
                if absent != path {
                    let (status, problem) = call(&absent, Some(&operator()), &operation.example()).await;
                    assert_eq!(status, 404, "{name} at {absent}: {problem}");
                    operation.assert_says(404, &problem);
                }
            }
        }
        if operation.streams() {
            drop(node.follow("", &operator(), &[]).await);
        } else {
            let (status, answer) = call(&path, Some(&operator()), &operation.example()).await;
            assert_eq!(status, 200, "{name}: {answer}");
            operation.assert_says(200, &answer);
        }
        assert_eq!(node.admin("DELETE", "/drain", Some(&operator()), "").await.0, 200);
        called += 1;
    }
    assert!(called >= 12, "{called} operations were called");
}

#[tokio::test]
async fn configuration_that_is_wrong_is_told_as_the_document_says() {
    let node = Node::plain().await;
    let document = document(&node).await;
    node.reconfigure("chain_deadline = \"2s\"", "chain_deadline = \"never\"");
    let (status, answer) = node.admin("POST", "/policy/reload", Some(&operator()), "").await;
    assert_eq!(status, 422, "{answer}");
    let all = operations(&document);
    let reload = all.iter().find(|one| one.path == "/policy/reload").expect("it is in the document");
    reload.assert_says(422, &answer);
}

#[tokio::test]
async fn each_name_in_the_document_is_used_and_each_that_is_used_is_there() {
    let node = Node::plain().await;
    let document = document(&node).await;
    let text = document.to_string();
    let mut ids = Map::new();
    for operation in operations(&document) {
        let id = operation.says["operationId"].as_str().expect("an operation has an id").to_owned();
        assert!(ids.insert(id.clone(), Value::Null).is_none(), "{id} stands there twice");
        assert!(operation.says["summary"].is_string(), "{id} says what it does");
    }
    for (kind, all) in document["components"].as_object().expect("it has components") {
        if kind == "securitySchemes" {
            continue;
        }
        for name in all.as_object().expect("by their names").keys() {
            assert!(text.contains(&format!("#/components/{kind}/{name}\"")), "{kind}/{name} is not used");
        }
    }
    for place in text.split("\"$ref\":\"").skip(1) {
        at_place(&document, place.split('"').next().unwrap_or_default());
    }
}
