//! What plugins are written in, and where those of a language lie.

use clap::ValueEnum;

/// The languages of the worked example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    C,
    Javascript,
    Python,
}

impl Language {
    /// Its name: of its worked example, too (`kit-…`).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Javascript => "javascript",
            Self::Python => "python",
        }
    }

    /// The folder of its plugins, in `plugins/`; those in Rust have none of their own.
    pub(crate) fn folder(self) -> Option<&'static str> {
        (self != Self::Rust).then(|| self.name())
    }

    /// The folder of a plugin in it, in `plugins/`.
    pub(crate) fn place(self, plugin: &str) -> String {
        self.folder().map_or_else(|| plugin.to_owned(), |folder| format!("{folder}/{plugin}"))
    }

    /// The file that a plugin in it begins with.
    pub(crate) fn main(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::C => "plugin.c",
            Self::Javascript => "plugin.js",
            Self::Python => "plugin.py",
        }
    }
}

/// The file in which a plugin says what it imports and exports.
pub(crate) const WORLD: &str = "world.wit";
