//! What plugins answer, and how the answers of a chain become one decision.

use super::{Grant, Identity};
use crate::ErrorCode;

/// One plugin's answer about one thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Yes, within these limits.
    Allow(Grant),
    /// No.
    Deny(Denial),
    /// Not my business.
    Abstain,
}

/// One plugin's answer about a token.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthVerdict {
    /// I know them.
    Accept(Identity),
    /// Nobody else need be asked: no.
    Deny(Denial),
    /// Not a token of mine.
    Abstain,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For programs.
    pub code: ErrorCode,
    /// For people, at most 256 bytes.
    pub message: String,
    /// When it may be worth asking again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Whether the answer is "wait": the asker stays in the lobby.
    pub waiting: bool,
}

impl Denial {
    /// A refusal without a time to try again.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let waiting = code == ErrorCode::WAITING;
        Self { code, message: message.into(), retry_after_ms: None, waiting }
    }
}

/// What a chain of plugins decided.
pub type Decision = Result<Grant, Denial>;

/// What a chain of plugins made of a moderator's act.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandAnswer {
    /// Whether it may be done.
    pub decision: Decision,
    /// For the one who acts: the first answer that is not empty.
    pub reply: String,
    /// What else is to be done, in the order of the plugins; nothing when the act is denied.
    pub effects: Vec<CommandEffect>,
}

/// Something that a plugin wants done because of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEffect {
    /// Put all questions about somebody again.
    ReAsk {
        /// Whom, by subject; none: everybody in the room.
        subject: Option<String>,
    },
    /// Let somebody in from the lobby.
    Admit {
        /// Whom, by subject; none: everybody who waits.
        subject: Option<String>,
    },
    /// End somebody's stay.
    Revoke {
        /// Whose, by subject; none: everybody's in the room.
        subject: Option<String>,
        /// Why, for people.
        reason: String,
    },
    /// Tell somebody.
    Notify {
        /// Whom, by subject; none: everybody in the room.
        subject: Option<String>,
        /// What, at most 16 KiB.
        payload: String,
    },
}

/// Merges the verdicts of a chain (all hooks but auth): any deny wins, the first one giving the code; grants only get
/// stricter; when all abstain, `default_allow` decides.
pub fn merge(verdicts: impl IntoIterator<Item = Verdict>, default_allow: bool) -> Decision {
    let mut merged: Option<Grant> = None;
    let mut denial = None;
    for verdict in verdicts {
        match verdict {
            Verdict::Allow(grant) => merged = Some(merged.map_or_else(|| grant.clone(), |so_far| so_far.and(&grant))),
            Verdict::Deny(new) => denial = denial.or(Some(new)),
            Verdict::Abstain => {}
        }
    }
    match (denial, merged) {
        (Some(denial), _) => Err(denial),
        (None, Some(grant)) => Ok(grant),
        (None, None) if default_allow => Ok(Grant::default()),
        (None, None) => Err(Denial::new(ErrorCode::FORBIDDEN, "no plugin allows it")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::grant::tests::grants;
    use crate::testing::cases;

    fn verdicts() -> impl Strategy<Value = Verdict> {
        let codes = prop_oneof![Just(ErrorCode::FORBIDDEN), Just(ErrorCode::ROOM_FULL), Just(ErrorCode::WAITING)];
        let denials = (codes, of_ms())
            .prop_map(|(code, retry_after_ms)| Verdict::Deny(Denial { retry_after_ms, ..Denial::new(code, "no") }));
        prop_oneof![4 => grants().prop_map(Verdict::Allow), 1 => denials, 2 => Just(Verdict::Abstain)]
    }

    fn of_ms() -> impl Strategy<Value = Option<u64>> {
        proptest::option::of(0..9u64)
    }

    /// A chain, and the same in another order.
    fn chains() -> impl Strategy<Value = (Vec<Verdict>, Vec<Verdict>)> {
        vec(verdicts(), 0..7).prop_flat_map(|chain| (Just(chain.clone()), Just(chain).prop_shuffle()))
    }

    fn first_denial(chain: &[Verdict]) -> Option<&Denial> {
        chain.iter().find_map(|verdict| if let Verdict::Deny(denial) = verdict { Some(denial) } else { None })
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn of_any_chain_a_denial_wins_and_the_first_gives_the_code((chain, _) in chains(), default_allow: bool) {
            let decision = merge(chain.clone(), default_allow);
            match first_denial(&chain) {
                Some(denial) => prop_assert_eq!(decision.as_ref(), Err(denial)),
                None => {
                    let all_abstain = chain.iter().all(|verdict| *verdict == Verdict::Abstain);
                    prop_assert_eq!(decision.is_ok(), default_allow || !all_abstain);
                }
            }
        }

        #[test]
        fn the_order_of_any_chain_changes_nothing_but_the_code((chain, shuffled) in chains(), default_allow: bool) {
            let decisions = (merge(chain, default_allow), merge(shuffled.clone(), default_allow));
            match decisions {
                (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
                (one, other) => {
                    prop_assert!(one.is_err() && other.is_err());
                    prop_assert!(first_denial(&shuffled).is_none_or(|first| other.as_ref() == Err(first)));
                }
            }
        }

        #[test]
        fn one_more_plugin_never_widens_what_a_chain_decided(
            (chain, _) in chains(),
            more in verdicts(),
            at: prop::sample::Index,
            default_allow: bool,
        ) {
            let mut longer = chain.clone();
            longer.insert(at.index(chain.len() + 1), more.clone());
            let (before, after) = (merge(chain.clone(), default_allow), merge(longer, default_allow));
            let has_opinion = chain.iter().any(|verdict| *verdict != Verdict::Abstain);
            match (before, after) {
                (Ok(before), Ok(after)) => prop_assert_eq!(before.and(&after), after, "stricter or the same"),
                (Err(before), Ok(_)) => prop_assert!(!has_opinion, "{:?} was overruled", before),
                (Ok(_), Err(after)) => prop_assert_eq!(more, Verdict::Deny(after)),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn what_a_chain_grants_is_within_what_each_of_its_plugins_grants((chain, _) in chains()) {
            let Ok(granted) = merge(chain.clone(), false) else { return Ok(()) };
            for verdict in &chain {
                if let Verdict::Allow(part) = verdict {
                    prop_assert_eq!(&granted.and(part), &granted);
                }
            }
        }

        #[test]
        fn who_abstains_changes_nothing((chain, _) in chains(), at: prop::sample::Index, default_allow: bool) {
            let mut longer = chain.clone();
            longer.insert(at.index(chain.len() + 1), Verdict::Abstain);
            prop_assert_eq!(merge(chain, default_allow), merge(longer, default_allow));
        }
    }

    fn capped(spatial: u8) -> Verdict {
        Verdict::Allow(Grant { max_spatial: Some(spatial), ..Grant::default() })
    }

    #[test]
    fn any_deny_wins_wherever_it_stands() {
        let deny = || Verdict::Deny(Denial::new(ErrorCode::ROOM_FULL, "full"));
        for chain in [vec![deny(), capped(0)], vec![capped(0), Verdict::Abstain, deny()]] {
            assert_eq!(merge(chain, true).unwrap_err().code, ErrorCode::ROOM_FULL);
        }
    }

    #[test]
    fn the_strictest_grant_wins_in_any_order() {
        for chain in [[capped(1), capped(0), Verdict::Abstain], [Verdict::Abstain, capped(0), capped(1)]] {
            assert_eq!(merge(chain, false).unwrap().max_spatial, Some(0));
        }
    }

    #[test]
    fn the_default_decides_when_all_abstain() {
        assert!(merge([Verdict::Abstain], true).is_ok());
        assert_eq!(merge([Verdict::Abstain], false).unwrap_err().code, ErrorCode::FORBIDDEN);
        assert!(merge([], false).is_err());
    }
}
