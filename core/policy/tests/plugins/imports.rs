//! What built plugins can reach.

use std::fs;
use std::path::Path;

use wasmparser::{Parser, Payload};

use crate::support::component;

#[test]
fn every_built_plugin_imports_nothing_but_the_contract() {
    let folder = component("jwt-auth").parent().map(Path::to_owned).unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm")) {
        let bytes = fs::read(&file).unwrap();
        let imports = imports(&bytes);
        assert!(!imports.is_empty(), "{}: a policy without its settings?", file.display());
        for import in imports {
            assert!(import.starts_with("lockgate:policy/"), "{} imports {import}", file.display());
        }
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} plugins are built");
}

/// The imports of the component itself; those of the modules and components inside it are not its own.
fn imports(bytes: &[u8]) -> Vec<String> {
    let (mut imports, mut depth) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    imports
}
