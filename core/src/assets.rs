//! The web app's files and the client SDK's modules, compiled in: they need nothing beside the program.

use lockgate_signal::Asset;

macro_rules! assets {
    ($($path:literal from $file:literal as $media_type:ident,)*) => {
        /// Every file, as the doors serve it: the app and the operator's page below `/app/`, the SDK below `/sdk/`.
        pub(crate) static ASSETS: &[Asset] = &[$(
            Asset {
                path: $path,
                media_type: $media_type,
                bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../client/", $file)),
            },
        )*];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

assets! {
    "app/index.html" from "app/index.html" as HTML,
    "app/app.css" from "app/app.css" as CSS,
    "app/app.js" from "app/app.js" as JS,
    "app/devices.js" from "app/devices.js" as JS,
    "app/dom.js" from "app/dom.js" as JS,
    "app/panel.js" from "app/panel.js" as JS,
    "app/recording.js" from "app/recording.js" as JS,
    "app/tiles.js" from "app/tiles.js" as JS,
    "app/units.js" from "app/units.js" as JS,
    "app/words.js" from "app/words.js" as JS,
    "app/admin/admin.css" from "app/admin/admin.css" as CSS,
    "app/admin/admin.js" from "app/admin/admin.js" as JS,
    "app/admin/api.js" from "app/admin/api.js" as JS,
    "app/admin/confirm.js" from "app/admin/confirm.js" as JS,
    "app/admin/desk.js" from "app/admin/desk.js" as JS,
    "app/admin/events.js" from "app/admin/events.js" as JS,
    "app/admin/history.js" from "app/admin/history.js" as JS,
    "app/admin/index.html" from "app/admin/index.html" as HTML,
    "app/admin/lists.js" from "app/admin/lists.js" as JS,
    "app/admin/node.js" from "app/admin/node.js" as JS,
    "app/admin/person.js" from "app/admin/person.js" as JS,
    "app/admin/plot.js" from "app/admin/plot.js" as JS,
    "app/admin/policy.js" from "app/admin/policy.js" as JS,
    "app/admin/recordings.js" from "app/admin/recordings.js" as JS,
    "app/admin/rooms.js" from "app/admin/rooms.js" as JS,
    "app/admin/stream.js" from "app/admin/stream.js" as JS,
    "app/admin/timeline.js" from "app/admin/timeline.js" as JS,
    "sdk/backoff.js" from "sdk/src/backoff.js" as JS,
    "sdk/devices.js" from "sdk/src/devices.js" as JS,
    "sdk/downlink.js" from "sdk/src/downlink.js" as JS,
    "sdk/emitter.js" from "sdk/src/emitter.js" as JS,
    "sdk/encodings.js" from "sdk/src/encodings.js" as JS,
    "sdk/errors.js" from "sdk/src/errors.js" as JS,
    "sdk/index.js" from "sdk/src/index.js" as JS,
    "sdk/local-channel.js" from "sdk/src/local-channel.js" as JS,
    "sdk/participant.js" from "sdk/src/participant.js" as JS,
    "sdk/people.js" from "sdk/src/people.js" as JS,
    "sdk/publication.js" from "sdk/src/publication.js" as JS,
    "sdk/publish-transport.js" from "sdk/src/publish-transport.js" as JS,
    "sdk/remote-track.js" from "sdk/src/remote-track.js" as JS,
    "sdk/room.js" from "sdk/src/room.js" as JS,
    "sdk/sdp.js" from "sdk/src/sdp.js" as JS,
    "sdk/signalling.js" from "sdk/src/signalling.js" as JS,
    "sdk/sizes.js" from "sdk/src/sizes.js" as JS,
    "sdk/subscribe-transport.js" from "sdk/src/subscribe-transport.js" as JS,
    "sdk/uplink.js" from "sdk/src/uplink.js" as JS,
    "sdk/wish.js" from "sdk/src/wish.js" as JS,
    "sdk/wishes.js" from "sdk/src/wishes.js" as JS,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The files of a folder that pages load.
    fn files(folder: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client").join(folder);
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| [".js", ".css", ".html"].iter().any(|end| name.ends_with(end))).collect()
    }

    #[test]
    fn every_file_of_the_app_and_of_the_sdk_is_served() {
        for (below, folder) in [("app", "app"), ("app/admin", "app/admin"), ("sdk", "sdk/src")] {
            let names = ASSETS.iter().filter_map(|asset| asset.path.rsplit_once('/'));
            let served = names.filter(|(path, _)| *path == below).map(|(_, name)| name.to_owned());
            assert_eq!(served.collect::<BTreeSet<_>>(), files(folder), "{folder}");
        }
    }
}
