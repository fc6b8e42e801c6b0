use lockgate_model::policy::Grant;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

/// What a plugin that accepts says: who, until when, and some limits of each kind.
type Said = (String, Option<u64>, (Option<u8>, Option<bool>, Option<bool>, bool));

fn said() -> impl Strategy<Value = Said> {
    ("[a-d]", of(0..9u64), (of(0..4u8), of(any::<bool>()), of(any::<bool>()), any::<bool>()))
}

fn accepted((subject, expires_at_ms, (max_spatial, can_publish, admin, hidden)): &Said) -> Accepted {
    let grant = Grant {
        max_spatial: *max_spatial,
        can_publish: *can_publish,
        admin: *admin,
        hidden: *hidden,
        ..Grant::default()
    };
    let (subject, username) = (subject.clone(), String::new());
    Accepted { subject, username, claims: Vec::new(), expires_at_ms: *expires_at_ms, grant }
}

/// What a chain makes of them.
fn known(chain: &[Said]) -> Option<Identity> {
    chain.iter().fold(None, |known, said| Some(narrowed(known, accepted(said)).expect("nobody denies")))
}

proptest! {
    #[test]
    fn the_first_that_accepts_says_who_it_is_and_the_others_only_narrow(chain in vec(said(), 1..6)) {
        let (first, all) = (known(&chain[..1]).unwrap(), known(&chain).unwrap());
        prop_assert_eq!((&all.subject, all.user_id, &all.username), (&first.subject, first.user_id, &first.username));
        for one in &chain {
            let Accepted { grant, expires_at_ms, .. } = accepted(one);
            prop_assert_eq!(&all.grant.and(&grant), &all.grant);
            prop_assert!(expires_at_ms.is_none_or(|end| all.expires_at_ms.is_some_and(|all| all <= end)));
        }
    }

    #[test]
    fn the_order_of_those_that_accept_changes_only_the_identity(
        (chain, shuffled) in vec(said(), 1..6).prop_flat_map(|chain| (Just(chain.clone()), Just(chain).prop_shuffle())),
    ) {
        let (one, other) = (known(&chain).unwrap(), known(&shuffled).unwrap());
        prop_assert_eq!((one.grant, one.expires_at_ms), (other.grant, other.expires_at_ms));
    }
}
