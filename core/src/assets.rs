//! The web app's files, compiled in: it needs nothing beside the program.

use lockgate_signal::Asset;

macro_rules! assets {
    ($($path:literal as $media_type:literal,)*) => {
        /// Every file of the app, as the doors serve it below `/app/`.
        pub(crate) static ASSETS: &[Asset] = &[$(
            Asset {
                path: $path,
                media_type: $media_type,
                bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../client/app/", $path)),
            },
        )*];
    };
}

assets! {
    "index.html" as "text/html; charset=utf-8",
    "app.css" as "text/css; charset=utf-8",
    "app.js" as "text/javascript; charset=utf-8",
    "room.js" as "text/javascript; charset=utf-8",
    "signalling.js" as "text/javascript; charset=utf-8",
    "tiles.js" as "text/javascript; charset=utf-8",
}
