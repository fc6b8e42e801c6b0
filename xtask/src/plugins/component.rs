//! What a compiled guest asks of its host: read from the binary, so that no toolchain can slip something in.

use anyhow::{Context, Result, bail};
use wasmparser::{Encoding, Parser, Payload};

/// The names of everything a component imports.
///
/// # Errors
/// If the bytes are not a component.
pub(super) fn imports(bytes: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.context("not a WebAssembly component")? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                bail!("a core module, not a component: was it linked by wasm-component-ld?");
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            // The end of the component itself closes no section.
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import.context("unreadable import")?.name.name.to_string());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Errs if a component imports anything but this project's policy interfaces.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let foreign: Vec<_> = imports(bytes)?.into_iter().filter(|name| !name.starts_with(OURS)).collect();
    if !foreign.is_empty() {
        bail!("imports {}, but a plugin may import nothing outside {OURS}*", foreign.join(", "));
    }
    Ok(())
}

const OURS: &str = "lockgate:policy/";

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = &[0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    /// A component that imports one empty instance under the given name.
    fn importing(name: &str) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        // Section 7: one instance type without items. Section 10: one import of an instance of type 0.
        let mut bytes = [COMPONENT, &[7, 3, 1, 0x42, 0], &[10, length + 5, 1, 0, length], name.as_bytes()].concat();
        bytes.extend([0x05, 0]);
        bytes
    }

    #[test]
    fn our_own_interfaces_are_allowed() {
        let component = importing("lockgate:policy/log@0.1.0");
        assert_eq!(imports(&component).unwrap(), ["lockgate:policy/log@0.1.0"]);
        check(&component).unwrap();
    }

    #[test]
    fn anything_else_is_named_and_refused() {
        let error = check(&importing("wasi:clocks/wall-clock@0.2.0")).unwrap_err().to_string();
        assert!(error.contains("wasi:clocks/wall-clock@0.2.0"), "{error}");
    }

    #[test]
    fn a_core_module_is_not_a_component() {
        let error = check(&[0, b'a', b's', b'm', 1, 0, 0, 0]).unwrap_err().to_string();
        assert!(error.contains("core module"), "{error}");
    }

    #[test]
    fn rubbish_is_an_error() {
        assert!(check(b"not wasm at all").is_err());
        assert!(check(&importing("lockgate:policy/log@0.1.0")[..20]).is_err());
    }
}
