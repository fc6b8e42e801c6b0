//! Which system tests are left to `--only thorough`: those that say so where they stand.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cargo::root;

/// The names of the tests that are marked, without their modules.
///
/// # Errors
/// If the sources cannot be read.
pub(super) fn marked() -> Result<Vec<String>> {
    let mut names = Vec::new();
    in_folder(&root().join("tests/tests/system"), &mut names)?;
    Ok(names)
}

fn in_folder(folder: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            in_folder(&path, names)?;
        } else {
            names.extend(in_source(&fs::read_to_string(&path).with_context(|| path.display().to_string())?));
        }
    }
    Ok(())
}

/// The function after each mark.
fn in_source(source: &str) -> Vec<String> {
    let after = source.split(MARK).skip(1);
    after.filter_map(|rest| Some(rest.split_once("fn ")?.1.split_once('(')?.0.to_owned())).collect()
}

/// How such a test says so.
const MARK: &str = "#[ignore = \"thorough: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_tests_are_found_and_no_others() {
        let source = format!(
            "#[test]\n{MARK}long\"]\nfn one() {{}}\n#[test]\nfn two() {{}}\n#[ignore = \"other\"]\nfn three() {{}}\n{MARK}x\"]\nasync fn four() {{}}\n"
        );
        assert_eq!(in_source(&source), ["one", "four"]);
        assert!(marked().unwrap().contains(&"the_page_has_no_serious_fault_of_accessibility".to_owned()));
    }
}
