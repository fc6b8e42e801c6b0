//! Bindings for plugins in C.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

/// Writes what `wit-bindgen` makes of a world into a folder, and returns what is to be compiled and linked of it.
///
/// # Errors
/// If the file has no world `plugin`, or one that the contract does not allow.
pub fn write(wit: &Path, world: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit)?;
    let package = resolve.push_file(world)?;
    let world = resolve.select_world(&[package], Some("plugin")).with_context(|| format!("{}", world.display()))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    let mut made = Vec::new();
    for (name, content) in files.iter() {
        let file = folder.join(name);
        fs::write(&file, content)?;
        made.extend((!name.ends_with(".h")).then_some(file));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

    fn written(world: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
        write(Path::new(WIT), world, folder)
    }

    #[test]
    fn bindings_are_made_for_the_world_of_the_kit() {
        let folder = tempfile::tempdir().unwrap();
        let world = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../c/kit-c/world.wit"));
        let made = written(world, folder.path()).unwrap();
        let names: Vec<_> = made.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["plugin.c", "plugin_component_type.o"]);
        let header = fs::read_to_string(folder.path().join("plugin.h")).unwrap();
        assert!(header.contains("void exports_lockgate_policy_admission_admit("));
    }

    #[test]
    fn a_world_of_another_name_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let world = folder.path().join("world.wit");
        fs::write(&world, "package a:b;\nworld other {}\n").unwrap();
        let error = format!("{:#}", written(&world, folder.path()).unwrap_err());
        assert!(error.contains("world.wit") && error.contains("plugin"), "{error}");
    }
}
