//! Whom an operator put out and does not want back for a while: no door lets them in, whatever policy would say.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::ErrorCode;
use lockgate_model::policy::Denial;

/// Subjects, and until when each is kept out, in ms since 1970.
#[derive(Default)]
pub(crate) struct Held {
    until: Mutex<HashMap<String, u64>>,
}

impl Held {
    /// Keeps somebody out.
    ///
    /// # Errors
    /// `overloaded` when there are too many of them already.
    pub(crate) fn hold(&self, subject: &str, until_ms: u64, now_ms: u64) -> Result<(), Denial> {
        let mut held = self.lock();
        if held.len() >= MAX_HELD {
            held.retain(|_, until| *until > now_ms);
        }
        if held.len() >= MAX_HELD && !held.contains_key(subject) {
            return Err(Denial::new(ErrorCode::OVERLOADED, "the node keeps as many out as it can remember"));
        }
        held.insert(subject.to_owned(), until_ms);
        Ok(())
    }

    /// Why somebody is not let in, if so.
    pub(crate) fn refusal(&self, subject: &str, now_ms: u64) -> Option<Denial> {
        let left = self.lock().get(subject)?.checked_sub(now_ms).filter(|left| *left > 0)?;
        let denial = Denial::new(ErrorCode::FORBIDDEN, "an operator put you out");
        Some(Denial { retry_after_ms: Some(left), ..denial })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More are not remembered.
const MAX_HELD: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_comes_back_when_the_time_is_over() {
        let held = Held::default();
        held.hold("7", 5000, 1000).unwrap();
        assert_eq!(held.refusal("7", 2000).unwrap().retry_after_ms, Some(3000));
        assert_eq!((held.refusal("7", 5000), held.refusal("8", 2000)), (None, None));
    }

    #[test]
    fn there_is_a_bound_and_what_is_over_makes_room() {
        let held = Held::default();
        for subject in 0..MAX_HELD {
            held.hold(&subject.to_string(), 5000, 1000).unwrap();
        }
        assert_eq!(held.hold("one more", 9000, 1000).unwrap_err().code, ErrorCode::OVERLOADED);
        held.hold("7", 9000, 1000).unwrap();
        held.hold("one more", 9000, 5000).unwrap();
    }
}
