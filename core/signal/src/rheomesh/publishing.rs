//! What a client publishes: its offers, each of which is answered, and what it took back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockgate_model::{PublishedTrack, TrackId};

use super::lines;

/// The publish transport, as far as it must be known here.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    /// Offers that wait for their answers, with their numbers.
    open: VecDeque<(i64, String)>,
    /// The last answer.
    answered: Option<String>,
    /// The mids of the tracks that are published.
    tracks: BTreeMap<TrackId, String>,
    /// The mids of those that were taken back: the client offers them as before.
    taken_back: BTreeSet<String>,
}

impl Publishing {
    /// The offer to make of the client's.
    ///
    /// # Errors
    /// Too many are open: the answer that refuses it.
    pub(crate) fn offer(&mut self, number: i64, offer: &str) -> Result<String, String> {
        if self.open.len() >= MAX_OPEN {
            return Err(lines::refuse(offer, self.answered.as_deref()));
        }
        let mids = lines::mids(offer);
        self.taken_back.retain(|mid| mids.contains(mid.as_str()));
        let offer = lines::take_back(offer, &self.taken_back);
        self.open.push_back((number, offer.clone()));
        Ok(offer)
    }

    /// The answer has come.
    pub(crate) fn answer(&mut self, number: i64, answer: &str, tracks: Vec<PublishedTrack>) {
        self.close(number);
        let accepted = tracks.into_iter().filter(|track| track.accepted);
        self.tracks = accepted.map(|track| (track.track_id, track.mid)).collect();
        self.answered = Some(answer.to_owned());
    }

    /// The answer to an offer that is refused as a whole; none if no such offer is open.
    pub(crate) fn refuse(&mut self, number: i64) -> Option<String> {
        let offer = self.close(number)?;
        Some(lines::refuse(&offer, self.answered.as_deref()))
    }

    /// An offer that never got as far as being made.
    pub(crate) fn refuse_unheard(&self, offer: &str) -> String {
        lines::refuse(offer, self.answered.as_deref())
    }

    /// Takes a track back.
    pub(crate) fn take_back(&mut self, track: &TrackId) {
        self.taken_back.extend(self.tracks.remove(track));
    }

    /// Whether this is one of the client's own tracks.
    pub(crate) fn has(&self, track: &TrackId) -> bool {
        self.tracks.contains_key(track)
    }

    fn close(&mut self, number: i64) -> Option<String> {
        let at = self.open.iter().position(|(open, _)| *open == number)?;
        self.open.remove(at).map(|(_, offer)| offer)
    }
}

/// Offers that may be open. The client makes one at a time.
const MAX_OPEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=video 9 X 96\r\na=mid:0\r\na=sendonly\r\nm=video 9 X 96\r\na=mid:1\r\na=sendonly\r\n";

    fn accepted(track: &str, mid: &str) -> PublishedTrack {
        let track_id = TrackId::new(track).unwrap();
        PublishedTrack { track_id, mid: mid.into(), accepted: true, code: None, reason: None }
    }

    #[test]
    fn a_track_that_was_taken_back_is_not_published_again_by_the_next_offer() {
        let mut publishing = Publishing::default();
        assert_eq!(publishing.offer(1, OFFER).unwrap(), OFFER);
        publishing.answer(1, "v=0\r\n", vec![accepted("a", "0"), accepted("b", "1")]);
        publishing.take_back(&TrackId::new("a").unwrap());
        let next = publishing.offer(2, OFFER).unwrap();
        assert!(next.contains("a=mid:0\r\na=inactive") && next.contains("a=mid:1\r\na=sendonly"), "{next}");
        // Its line is gone from the offer, and with it the memory of it.
        publishing.answer(2, "v=0\r\n", vec![accepted("b", "1")]);
        let (_, rest) = OFFER.split_at(OFFER.rfind("m=video").unwrap());
        publishing.offer(3, rest).unwrap();
        assert!(publishing.taken_back.is_empty());
    }

    #[test]
    fn every_offer_has_an_answer() {
        let mut publishing = Publishing::default();
        for number in 0..MAX_OPEN as i64 {
            publishing.offer(number, OFFER).unwrap();
        }
        assert!(publishing.offer(99, OFFER).unwrap_err().contains("m=video 0"));
        assert!(publishing.refuse(0).unwrap().contains("m=video 0"));
        assert_eq!(publishing.refuse(0), None);
    }
}
