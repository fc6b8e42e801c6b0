//! Secrets: named in the file, kept elsewhere.

use std::path::Path;

use lockgate_model::Secret;

use super::section::Section;
use super::tree::{Node, Value};

impl Section<'_> {
    /// A secret as `{ env = "NAME" }` or `{ file = "path" }`; the value itself has no place in the file.
    pub(crate) fn secret(&mut self, key: &'static str, folder: &Path) -> Option<Secret> {
        let node = self.take(key)?;
        match load(&node, folder) {
            Ok(secret) => Some(secret),
            Err((problem, remedy)) => {
                // Never shown: somebody may have written the secret itself.
                let hidden = Node { value: Value::Other("…".into()), place: node.place };
                self.complain(key, &hidden, &problem, remedy);
                None
            }
        }
    }
}

fn load(node: &Node, folder: &Path) -> Result<Secret, (String, &'static str)> {
    const FORM: &str = "write { env = \"NAME\" } or { file = \"path\" }";
    let Value::Table(keys) = &node.value else {
        return Err(("is a secret and does not belong in the file".into(), FORM));
    };
    let mut keys = keys.iter();
    let (Some((kind, Node { value: Value::Text(name), .. })), None) = (keys.next(), keys.next()) else {
        return Err(("does not say where the secret is".into(), FORM));
    };
    let text = match kind.as_str() {
        "env" => std::env::var(name).map_err(|_| (format!("the environment has no {name}"), "set it"))?,
        "file" => std::fs::read_to_string(folder.join(name))
            .map_err(|error| (format!("{name}: {error}"), "write the secret into that file"))?,
        _ => return Err(("does not say where the secret is".into(), FORM)),
    };
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(("the secret is empty".into(), "give it at least 32 characters")),
        text => Ok(Secret::new(text)),
    }
}
