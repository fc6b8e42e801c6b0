//! Names that are near each other, and limits in words.

use lockgate_model::distance;
use lockgate_model::policy::Grant;

/// Names that may have been meant: those like it, else some of those there are.
pub(super) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<&str> = names.collect();
    all.sort_unstable();
    all.dedup();
    let wanted = name.to_lowercase();
    let far = |other: &&str| distance(&wanted, &other.to_lowercase());
    let alike = |other: &&&str| far(other) <= 2 || other.to_lowercase().contains(&wanted);
    let mut like: Vec<&str> = all.iter().filter(alike).copied().collect();
    like.sort_by_key(far);
    let chosen = if like.is_empty() { all } else { like };
    chosen.into_iter().take(SHOWN).map(str::to_owned).collect()
}

pub(super) fn nearest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; there is {}", near.join(", ")),
    }
}

/// What a grant limits of a track that is received.
pub(super) fn limits(grant: &Grant) -> Vec<String> {
    let layer = |what: &str, most: Option<u8>| most.map(|most| format!("{what} layers up to {most}"));
    let bitrate = grant.max_bitrate.map(|most| format!("at most {most}"));
    let ends = grant.expires_at_ms.map(|ends| format!("until {}", lockgate_model::rfc3339(ends.saturating_mul(1000))));
    let all = [layer("spatial", grant.max_spatial), layer("temporal", grant.max_temporal), bitrate, ends];
    all.into_iter().flatten().collect()
}

const SHOWN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_alike_comes_first() {
        let names = ["alice", "Alicia", "bob", "bob"];
        assert_eq!(near("Alcie", names.into_iter()), ["Alicia", "alice"]);
        assert_eq!(near("ali", names.into_iter()), ["alice", "Alicia"]);
        assert_eq!(near("xxxxxx", names.into_iter()), ["Alicia", "alice", "bob"]);
    }
}
