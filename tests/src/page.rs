//! A page in the browser: it runs what it is told and shows what it looks like.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::devtools::DevTools;
use crate::node::Node;
use crate::programs::{root, screenshots, script};
use crate::token::Token;
use crate::{PATIENCE, within};

/// One page. It stays open as long as the browser runs.
#[derive(Debug)]
pub struct Page {
    devtools: Arc<DevTools>,
    session: String,
}

impl Page {
    pub(crate) fn new(devtools: Arc<DevTools>, session: String) -> Self {
        Self { devtools, session }
    }

    /// Goes somewhere and waits until it is loaded.
    ///
    /// # Panics
    /// When it cannot be loaded.
    pub async fn go(&self, url: &str) {
        self.call("Page.enable", json!({})).await;
        self.call("Runtime.enable", json!({})).await;
        self.call("Log.enable", json!({})).await;
        let mut events = self.devtools.events();
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
        let loaded = async {
            while let Ok(event) = events.recv().await {
                if event["method"] == "Page.loadEventFired" && event["sessionId"] == self.session.as_str() {
                    return;
                }
            }
            panic!("{url}: the browser is gone");
        };
        within(&format!("{url} to load"), loaded).await;
    }

    /// Runs the body of an asynchronous function as if a user had clicked, and returns what it returns.
    ///
    /// # Panics
    /// When it throws.
    pub async fn run(&self, body: &str) -> Value {
        let call = json!({
            "expression": format!("(async () => {{ {body} }})()"),
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let result = self.call("Runtime.evaluate", call).await;
        if let Some(thrown) = result.get("exceptionDetails") {
            let text = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            panic!("the page threw {}\nin {body}", text.unwrap_or("something"));
        }
        result["result"]["value"].clone()
    }

    /// Makes `name` in the page a participant of a room (see `pages/peer.js` and `pages/sealing.js`). `options` is JavaScript.
    ///
    /// # Panics
    /// When it may not enter.
    pub async fn enter(&self, name: &str, node: &Node, token: &Token, room: &str, options: &str) {
        self.learn(&["peer.js", "sealing.js"], "Peer").await;
        let (url, token) = (format!("ws://{}/ws", node.address()), token.text());
        self.run(&format!("globalThis.{name} = await Peer.enter({url:?}, {token:?}, {room:?}, {options})")).await;
    }

    /// Has the page know the words of `pages/whip.js`, and those that it uses.
    ///
    /// # Panics
    /// When they are no JavaScript.
    pub async fn learn_http(&self) {
        self.learn(&["peer.js", "sealing.js"], "Peer").await;
        self.learn(&["whip.js"], "Stream").await;
    }

    /// Has the page know the words of `pages/meeting.js`, which stand on the client SDK, and those that it uses.
    ///
    /// # Panics
    /// When they are no JavaScript.
    pub async fn learn_sdk(&self) {
        self.learn(&["peer.js", "sealing.js"], "Peer").await;
        self.learn(&["meeting.js"], "Meeting").await;
    }

    /// Has the page know the words of `pages/rheomesh.js`, and those that it uses.
    ///
    /// # Panics
    /// When they are no JavaScript.
    pub async fn learn_rheomesh(&self) {
        self.learn(&["peer.js", "sealing.js"], "Peer").await;
        self.learn(&["rheomesh.js"], "Example").await;
    }

    /// Has the page know scripts that define this, once.
    async fn learn(&self, files: &[&str], class: &str) {
        if self.run(&format!("return typeof {class} === 'undefined'")).await == true {
            // `run` would make their classes local.
            for file in files {
                self.define(&script(file)).await;
            }
            self.run(&format!("globalThis.PATIENCE = {}", PATIENCE.as_millis())).await;
        }
    }

    /// Plays a file from its beginning to its end, and returns how many frames were shown.
    ///
    /// # Panics
    /// When the browser cannot play it.
    pub async fn play(&self, file: &Path) -> u64 {
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let play = format!(
            "const bytes = await (await fetch('data:video/webm;base64,{}')).blob();
             const video = Object.assign(document.createElement('video'), {{ muted: true, src: URL.createObjectURL(bytes) }});
             video.playbackRate = 4;
             await new Promise((resolve, reject) => {{
                 video.onended = resolve;
                 video.onerror = () => reject(new Error(video.error.message));
                 video.play().catch(reject);
             }});
             return video.getVideoPlaybackQuality().totalVideoFrames",
            BASE64_STANDARD.encode(bytes),
        );
        self.run(&play).await.as_u64().unwrap_or(0)
    }

    /// Has the page know a classic script, whatever the page's policy about scripts is.
    ///
    /// # Panics
    /// When it is no JavaScript.
    pub async fn define(&self, script: &str) {
        let result = self.call("Runtime.evaluate", json!({ "expression": script })).await;
        assert!(result.get("exceptionDetails").is_none(), "{result}");
    }

    /// Has it look as in a window of this size in CSS pixels, for people who like `dark` or `light`.
    pub async fn looks(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Types into a field of a form.
    ///
    /// # Panics
    /// When there is no such field.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.run(&format!(
            "const field = document.querySelector({selector:?}); field.focus(); field.value = {text:?};
             field.dispatchEvent(new Event('input', {{ bubbles: true }}))"
        ))
        .await;
    }

    /// Clicks where something is to be seen.
    ///
    /// # Panics
    /// When nobody could click there.
    pub async fn click(&self, selector: &str) {
        let find = format!(
            "const one = document.querySelector({selector:?}); const box = one.getBoundingClientRect();
             const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
             if (!one.contains(document.elementFromPoint(x, y))) throw new Error({selector:?} + ' is covered or out of sight');
             return {{ x, y }}"
        );
        let place = self.run(&find).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn shows(&self, what: &str, expression: &str) {
        crate::until(&format!("the page to show {what}"), async || {
            (self.run(&format!("return !!({expression})")).await == true).then_some(())
        })
        .await;
    }

    /// Keeps what it looks like, for people, as `<target>/screenshots/<name>.png`.
    ///
    /// # Panics
    /// When it cannot be kept.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        self.call("Page.bringToFront", json!({})).await;
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let picture = BASE64_STANDARD.decode(picture["data"].as_str().unwrap_or_default()).expect("it is Base64");
        let file = screenshots().join(name).with_extension("png");
        std::fs::write(&file, picture).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        file
    }

    /// The same, and for the documentation if that is to be written anew (`LOCKGATE_WRITE_DOCS=1`): `docs/images/<name>.png`, in few colours, so
    /// that it is small.
    ///
    /// # Panics
    /// When it cannot be kept.
    pub async fn picture(&self, name: &str) {
        let taken = self.screenshot(name).await;
        if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
            shrink(&taken, &root().join("docs/images").join(name).with_extension("png"));
        }
    }

    /// Has the page know the accessibility checker.
    ///
    /// # Panics
    /// When it is not installed.
    pub async fn learn_axe(&self) {
        let file = root().join("client/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.define(&axe).await;
    }

    /// What an accessibility checker finds that is serious, and whether something is wider than the window.
    pub async fn faults(&self) -> Value {
        self.run(FAULTS).await
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.devtools.call(Some(&self.session), method, params).await
    }
}

/// Writes a picture anew, in few colours.
fn shrink(from: &Path, to: &Path) {
    let filter = "split[a][b];[a]palettegen=max_colors=96[p];[b][p]paletteuse=dither=none";
    let one = ["-vf", filter, "-frames:v", "1", "-update", "1"];
    let result = Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(from).args(one).arg(to).status();
    let status = result.unwrap_or_else(|error| panic!("ffmpeg cannot be started ({error}): install Debian's ffmpeg"));
    assert!(status.success(), "ffmpeg does not write {}", to.display());
}

const FAULTS: &str = "const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    const wide = document.documentElement.scrollWidth > innerWidth ? ['wider than the window'] : [];
    return [...wide, ...serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target)}`)]";
