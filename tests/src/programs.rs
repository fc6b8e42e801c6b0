//! Where the programs under test and the built plugins lie.

use std::path::{Path, PathBuf};

/// A program that the same `cargo build` has made: it lies beside the folder of the running test.
///
/// # Panics
/// When it is not there; the message says what makes it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    // <target>/<profile>/deps/<test>
    let folder = test.parent().and_then(Path::parent).expect("tests lie in deps");
    let program = folder.join(name);
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    assert!(
        program.is_file(),
        "{} is missing: build it with `cargo build --profile {profile} --workspace --all-targets`, or run `cargo xtask test`",
        program.display()
    );
    program
}

/// The component of a plugin.
///
/// # Panics
/// When it is not built; the message says what builds it.
pub fn plugin(name: &str) -> PathBuf {
    let file = root().join("plugins/dist").join(name).with_extension("wasm");
    assert!(file.is_file(), "{} is missing: build it with `cargo xtask plugins`", file.display());
    file
}

/// A page's script.
pub(crate) fn script(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Where screenshots of this run go, for people to look at: the build folder.
pub fn screenshots() -> PathBuf {
    kept("screenshots")
}

/// Where figures that a test has measured go, as JSON: the build folder.
pub fn figures() -> PathBuf {
    kept("figures")
}

/// The build folder.
pub(crate) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors().nth(3).expect("tests lie in <target>/<profile>/deps").to_owned()
}

fn kept(name: &str) -> PathBuf {
    let folder = target().join(name);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the project's folder")
}
