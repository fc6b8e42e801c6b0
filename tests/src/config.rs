//! The configuration of a node under test.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::programs::{plugin, target};

/// What a test wants to be otherwise than in every other test. All texts are TOML.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Below `[plugin.settings]` of `room-admission`.
    pub admission: String,
    /// Below `[plugin.settings]` of `subscription-policy`.
    pub subscription: String,
    /// Settings of the plugin `faulty`, which is loaded, and asked last, only if there are any.
    pub faulty: Option<String>,
    /// Kinds of question that it is asked; empty: all but who somebody is, and commands.
    pub faulty_hooks: &'static [&'static str],
    /// Other plugins, by name, with what they may use and their settings. They are asked after the usual ones.
    pub policies: Vec<(&'static str, &'static [&'static str], &'static str)>,
    /// Plugins in shadow, by name, with what is said of them beside file and grants, and their settings.
    pub shadows: Vec<(&'static str, &'static str, &'static str)>,
    /// Below `[policy]`.
    pub policy: String,
    /// Below `[http]`.
    pub http: String,
    /// Below `[media]`.
    pub media: String,
    /// Below `[rooms]`.
    pub rooms: String,
    /// Below `[recording]`.
    pub recording: String,
    /// How many connections of a room each of two media workers carries first; absent: there is one worker.
    pub room_spread: Option<usize>,
    /// Another address of this network at which media is received, too.
    pub also: Option<IpAddr>,
    /// Whether media is received at ::1 only, and not at 127.0.0.1.
    pub ipv6: bool,
    /// Whether pages get guest tokens.
    pub guests: bool,
    /// How many file descriptors the node may have when it begins, and how many it may allow itself.
    pub descriptors: Option<[u32; 2]>,
    /// A UDP port of 127.0.0.1 that the test holds, which clients are told. The node receives media on the same port of
    /// [`BESIDE`]: nobody else is given that as long as the test has its own.
    pub media_port: Option<u16>,
}

impl Setup {
    /// The whole file. The node listens on free ports of loopback only.
    pub(crate) fn text(&self) -> String {
        let (bind, port, announced): (IpAddr, _, _) = match self.media_port {
            Some(port) => (BESIDE.into(), port, format!("127.0.0.1:{port}")),
            None if self.ipv6 => (Ipv6Addr::LOCALHOST.into(), 0, "::1".to_owned()),
            None => (Ipv4Addr::LOCALHOST.into(), 0, "127.0.0.1".to_owned()),
        };
        let spread = |most| format!("workers = 2\nroom_spread = {most}");
        let workers = self.room_spread.map_or("workers = 1".to_owned(), spread);
        let also = |quoted: String| self.also.map(|also| format!("{quoted}, \"{also}\"")).unwrap_or(quoted);
        let (bind, announced) = (also(format!("\"{bind}\"")), also(format!("\"{announced}\"")));
        // Compiled once for all tests. The node makes it: nobody else may be able to write there.
        let cache = target().join("plugins.cache");
        let mut text = format!(
            "[http]\nport = 0\n{}\n\
             [media]\n{workers}\nport = {port}\nbind = [{bind}]\nannounce = [{announced}]\n{}\n\
             [auth]\nsecret = {{ file = \"{SECRET_FILE}\" }}\n\
             [rooms]\n{}\n\
             [policy]\nchain_deadline = \"2s\"\ncache = {cache:?}\n{}\n\
             [recording]\n{}\n\
             [dev]\nenabled = {}\nguest_tokens = {}\n",
            self.http, self.media, self.rooms, self.policy, self.recording, self.guests, self.guests,
        );
        let mut add = |name: &str, hooks: &str, grants: &str, settings: &str| {
            let file = plugin(name);
            // Tests share the machine: a question may wait for a core longer than a policy may think.
            write!(
                text,
                "[[plugin]]\nname = \"{name}\"\nfile = {file:?}\n{hooks}\ngrants = {grants}\n\
                 [plugin.limits]\ndeadline = \"1s\"\n[plugin.settings]\n{settings}\n"
            )
            .expect("a text takes all that is written to it");
        };
        add("jwt-auth", "hooks = [\"auth\"]", "[\"config\", \"jwt\"]", "");
        let hooks = "hooks = [\"admission\", \"publishing\", \"recording\"]";
        add("room-admission", hooks, "[\"config\"]", &self.admission);
        add("subscription-policy", "hooks = [\"subscription\"]", "[\"config\"]", &self.subscription);
        for (name, grants, settings) in &self.policies {
            add(name, "", &format!("{grants:?}"), settings);
        }
        for (name, keys, settings) in &self.shadows {
            add(name, keys, "[\"config\", \"log\", \"kv\", \"metrics\", \"clock\"]", settings);
        }
        if let Some(settings) = &self.faulty {
            let usual = ["admission", "publishing", "subscription", "recording"];
            let hooks = if self.faulty_hooks.is_empty() { &usual[..] } else { self.faulty_hooks };
            add(
                "faulty",
                &format!("hooks = {hooks:?}"),
                "[\"config\", \"log\", \"kv\", \"metrics\", \"clock\"]",
                settings,
            );
        }
        text
    }
}

/// Where a node receives media when a test has the same port of 127.0.0.1: another address of loopback.
pub const BESIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The file of the shared secret, beside the configuration.
pub(crate) const SECRET_FILE: &str = "secret";
/// The shared secret of all nodes under test.
pub(crate) const SECRET: &str = "a secret of the tests, long enough for HS256";
