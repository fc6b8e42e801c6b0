//! Randomness, which comes in from outside: the engine has none of its own.

/// A source of randomness good enough for secrets.
pub struct Entropy(Box<Fill>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Entropy {
    /// A source that fills what it is given.
    pub fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Box::new(fill))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// A source number: any but 0, which some take for "none".
    pub(crate) fn ssrc(&mut self) -> u32 {
        self.u32().max(1)
    }
}
