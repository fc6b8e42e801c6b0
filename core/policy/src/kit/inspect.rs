//! What a component is, before anybody trusts it with anything: what it exports and imports, and what it says of itself.
//!
//! Only `lifecycle` is run, without settings: `describe`, and `configure` to see whether it needs any. No question is put.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lockgate_model::policy::Hook;
use serde::Serialize;
use serde_json::Map;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::config::Capability;
use crate::contract::{MAX_CLAIMS, VERSION, lifecycle, printable, read_attrs};
use crate::kit::specimen::{Bench, Specimen};
use crate::kit::witness::Witness;
use crate::load::{exported, interface};
use crate::load_error::LoadProblem;

/// What there is to know of a component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Its size in bytes.
    pub bytes: usize,
    /// The SHA-256 of the file in hexadecimal, as `sha256` in the configuration wants it.
    pub sha256: String,
    /// The versions of the contract that its imports and exports name: one, if all is well.
    pub contracts: BTreeSet<String>,
    /// The world of the contract that it implements; none: one of its own.
    pub world: Option<String>,
    /// What it answers.
    pub hooks: Vec<Hook>,
    /// Whether it checks its settings and tells what it is.
    pub lifecycle: bool,
    /// What must be granted to it.
    pub imports: Vec<&'static str>,
    /// What it says of itself.
    pub about: About,
    /// What it says to having no settings.
    pub settings: Settings,
    /// Why no node would load it; none: it can be loaded.
    pub problems: Vec<Trouble>,
}

/// What a plugin says of itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// It was not asked: it does not export `lifecycle`, or cannot be loaded.
    Unasked,
    /// Keys and values, in its order.
    Said(Vec<(String, String)>),
    /// It failed.
    Failed(String),
}

/// Whether a plugin needs settings.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Settings {
    /// It was not asked.
    Unasked,
    /// It takes none for an answer.
    Optional,
    /// It refuses to have none, and says why.
    Needed(String),
    /// It failed.
    Failed(String),
}

/// Why a component cannot be loaded.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What is wrong.
    pub problem: String,
    /// What can be done.
    pub remedy: String,
}

/// Looks at a file.
///
/// # Errors
/// If it cannot be read, or is no component. A component that no node would load is no error: see [`Inspection::problems`].
pub fn inspect(file: &Path) -> Result<Inspection, LoadProblem> {
    let bytes = fs::read(file).map_err(|source| LoadProblem::Unreadable { file: file.to_owned(), source })?;
    let bench = Bench::counting()?;
    let component = bench.compile(&bytes)?;
    let names = Names::read(&bench, &component);
    let (problems, about, settings) = match names.problems() {
        problems if problems.is_empty() => introduce(&bench, &component)?,
        problems => (problems, About::Unasked, Settings::Unasked),
    };
    Ok(Inspection {
        bytes: bytes.len(),
        sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        contracts: names.versions().map(|version| format!("lockgate:policy@{version}")).collect(),
        world: names.world(),
        hooks: names.hooks(),
        lifecycle: names.exports("lifecycle"),
        imports: names.capabilities().map(Capability::as_str).collect(),
        about,
        settings,
        problems: problems.iter().map(Trouble::from).collect(),
    })
}

impl From<&LoadProblem> for Trouble {
    fn from(problem: &LoadProblem) -> Self {
        Self { problem: problem.to_string(), remedy: problem.remedy() }
    }
}

/// The full names of everything that a component imports and exports.
pub(super) struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    pub(super) fn read(bench: &Bench, component: &Component) -> Self {
        let kind = component.component_type();
        Self {
            imports: kind.imports(bench.engine()).map(|(name, _)| name.to_owned()).collect(),
            exports: kind.exports(bench.engine()).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    pub(super) fn problems(&self) -> Vec<LoadProblem> {
        let foreign = |name: &&String| match interface(name) {
            Some((name, _)) => name != "types" && Capability::from_name(name).is_none(),
            None => true,
        };
        let strange = |name: &&String| interface(name).is_some_and(|(_, version)| version != VERSION);
        let foreign = self.imports.iter().filter(foreign).map(|name| LoadProblem::ForeignImport(name.clone()));
        let strange = self
            .imports
            .iter()
            .chain(&self.exports)
            .filter(strange)
            .map(|name| LoadProblem::UnknownVersion(name.clone()));
        let silent = self.hooks().is_empty().then_some(LoadProblem::NoHook);
        foreign.chain(strange).chain(silent).collect()
    }

    fn versions(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().chain(&self.exports).filter_map(|name| interface(name)).map(|(_, version)| version)
    }

    fn exports(&self, name: &str) -> bool {
        self.exports.iter().filter_map(|export| interface(export)).any(|(export, _)| export == name)
    }

    fn hooks(&self) -> Vec<Hook> {
        Hook::ALL.into_iter().filter(|hook| self.exports(hook.as_str())).collect()
    }

    fn capabilities(&self) -> impl Iterator<Item = Capability> {
        self.imports.iter().filter_map(|name| interface(name)).filter_map(|(name, _)| Capability::from_name(name))
    }

    /// A component does not say for which world it was made: this is the one whose exports it has.
    fn world(&self) -> Option<String> {
        let hooks = self.hooks();
        match hooks.as_slice() {
            _ if !self.exports("lifecycle") => None,
            [hook] => Some(format!("{}-plugin", hook.as_str())),
            all if all.len() == Hook::ALL.len() => Some("policy".into()),
            _ => None,
        }
    }
}

/// Has it say what it is, if it can.
fn introduce(bench: &Bench, component: &Component) -> Result<(Vec<LoadProblem>, About, Settings), LoadProblem> {
    let specimen = match bench.link(component) {
        Ok(specimen) => specimen,
        // Its interfaces have the contract's names and other types.
        Err(problem @ LoadProblem::NotAComponent(_)) => return Ok((vec![problem], About::Unasked, Settings::Unasked)),
        Err(problem) => return Err(problem),
    };
    let (about, settings) = match specimen.exports().lifecycle {
        Some(_) => (about(&specimen), settings(&specimen)),
        None => (About::Unasked, Settings::Unasked),
    };
    Ok((Vec::new(), about, settings))
}

fn about(specimen: &Specimen) -> About {
    let said = specimen.run(nobody(), |exports, store, instance| {
        exported(&exports.lifecycle)?.load(&mut *store, instance)?.call_describe(store)
    });
    match said.result.map(|said| read_attrs(said, MAX_CLAIMS)) {
        Ok(Ok(said)) => About::Said(said.into_iter().map(|one| (plain(&one.key), plain(&one.value))).collect()),
        Ok(Err(failure)) => About::Failed(failure.to_string()),
        Err(stopped) => About::Failed(stopped.to_string()),
    }
}

fn settings(specimen: &Specimen) -> Settings {
    let checked = specimen.run(nobody(), |exports, store, instance| {
        let lifecycle: lifecycle::Guest = exported(&exports.lifecycle)?.load(&mut *store, instance)?;
        lifecycle.call_configure(store, "{}")
    });
    match checked.result {
        Ok(Ok(())) => Settings::Optional,
        Ok(Err(why)) => Settings::Needed(plain(&why)),
        Err(stopped) => Settings::Failed(stopped.to_string()),
    }
}

/// What a stranger says reaches a terminal: control characters do not.
fn plain(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn nobody() -> Witness {
    Witness::new(Map::new(), Vec::new(), 0)
}
