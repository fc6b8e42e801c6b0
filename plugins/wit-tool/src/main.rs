//! Reads WIT for `cargo xtask`; it is no plugin. It lies among the plugins because it needs the libraries that their bindings are
//! made with: in the host's workspace these would switch features of what the WebAssembly engine is made of.
//!
//! ```text
//! wit-tool check WIT                    compares a package with its copies in WIT/released
//! wit-tool bindings WIT WORLD FOLDER    writes bindings for C for the world `plugin` of a file
//! ```

mod bindings;
mod check;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run(&env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>()) {
        Ok(told) => {
            print!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[PathBuf]) -> Result<String> {
    match arguments {
        [what, wit] if what.as_os_str() == "check" => Ok(check::compare(wit)? + "\n"),
        [what, wit, world, folder] if what.as_os_str() == "bindings" => {
            let made = bindings::write(wit, world, folder)?;
            Ok(made.iter().map(|file| format!("{}\n", file.display())).collect())
        }
        _ => bail!("usage: wit-tool check WIT, or wit-tool bindings WIT WORLD FOLDER"),
    }
}
