//! Damage, for tests of whatever reads bytes from outside, here and in other crates.
//!
//! `PROPTEST_CASES=20000 cargo test …` looks for longer than builds do.
//!
//! What is right gets further into a reader than noise does, also when somebody has changed bytes of it, turned bits, cut it off, or
//! taken out, doubled and put in pieces. Only compiled with the feature `testing`; nothing of it is in a product.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One of a corpus, more or less damaged; once in a while noise.
pub fn damaged(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let struck = (select(corpus), prop::collection::vec(harm(), 0..8)).prop_map(|(mut bytes, harms)| {
        harms.into_iter().for_each(|harm| harm.strike(&mut bytes));
        bytes
    });
    prop_oneof![7 => struck, 1 => prop::collection::vec(any::<u8>(), 0..120)]
}

/// One text of a corpus, more or less damaged; once in a while noise.
pub fn damaged_text<T: Into<String>>(corpus: impl IntoIterator<Item = T>) -> impl Strategy<Value = String> {
    let corpus = corpus.into_iter().map(|text| text.into().into_bytes()).collect();
    damaged(corpus).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// So many cases, as few as a build has patience for, or as many as `PROPTEST_CASES` says: settings of a test of its own would
/// win over that.
pub fn cases(few: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(few),
    }
}

/// What happens to bytes.
#[derive(Clone, Debug)]
enum Harm {
    Byte(Index, u8),
    Bit(Index, u8),
    Cut(Index),
    Without(Index, usize),
    Twice(Index, usize),
    With(Index, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    let byte = prop_oneof![any::<u8>(), select(vec![0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b' '])];
    let strange = ["99999999999999999999", "-1", "\r\n", "é", "\0", "\"", "{}", ":", "\u{ff}\u{ff}"];
    let piece = prop_oneof![
        select(strange.map(|piece| piece.as_bytes().to_vec()).to_vec()),
        prop::collection::vec(any::<u8>(), 1..12),
    ];
    prop_oneof![
        4 => (at(), byte).prop_map(|(at, byte)| Harm::Byte(at, byte)),
        2 => (at(), 0_u8..8).prop_map(|(at, bit)| Harm::Bit(at, bit)),
        1 => at().prop_map(Harm::Cut),
        1 => (at(), 1_usize..24).prop_map(|(at, length)| Harm::Without(at, length)),
        1 => (at(), 1_usize..24).prop_map(|(at, length)| Harm::Twice(at, length)),
        1 => (at(), piece).prop_map(|(at, piece)| Harm::With(at, piece)),
    ]
}

impl Harm {
    fn strike(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len();
        let piece = |at: Index, length: usize| at.index(size)..(at.index(size) + length).min(size);
        match self {
            Self::Byte(at, byte) => bytes[at.index(size)] = byte,
            Self::Bit(at, bit) => bytes[at.index(size)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(size)),
            Self::Without(at, length) => drop(bytes.drain(piece(at, length))),
            Self::Twice(at, length) => {
                let again = bytes[piece(at, length)].to_vec();
                drop(bytes.splice(at.index(size)..at.index(size), again));
            }
            Self::With(at, piece) => drop(bytes.splice(at.index(size)..at.index(size), piece)),
        }
    }
}
