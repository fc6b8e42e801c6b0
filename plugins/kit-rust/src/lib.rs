//! Guests wait for a host to let them in, and see the hosts only. A worked example to start from: one file for each hook.

mod admission;
mod auth;
mod command;
mod publishing;
mod recording;
mod subscription;

pub mod rules;

use exports::lockgate::policy::lifecycle;
use lockgate::policy::types::Attr;

use crate::rules::Settings;

wit_bindgen::generate!({ path: ["../../wit", "world.wit"], world: "lockgate:kit/plugin", generate_all });

struct Plugin;

export!(Plugin);

impl lifecycle::Guest for Plugin {
    fn describe() -> Vec<Attr> {
        let attr = |key: &str, value: &str| Attr { key: key.into(), value: value.into() };
        vec![attr("name", env!("CARGO_PKG_NAME")), attr("version", env!("CARGO_PKG_VERSION"))]
    }

    fn configure(settings: String) -> Result<(), String> {
        Settings::read(&settings).map(drop)
    }
}
