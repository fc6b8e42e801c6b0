//! What is written alike in each plugin, since the types of its bindings are its own.

#![allow(clippy::crate_in_macro_def, reason = "the bindings are those of the plugin in which it is written")]

/// What a plugin says of itself: its package's name, version and description.
#[macro_export]
macro_rules! about {
    () => {
        vec![
            $crate::attr!("name", env!("CARGO_PKG_NAME")),
            $crate::attr!("version", env!("CARGO_PKG_VERSION")),
            $crate::attr!("description", env!("CARGO_PKG_DESCRIPTION")),
        ]
    };
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

/// The words of somebody's claim: the identity, and the claim's name. None without the claim.
#[macro_export]
macro_rules! words_of {
    ($who:expr, $claim:expr) => {
        $who.claims.iter().find(|attr| attr.key == $claim).map(|attr| $crate::words(&attr.value)).unwrap_or_default()
    };
}

/// A refusal: its code and its message, and in how many milliseconds it may be worth asking again.
#[macro_export]
macro_rules! denial {
    ($code:expr, $message:expr) => {
        $crate::denial!($code, $message, None)
    };
    ($code:expr, $message:expr, $retry_after_ms:expr) => {
        crate::lockgate::policy::types::Denial {
            code: $code.into(),
            message: $message.into(),
            retry_after_ms: $retry_after_ms,
        }
    };
}

/// An attribute of a grant.
#[macro_export]
macro_rules! attr {
    ($key:expr, $value:expr) => {
        crate::lockgate::policy::types::Attr { key: $key.into(), value: $value.into() }
    };
}

/// The limits that a node itself knows, as attributes of a grant: most cameras and most microphones of others at a time.
#[macro_export]
macro_rules! places {
    ($last_n:expr, $top_n:expr) => {
        [("last-n", $last_n), ("top-n", $top_n)]
            .into_iter()
            .filter_map(|(key, most)| Some($crate::attr!(key, most?.to_string())))
    };
}

/// An act that is done, with its reply and effects.
#[macro_export]
macro_rules! done {
    ($reply:expr, $effects:expr) => {
        crate::exports::lockgate::policy::command::Outcome::Done(crate::exports::lockgate::policy::command::Response {
            reply: $reply.into(),
            effects: $effects,
        })
    };
}

/// Something for the node to do with somebody: its name, their subject, and the payload if it has one.
#[macro_export]
macro_rules! effect {
    ($name:expr, $subject:expr) => {
        $crate::effect!($name, $subject, "")
    };
    ($name:expr, $subject:expr, $payload:expr) => {
        crate::exports::lockgate::policy::command::Effect {
            name: $name.into(),
            subject: Some($subject.into()),
            payload: $payload.into(),
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
