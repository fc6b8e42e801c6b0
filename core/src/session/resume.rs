//! Sockets that come back: a client that lost its socket shows its resume token on a new one and goes on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::policy::Identity;
use lockgate_model::{RequestId, Secret};
use tokio::sync::mpsc;

use super::Link;

/// A client's new socket, and what it proved there.
pub(crate) struct Comeback {
    pub(crate) link: Link,
    pub(crate) identity: Identity,
    pub(crate) id: Option<RequestId>,
}

/// The sessions that can be resumed, by their tokens.
///
/// A lookup by hash leaks nothing useful about 128 random bits, and each token works once.
#[derive(Default)]
pub(crate) struct Resumable {
    sessions: Mutex<HashMap<String, Waiting>>,
}

struct Waiting {
    subject: String,
    comebacks: mpsc::Sender<Comeback>,
}

impl Resumable {
    /// Makes a session reachable under a new token.
    pub(crate) fn register(&self, token: String, subject: String, comebacks: mpsc::Sender<Comeback>) {
        self.lock().insert(token, Waiting { subject, comebacks });
    }

    /// Withdraws a token.
    pub(crate) fn forget(&self, token: &str) {
        self.lock().remove(token);
    }

    /// Hands a new socket to the session that the token names; gives it back when there is none of this subject.
    pub(crate) fn hand_over(&self, token: &Secret, comeback: Comeback) -> Result<(), Box<Comeback>> {
        let mut sessions = self.lock();
        let same = sessions.get(token.expose()).is_some_and(|waiting| waiting.subject == comeback.identity.subject);
        if !same {
            return Err(Box::new(comeback));
        }
        match sessions.remove(token.expose()) {
            Some(waiting) => waiting.comebacks.try_send(comeback).map_err(|refused| Box::new(refused.into_inner())),
            None => Err(Box::new(comeback)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
