//! What is wrong with a configuration: place, key, value, problem, remedy.

use std::fmt;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn whole(file: &str) -> Self {
        Self(file.to_owned())
    }

    /// `file:line:column`, both from 1, columns in characters.
    pub(crate) fn in_file(file: &str, text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self(format!("{file}:{line}:{column}"))
    }

    pub(crate) fn variable(name: &str) -> Self {
        Self(format!("environment variable {name}"))
    }
}

/// One problem. All of them are shown before the node gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    /// `section.key = value`, as far as known.
    what: Option<String>,
    problem: String,
    remedy: String,
}

impl Problem {
    pub(crate) fn at(place: Place, problem: String, remedy: impl Into<String>) -> Self {
        Self { place, what: None, problem, remedy: remedy.into() }
    }

    pub(crate) fn of(place: Place, what: String, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, what: Some(what), problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place.0)?;
        if let Some(what) = &self.what {
            write!(f, "{what}: ")?;
        }
        write!(f, "{}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
