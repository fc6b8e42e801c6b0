//! Compiled components, found by the SHA-256 of their files: who puts a plugin back, or changes only its settings, waits for no compiler.
//!
//! In memory. Machine code on a disk must be trusted as much as this program: that is for operators to allow (`crate::cache`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::journal::Hash;

/// Those of one engine. The ones that were wanted last stand last.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<Vec<(Hash, Component)>>);

impl Compiled {
    /// The component of these bytes, whose SHA-256 is `sha256`. Compiling takes up to seconds; others are not kept waiting.
    ///
    /// # Errors
    /// When the engine cannot use them.
    pub(crate) fn component(&self, engine: &Engine, sha256: Hash, bytes: &[u8]) -> wasmtime::Result<Component> {
        if let Some(known) = self.take(sha256) {
            self.lock().push((sha256, known.clone()));
            return Ok(known);
        }
        let component = Component::new(engine, bytes)?;
        self.lock().push((sha256, component.clone()));
        Ok(component)
    }

    /// Forgets all but those that are in use, which cost nothing here, and a few others that were wanted last.
    pub(crate) fn forget_beside(&self, in_use: &[Hash]) {
        let mut all = self.lock();
        let others = all.iter().filter(|(sha256, _)| !in_use.contains(sha256)).count();
        let mut too_many = others.saturating_sub(SPARE);
        all.retain(|(sha256, _)| {
            let goes = too_many > 0 && !in_use.contains(sha256);
            too_many -= usize::from(goes);
            !goes
        });
    }

    fn take(&self, sha256: Hash) -> Option<Component> {
        let mut all = self.lock();
        let place = all.iter().position(|(known, _)| *known == sha256)?;
        Some(all.remove(place).1)
    }

    /// Entries come and go whole, so a panic while the lock was held leaves none half done.
    fn lock(&self) -> MutexGuard<'_, Vec<(Hash, Component)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Components beyond those in use: some hundred kB to a few MB each.
const SPARE: usize = 8;

#[cfg(test)]
mod tests {
    use wasmtime::Config;

    use super::*;

    fn known(compiled: &Compiled) -> Vec<Hash> {
        compiled.lock().iter().map(|(sha256, _)| *sha256).collect()
    }

    #[test]
    fn what_is_compiled_is_found_again_and_of_what_nobody_uses_the_latest_are_kept() {
        let engine = Engine::new(Config::new().wasm_component_model(true)).unwrap();
        let (compiled, bytes) = (Compiled::default(), b"\0asm\x0d\0\x01\0");
        let hashes: Vec<_> = (0..SPARE + 3).map(|number| Hash::of(&number.to_le_bytes())).collect();
        for sha256 in &hashes {
            compiled.component(&engine, *sha256, bytes).unwrap();
        }
        // Found by its digest alone: these bytes are no component.
        compiled.component(&engine, hashes[1], b"").unwrap();
        assert!(compiled.component(&engine, Hash::of(b"another"), b"").is_err());
        compiled.forget_beside(&hashes[..1]);
        assert_eq!(known(&compiled), [&hashes[..1], &hashes[4..], &hashes[1..2]].concat());
    }
}
