//! What is written alike in each plugin, since the types of its bindings are its own.

#![allow(clippy::crate_in_macro_def, reason = "the bindings are those of the plugin in which it is written")]

/// What a plugin says of itself: its package's name, version and description.
#[macro_export]
macro_rules! about {
    () => {{
        let attr =
            |key: &str, value: &str| crate::lockgate::policy::types::Attr { key: key.into(), value: value.into() };
        vec![
            attr("name", env!("CARGO_PKG_NAME")),
            attr("version", env!("CARGO_PKG_VERSION")),
            attr("description", env!("CARGO_PKG_DESCRIPTION")),
        ]
    }};
}

/// A plugin that checks its settings when it is loaded (`Settings::read`, from JSON), and `settings()`, which reads them for a question.
#[macro_export]
macro_rules! lifecycle {
    ($plugin:ty) => {
        impl crate::exports::lockgate::policy::lifecycle::Guest for $plugin {
            fn describe() -> Vec<crate::lockgate::policy::types::Attr> {
                $crate::about!()
            }

            fn configure(settings: String) -> Result<(), String> {
                crate::Settings::read(&settings).map(drop)
            }
        }

        /// The settings that `configure` has accepted; if they are bad all the same, a trap denies, which is right.
        fn settings() -> crate::Settings {
            crate::Settings::read(&crate::lockgate::policy::config::all()).expect("settings that were accepted")
        }
    };
}

/// A grant that limits nothing.
#[macro_export]
macro_rules! no_limits {
    () => {
        crate::lockgate::policy::types::Grant {
            max_spatial: None,
            max_temporal: None,
            max_bitrate: None,
            kinds: None,
            sources: None,
            rooms: None,
            can_publish: None,
            can_subscribe: None,
            can_record: None,
            can_data: None,
            admin: None,
            priority: None,
            hidden: false,
            expires_at_ms: None,
            reask_after_ms: None,
            attributes: Vec::new(),
        }
    };
}

/// `Kv`, the import `kv` as a [`Memory`](crate::Memory).
#[macro_export]
macro_rules! kv_memory {
    () => {
        /// The plugin's memory.
        struct Kv;

        impl $crate::Memory for Kv {
            fn get(&self, key: &str) -> Option<Vec<u8>> {
                crate::lockgate::policy::kv::get(key)
            }

            fn put(&self, key: &str, value: &[u8], ttl_ms: u32) -> bool {
                crate::lockgate::policy::kv::put(key, value, Some(ttl_ms)).is_ok()
            }

            fn delete(&self, key: &str) {
                crate::lockgate::policy::kv::delete(key);
            }
        }
    };
}
