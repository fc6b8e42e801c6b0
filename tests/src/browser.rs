//! A real Chromium without a screen, driven over the DevTools protocol.

use std::fs::File;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::devtools::DevTools;
use crate::page::Page;
use crate::process::Process;

/// A running browser with a new profile. One at a time on this machine: real calls need its cores.
#[derive(Debug)]
pub struct Browser {
    devtools: Arc<DevTools>,
    process: Process,
    _profile: TempDir,
    _turn: File,
}

impl Browser {
    /// Waits for its turn, then starts.
    ///
    /// # Panics
    /// When Chromium is missing or does not start.
    pub async fn start() -> Self {
        let turn = tokio::task::spawn_blocking(turn).await.expect("waiting for a file does not panic");
        sweep();
        let profile = tempfile::Builder::new().prefix(FOLDER).tempdir().expect("there is a place for a folder");
        let mut command = Command::new("chromium");
        // What it keeps beside the profile (fonts, crash reports, sockets) goes into the profile's folder, too.
        for place in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            command.env(place, profile.path());
        }
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let process = Process::start("chromium", command);
        let url = |line: &str| Some(line.strip_prefix("DevTools listening on ")?.trim().to_owned());
        let url = process.line("where DevTools listen", url).await;
        let devtools = Arc::new(DevTools::connect(&url).await);
        Self { devtools, process, _profile: profile, _turn: turn }
    }

    /// Opens a page in a window, with cookies and storage of its own.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open(&self, url: &str) -> Page {
        let context = self.devtools.call(None, "Target.createBrowserContext", json!({})).await;
        let target = json!({ "url": "about:blank", "browserContextId": context["browserContextId"], "newWindow": true, "width": 1280, "height": 800 });
        let target = self.devtools.call(None, "Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.devtools.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let page = Page::new(Arc::clone(&self.devtools), session);
        page.go(url).await;
        page
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- what the pages said ----");
            self.devtools.console().iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Blocks until no other test has a browser. The system gives the file free when its holder ends, however it ends.
fn turn() -> File {
    let path = std::env::temp_dir().join("lockgate-tests.browser");
    let wait = || {
        let file = File::options().create(true).write(true).truncate(false).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    wait().unwrap_or_else(|error: std::io::Error| panic!("{}: {error}", path.display()))
}

/// Takes away the folders of browsers whose tests were killed. Whose turn it is has the only browser.
fn sweep() {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for left in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER)) {
        // Another user's stay.
        let _ = std::fs::remove_dir_all(left.path());
    }
}

const FOLDER: &str = "lockgate-browser-";

/// Cameras (the second one knows depth only, and shows nothing), microphones, speakers and a screen that need no device and no permission, calls over loopback, and nothing that speaks to the world.
const FLAGS: [&str; 22] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--use-fake-device-for-media-stream=fps=30,device-count=3",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    // Without a desktop it complains all the time.
    "--log-level=3",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
];
