//! The faults, and the settings that choose among them.

use std::hint::black_box;

use serde::Deserialize;

/// All settings; see the head of the crate.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) fault: Fault,
    only: Option<String>,
    pub(crate) every: u32,
}

/// Ways to fail.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fault {
    None,
    Trap,
    Loop,
    Memory,
    Stack,
    Count,
    Long,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fault: Fault::None, only: None, every: 1 }
    }
}

impl Settings {
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// Whether the fault is meant for a question about these.
    pub(crate) fn concerns(&self, about: &[&str]) -> bool {
        self.only.as_deref().is_none_or(|only| about.contains(&only))
    }
}

impl Fault {
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Does not return if it is a fault that ends the call.
pub(crate) fn strike(fault: Fault) {
    match fault {
        Fault::Trap => panic!("on purpose"),
        Fault::Loop => loop {
            black_box(());
        },
        Fault::Memory => hoard(),
        Fault::Stack => drop(descend(0)),
        Fault::None | Fault::Count | Fault::Long => {}
    }
}

fn hoard() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

fn descend(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if here[1] == u64::MAX {
        return 0;
    }
    // The addition after the call keeps the compiler from making a loop of it.
    black_box(descend(here[0] + 1) + here[63])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_can_be_kept_to_some_questions() {
        let settings = Settings::read(r#"{"fault": "loop", "only": "trouble"}"#).unwrap();
        assert!(settings.concerns(&["calm", "trouble"]));
        assert!(!settings.concerns(&["calm"]));
        assert!(Settings::read("{}").unwrap().concerns(&[]));
        assert!(Settings::read(r#"{"fault": "no such"}"#).is_err());
    }
}
