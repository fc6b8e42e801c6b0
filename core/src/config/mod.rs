//! `config.toml`: read, overridden by the environment, checked as a whole before anything else happens.
//!
//! Every problem is found before the node gives up, and says where it is, what is wrong and what to do.

mod fixed;
mod ice;
mod policy;
mod policy_log;
mod problem;
mod secret;
mod section;
mod sections;
mod tree;
mod upload;
mod webhooks;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

pub use fixed::Fixed;
pub use ice::IceServers;
pub use policy::{Import, Plugin, PluginLimits, PolicySection};
pub use policy_log::PolicyLog;
pub use problem::Problem;
pub use section::Announce;
pub use sections::{Auth, Dev, Duplicate, Http, KeySource, Media, Metrics, RecorderSection, RecordingSection, Rooms};
pub use upload::UploadSection;
pub use webhooks::Webhooks;

use problem::Place;
use section::Section;
use tree::Node;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the HTTP and WebSocket doors are.
    pub http: Http,
    /// Where media goes in and out.
    pub media: Media,
    /// How tokens are verified.
    pub auth: Auth,
    /// What holds for all rooms.
    pub rooms: Rooms,
    /// How plugins are asked.
    pub policy: PolicySection,
    /// The plugins, in the order in which they are asked.
    pub plugins: Vec<Plugin>,
    /// What is recorded and where to.
    pub recording: RecordingSection,
    /// How the recorder is reached.
    pub recorder: RecorderSection,
    /// Where archives go.
    pub upload: UploadSection,
    /// Who may read the metrics.
    pub metrics: Metrics,
    /// Where events are sent.
    pub webhooks: Webhooks,
    /// What only development needs.
    pub dev: Dev,
    /// The file itself.
    pub file: PathBuf,
    /// What cannot change while the node runs, as it was read.
    pub fixed: Fixed,
}

impl Config {
    /// Reads a file and the environment; all problems at once.
    pub fn load(file: &Path) -> Result<Self, Vec<Problem>> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            vec![Problem::at(Place::whole(&name), error.to_string(), "give the file with --config")]
        })?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        Self::read(&name, &text, folder, std::env::vars())
    }

    /// Reads a text as if it stood in `file`, with the given environment.
    pub fn read(
        file: &str,
        text: &str,
        folder: PathBuf,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut root = Node::parse(file, text, &mut problems);
        for (name, value) in environment {
            if name == "CLUSTER_MODE" && !matches!(value.as_str(), "" | "false" | "0") {
                let problem = "this version runs as a single node".to_owned();
                problems.push(Problem::of(
                    Place::variable(&name),
                    value,
                    problem,
                    "unset it; nodes of this version do not join",
                ));
            } else {
                override_by(&mut root, &name, &value);
            }
        }
        let problems = RefCell::new(problems);
        let config = Self::from_tree(root, file, &folder, &problems);
        let mut problems = problems.into_inner();
        problems.extend(config.contradictions());
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Checks the rules between sections again: for whoever has changed something since it was read.
    pub fn recheck(&self) -> Result<(), Vec<Problem>> {
        let problems = self.contradictions();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn from_tree(root: Node, file: &str, folder: &Path, problems: &RefCell<Vec<Problem>>) -> Self {
        let mut root = Section::new("", root, problems);
        let config = Self {
            http: Http::read(root.below("http")),
            media: Media::read(root.below("media"), folder),
            auth: Auth::read(root.below("auth"), folder),
            rooms: Rooms::read(root.below("rooms")),
            policy: PolicySection::read(root.below("policy"), folder),
            plugins: root.list("plugin").into_iter().map(|plugin| Plugin::read(plugin, folder)).collect(),
            recording: RecordingSection::read(root.below("recording"), folder),
            recorder: RecorderSection::read(root.below("recorder"), folder),
            upload: UploadSection::read(root.below("upload")),
            metrics: Metrics::read(root.below("metrics"), folder),
            webhooks: Webhooks::read(root.below("webhooks"), folder),
            dev: Dev::read(root.below("dev")),
            file: file.into(),
            fixed: Fixed::default(),
        };
        root.finish();
        Self { fixed: Fixed::of(&config), ..config }
    }

    /// What goes against the rules between sections.
    fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |what: &str, problem: &str, remedy: &str| {
            problems.push(Problem::of(Place::whole("configuration"), what.to_owned(), problem, remedy));
        };
        if self.dev.guest_tokens && !self.dev.enabled {
            complain("dev.guest_tokens", "is for development", "set dev.enabled = true or switch it off");
        }
        if self.dev.guest_tokens && !self.http.host.is_loopback() {
            let problem = "anybody who reaches the node could make tokens";
            complain("dev.guest_tokens", problem, "set http.host to a loopback address or switch it off");
        }
        if let Some((problem, remedy)) = self.webhooks.contradiction() {
            complain("webhooks.secret", problem, remedy);
        }
        if self.auth.key.is_none() && !self.dev.enabled {
            let remedy = "set auth.secret = { env = \"JWT_SECRET\" } or { file = \"…\" }, or a public key";
            complain("auth.secret", "is missing", remedy);
        }
        if self.media.listens_at(self.http.host, self.http.port) {
            let remedy = "choose another for one of them, or set media.tcp = false";
            complain(&format!("http.port = {}", self.http.port), "a media thread listens there by TCP", remedy);
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            if self.plugins[..index].iter().any(|earlier| earlier.name == plugin.name) {
                complain(
                    &format!("plugin.name = {:?}", plugin.name),
                    "another plugin has this name",
                    "give each its own",
                );
            }
        }
        problems
    }
}

/// `LOCKGATE_<SECTION>_<KEY>` sets any key of a section, and so do the variables of the signalling seed.
fn override_by(root: &mut Node, name: &str, value: &str) {
    let (section, key) = match name {
        "JWT_SECRET" => {
            let node = Node::from_variable(name, "{ env = \"JWT_SECRET\" }");
            return root.set("auth", "secret", node);
        }
        "PORT" => ("http", "port".to_owned()),
        _ => {
            let Some((section, key)) = name.strip_prefix("LOCKGATE_").and_then(|rest| rest.split_once('_')) else {
                return;
            };
            match SECTIONS.iter().find(|known| known.eq_ignore_ascii_case(section)) {
                Some(section) => (*section, key.to_ascii_lowercase()),
                None => return,
            }
        }
    };
    root.set(section, &key, Node::from_variable(name, value));
}

const SECTIONS: [&str; 11] =
    ["http", "media", "auth", "rooms", "policy", "recording", "recorder", "upload", "metrics", "webhooks", "dev"];

#[cfg(test)]
mod tests;
