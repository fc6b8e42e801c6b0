//! What may reach the DTLS 1.2 library: whole handshake messages in order, and little else.
//!
//! The library reassembles fragments recursively in about cubic time, queues records of a later epoch without limit,
//! reads a record of several fragments wrongly, and ends the association on a forged unprotected record. So
//! reassembly is done here, within limits, and each message is handed on in a record of its own.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::record::{Fragment, MessageHeader, Record, Records, content, put_record, whole_message};

/// Filters the datagrams of one association.
pub(super) struct Guard {
    partial: BTreeMap<u16, Partial>,
    /// The first message that the library has not seen yet.
    next: u16,
    /// Messages below this are those that our last flight answers.
    answered: u16,
    /// Number of the next unprotected record that we hand on: theirs mean nothing after reassembly.
    sequence: u64,
    fragments: usize,
    /// Those of them that are shorter than [`SMALL_FRAGMENT`] without being a message's last.
    small: usize,
    bytes: usize,
    /// Unprotected alerts and cipher changes handed on.
    signals: usize,
    /// Protected records handed on before completion.
    early: usize,
    complete: bool,
    dropped: u64,
}

/// What is left of a datagram.
#[derive(Default)]
pub(super) struct Passed {
    /// Records for the library; empty when there is nothing to read.
    pub(super) datagram: BytesMut,
    /// The peer sent a message again that we have answered: our last flight seems to be lost.
    pub(super) repeated: bool,
}

/// The association has spent its allowance of handshake fragments or bytes.
#[derive(Debug)]
pub(super) struct AllowanceSpent;

/// A message of which pieces are missing.
struct Partial {
    header: MessageHeader,
    pieces: BTreeMap<usize, Vec<u8>>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            partial: BTreeMap::new(),
            next: 0,
            answered: 0,
            sequence: 0,
            fragments: 0,
            small: 0,
            bytes: 0,
            signals: 0,
            early: 0,
            complete: false,
            dropped: 0,
        }
    }

    /// Takes a datagram from the network and says what of it may be read.
    pub(super) fn filter(&mut self, datagram: &[u8]) -> Result<Passed, AllowanceSpent> {
        let mut passed = Passed::default();
        let mut records = Records::of(datagram);
        for record in records.by_ref() {
            self.on_record(record, &mut passed)?;
        }
        if records.is_broken() {
            self.dropped += 1;
        }
        Ok(passed)
    }

    /// Says that a new flight of ours answers everything that was handed on so far.
    pub(super) fn on_answer(&mut self) {
        self.answered = self.next;
    }

    /// Says that the handshake is complete. From here on only protected data and alerts are handed on.
    pub(super) fn on_complete(&mut self) {
        self.complete = true;
        self.answered = self.next;
        self.partial.clear();
    }

    /// Whether exactly one message was handed on: the first ClientHello.
    pub(super) fn has_passed_one_message(&self) -> bool {
        self.next == 1
    }

    /// How many records, fragments and broken ends of datagrams were refused.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn on_record(&mut self, record: Record<'_>, passed: &mut Passed) -> Result<(), AllowanceSpent> {
        match (record.epoch, record.content) {
            (0, content::HANDSHAKE) => return self.on_handshake(record.body, passed),
            (0, content::ALERT | content::CHANGE_CIPHER_SPEC) => self.on_signal(record, passed),
            (1, _) if self.complete => self.on_protected(record, passed),
            (1, _) => self.on_early(record, passed),
            _ => self.dropped += 1,
        }
        Ok(())
    }

    /// An unprotected alert or cipher change, by anyone. After completion it is forged or late; before, only
    /// well-formed ones that mean something are handed on, because the library gives up on any other.
    fn on_signal(&mut self, record: Record<'_>, passed: &mut Passed) {
        let meant = matches!(
            (record.content, record.body),
            (content::CHANGE_CIPHER_SPEC, [1]) | (content::ALERT, [FATAL, _] | [_, CLOSE_NOTIFY])
        );
        if !meant || self.complete || self.signals == MAX_SIGNALS {
            self.dropped += 1;
            return;
        }
        self.signals += 1;
        self.hand_on(record.content, record.body, passed);
    }

    /// A protected record before completion: the peer's `Finished`, perhaps ahead of what belongs before it.
    fn on_early(&mut self, record: Record<'_>, passed: &mut Passed) {
        if self.early == MAX_EARLY || record.whole.len() > MAX_EARLY_LENGTH {
            self.dropped += 1;
            return;
        }
        self.early += 1;
        passed.datagram.extend_from_slice(record.whole);
    }

    /// A protected record after completion. Handshake content is the peer's `Finished` once more: there is no
    /// renegotiation.
    fn on_protected(&mut self, record: Record<'_>, passed: &mut Passed) {
        match record.content {
            content::ALERT | content::APPLICATION_DATA => passed.datagram.extend_from_slice(record.whole),
            content::HANDSHAKE => passed.repeated = true,
            _ => self.dropped += 1,
        }
    }

    fn on_handshake(&mut self, mut body: &[u8], passed: &mut Passed) -> Result<(), AllowanceSpent> {
        while !body.is_empty() {
            let Some(fragment) = Fragment::take(&mut body) else {
                self.dropped += 1;
                break;
            };
            self.on_fragment(fragment, passed)?;
        }
        self.hand_on_whole_messages(passed);
        Ok(())
    }

    fn on_fragment(&mut self, fragment: Fragment<'_>, passed: &mut Passed) -> Result<(), AllowanceSpent> {
        let sequence = fragment.header.sequence;
        if sequence < self.next {
            passed.repeated |= sequence < self.answered;
            return Ok(());
        }
        if self.complete || !is_acceptable(&fragment) {
            self.dropped += 1;
            return Ok(());
        }
        self.keep(fragment)
    }

    fn keep(&mut self, fragment: Fragment<'_>) -> Result<(), AllowanceSpent> {
        let header = fragment.header;
        let partial = self.partial.entry(header.sequence).or_insert_with(|| Partial::new(header));
        if partial.header != header {
            self.dropped += 1;
            return Ok(());
        }
        if partial.has(&fragment) {
            return Ok(());
        }
        let is_small = fragment.data.len() < SMALL_FRAGMENT && !fragment.is_last();
        if is_small && self.small == MAX_SMALL {
            self.dropped += 1;
            return Ok(());
        }
        if self.fragments == MAX_FRAGMENTS || self.bytes + fragment.data.len() > MAX_BYTES {
            return Err(AllowanceSpent);
        }
        self.fragments += 1;
        self.small += usize::from(is_small);
        self.bytes += fragment.data.len();
        partial.pieces.insert(fragment.offset, fragment.data.to_vec());
        Ok(())
    }

    fn hand_on_whole_messages(&mut self, passed: &mut Passed) {
        while let Some(message) = self.partial.get(&self.next).and_then(Partial::assemble) {
            self.partial.remove(&self.next);
            self.next += 1;
            self.hand_on(content::HANDSHAKE, &message, passed);
        }
    }

    fn hand_on(&mut self, content: u8, body: &[u8], passed: &mut Passed) {
        put_record(&mut passed.datagram, content, self.sequence, body);
        self.sequence += 1;
    }
}

impl Partial {
    fn new(header: MessageHeader) -> Self {
        Self { header, pieces: BTreeMap::new() }
    }

    /// Whether the piece at that place is at least as long.
    fn has(&self, fragment: &Fragment<'_>) -> bool {
        self.pieces.get(&fragment.offset).is_some_and(|piece| piece.len() >= fragment.data.len())
    }

    /// The message as one fragment, if no byte is missing. Pieces may overlap (RFC 6347 §4.2.3): the earlier one wins.
    fn assemble(&self) -> Option<Vec<u8>> {
        if self.covered() != self.header.length {
            return None;
        }
        let mut message = whole_message(self.header);
        let start = message.len();
        for (offset, piece) in &self.pieces {
            let known = message.len() - start - offset;
            message.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        Some(message)
    }

    /// How many bytes there are from the start on without a gap.
    fn covered(&self) -> usize {
        self.pieces
            .iter()
            .fold(0, |end, (offset, piece)| if *offset <= end { end.max(offset + piece.len()) } else { end })
    }
}

/// Whether a fragment can be part of a handshake at all.
fn is_acceptable(fragment: &Fragment<'_>) -> bool {
    let (header, length) = (fragment.header, fragment.data.len());
    let inside = fragment.offset + length <= header.length && header.length <= MAX_MESSAGE;
    let useful = length > 0 || header.length == 0;
    inside && useful && header.sequence < MAX_MESSAGES
}

const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

/// The longest handshake message, in bytes. A chain of RSA-4096 certificates takes a third of it.
const MAX_MESSAGE: usize = 16_384;
/// Pieces below this are not how a message is cut, in bytes: OpenSSL at its smallest MTU sends 230.
const SMALL_FRAGMENT: usize = 128;
/// But it fills up a datagram with the beginning of the next message, which may be a single byte. Once or twice a flight.
const MAX_SMALL: usize = 32;
/// Fragments kept in an association's life, repeats not counted. A browser needs about 10, small fragments 30.
const MAX_FRAGMENTS: usize = 256;
/// Bytes of handshake kept in an association's life. A large handshake has 12 KiB.
const MAX_BYTES: usize = 65_536;
/// Unprotected messages of one peer. A handshake has at most eight.
const MAX_MESSAGES: u16 = 16;
/// Unprotected alerts and cipher changes: one for each time that a peer can repeat its last flight in 30 s.
const MAX_SIGNALS: usize = 32;
/// Protected records before completion; as for [`MAX_SIGNALS`].
const MAX_EARLY: usize = 32;
/// The longest of those, in bytes; a `Finished` has some 60.
const MAX_EARLY_LENGTH: usize = 2_048;

#[cfg(test)]
mod tests;
