use std::ops::Range;

use lockgate_model::Frames;

use super::*;

/// How loud somebody is, in dB below the loudest, in a frame by its number. 50 a second.
type Sound = Box<dyn Fn(u64) -> u8>;

/// Microphones, and what was decided of them, in virtual time.
struct Scene {
    speakers: Speakers,
    sounds: Vec<(TrackId, Option<Sound>)>,
    frame: u64,
    /// Who spoke from when on, in ms.
    decisions: Vec<(u64, u64)>,
}

impl Scene {
    /// This many microphones, of publishers 0, 1 …, in rooms with a little noise.
    fn of(count: u64) -> Self {
        let (mut speakers, mut sounds) = (Speakers::default(), Vec::new());
        for publisher in 0..count {
            let track = TrackId::new(format!("a{publisher}")).unwrap();
            speakers.add(track.clone(), PublisherId(publisher));
            sounds.push((track, Some(noise())));
        }
        Self { speakers, sounds, frame: 0, decisions: Vec::new() }
    }

    fn set(&mut self, publisher: usize, sound: Sound) {
        self.sounds[publisher].1 = Some(sound);
    }

    /// Nothing comes of a microphone any more.
    fn cut(&mut self, publisher: usize) {
        self.sounds[publisher].1 = None;
    }

    /// Lets this much time pass, in ms: a report every 100 ms.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            let range = self.frame..self.frame + 5;
            self.frame = range.end;
            let heard = self.sounds.iter().filter_map(|(track, sound)| {
                Some(Heard { track: track.clone(), frames: report(sound.as_ref()?, range.clone()) })
            });
            let (heard, at): (Vec<_>, _) = (heard.collect(), NodeTime(self.frame * 20_000));
            self.speakers.hear(at, &heard, |_| true);
            if let Some(PublisherId(publisher)) = self.speakers.decide(at) {
                self.decisions.push((publisher, self.frame * 20));
            }
        }
    }

    fn dominant(&self) -> Option<u64> {
        self.speakers.dominant().map(|(_, PublisherId(publisher))| publisher)
    }

    /// Who spoke, one after the other, since the last call.
    fn spoke(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.decisions).into_iter().map(|(publisher, _)| publisher).collect()
    }
}

/// What an engine reports of these frames.
fn report(sound: &Sound, range: Range<u64>) -> Frames {
    let mut frames = Frames::default();
    range.for_each(|frame| frames.push(Loudness::below_loudest(sound(frame))));
    frames
}

/// A quiet room, −72 dBov with some ripple.
fn noise() -> Sound {
    Box::new(|frame| 70 + (frame % 5) as u8)
}

/// Speech: five syllables a second with gaps between them, and a pause of 300 ms after every two seconds. `at` moves it in time.
fn speech(below: u8, at: u64) -> Sound {
    Box::new(move |frame| match (frame + at) % 115 {
        100.. => 71,
        within if within % 10 >= 8 => below + 28,
        within => below + (within % 4) as u8,
    })
}

/// Loud for this many frames from one on.
fn burst(from: u64, frames: u64, below: u8) -> Sound {
    Box::new(move |frame| if (from..from + frames).contains(&frame) { below } else { 72 })
}

#[test]
fn who_speaks_first_is_the_speaker_within_a_second() {
    let mut scene = Scene::of(3);
    scene.pass(2000);
    assert_eq!(scene.decisions, []);
    scene.set(1, speech(26, 0));
    scene.pass(1000);
    let [(1, at)] = scene.decisions[..] else { panic!("{:?}", scene.decisions) };
    assert!((400..=800).contains(&(at - 2000)), "{at}");
    assert_eq!(scene.dominant(), Some(1));
}

#[test]
fn who_goes_on_speaking_takes_over_within_about_a_second() {
    for (quiet, shift) in [(26, 0), (40, 3), (26, 57), (33, 81)] {
        let mut scene = Scene::of(2);
        scene.set(0, speech(26, 0));
        scene.pass(5000);
        assert_eq!(scene.spoke(), [0]);
        scene.set(0, noise());
        scene.set(1, speech(quiet, shift));
        scene.pass(1200);
        let [(1, at)] = scene.decisions[..] else { panic!("{:?} with {shift}", scene.decisions) };
        assert!(at - 5000 <= 1200, "{at}");
    }
}

#[test]
fn a_cough_a_click_and_a_beep_do_not_make_a_speaker() {
    for (frames, below) in [(10, 8), (1, 0), (3, 10), (15, 12)] {
        let mut scene = Scene::of(2);
        scene.set(0, speech(30, 0));
        scene.pass(4000);
        assert_eq!(scene.spoke(), [0]);
        // The first one pauses to think, and the second one coughs.
        scene.set(0, noise());
        scene.set(1, burst(scene.frame + 60, frames, below));
        scene.pass(4000);
        assert_eq!(scene.spoke(), [0_u64; 0], "{frames} frames");
        // Also every second, as a browser's made-up microphone does.
        scene.set(1, Box::new(move |frame| if frame % 50 < frames { below } else { 72 }));
        scene.pass(5000);
        assert_eq!(scene.spoke(), [0_u64; 0], "{frames} frames a second");
    }
}

/// What becomes of the made-up microphone of Chromium behind its noise suppression: a beep, twice a second, that dies away.
#[test]
fn what_echoes_of_a_knock_is_no_speech() {
    const BEEP: [u8; 10] = [9, 12, 28, 34, 39, 41, 46, 49, 54, 57];
    let mut scene = Scene::of(2);
    scene.set(0, speech(30, 0));
    scene.pass(3000);
    scene.set(0, noise());
    scene.set(1, Box::new(|frame| BEEP.get((frame % 25) as usize).copied().unwrap_or(90)));
    scene.pass(20_000);
    assert_eq!(scene.spoke(), [0]);
}

#[test]
fn two_who_speak_at_once_leave_it_with_the_first() {
    for shift in 0..115 {
        let mut scene = Scene::of(2);
        scene.set(0, speech(30, 0));
        scene.pass(3000);
        scene.set(1, speech(24, shift));
        scene.pass(10_000);
        assert_eq!(scene.spoke(), [0], "with {shift}");
    }
}

#[test]
fn an_assent_in_between_changes_nothing() {
    let mut scene = Scene::of(2);
    scene.set(0, speech(30, 0));
    scene.pass(3000);
    scene.set(1, burst(scene.frame + 20, 20, 30));
    scene.pass(3000);
    assert_eq!(scene.spoke(), [0]);
}

#[test]
fn silence_keeps_who_spoke_last() {
    let mut scene = Scene::of(2);
    scene.set(1, speech(26, 0));
    scene.pass(2000);
    scene.set(1, noise());
    scene.pass(60_000);
    assert_eq!((scene.spoke(), scene.dominant()), (vec![1], Some(1)));
}

#[test]
fn who_mutes_or_sends_nothing_in_pauses_is_silent() {
    let mut scene = Scene::of(2);
    scene.set(0, speech(26, 0));
    scene.pass(3000);
    scene.cut(0);
    scene.set(1, speech(26, 0));
    scene.pass(1200);
    assert_eq!(scene.spoke(), [0, 1]);
    scene.speakers.silence(&TrackId::new("a1").unwrap());
    scene.cut(1);
    scene.set(0, speech(40, 0));
    scene.pass(800);
    assert_eq!(scene.spoke(), [0]);
}

#[test]
fn noise_that_goes_on_is_no_speech_and_does_not_keep_others_from_speaking() {
    let mut scene = Scene::of(2);
    // A fan that stands beside a microphone: switched on, it is loud at once.
    scene.set(0, Box::new(|frame| 42 + (frame % 3) as u8));
    scene.pass(20_000);
    scene.spoke();
    scene.set(1, speech(26, 0));
    scene.pass(1500);
    assert_eq!(scene.spoke(), [1]);
}

#[test]
fn who_is_gone_is_the_speaker_no_more() {
    let mut scene = Scene::of(2);
    scene.set(0, speech(26, 0));
    scene.pass(2000);
    scene.speakers.remove(&TrackId::new("a0").unwrap());
    scene.pass(1000);
    assert_eq!((scene.spoke(), scene.dominant()), (vec![0], None));
}

#[test]
fn those_who_do_not_count_are_not_heard() {
    let mut speakers = Speakers::default();
    let track = TrackId::new("a").unwrap();
    speakers.add(track.clone(), PublisherId(1));
    let (sound, mut at) = (speech(20, 0), 0);
    for number in 0..30 {
        let frames = report(&sound, number * 5..number * 5 + 5);
        at += 100_000;
        speakers.hear(NodeTime(at), &[Heard { track: track.clone(), frames }], |_| false);
        assert_eq!(speakers.decide(NodeTime(at)), None);
    }
}

#[test]
fn levels_are_of_those_who_speak_the_loudest_first() {
    let mut scene = Scene::of(3);
    scene.set(0, speech(40, 0));
    scene.set(2, speech(20, 0));
    scene.pass(1500);
    let levels: Vec<_> =
        scene.speakers.levels().into_iter().map(|(_, publisher, level)| (publisher.0, level.dbov())).collect();
    let [(2, loud), (0, quiet)] = levels[..] else { panic!("{levels:?}") };
    assert!((-40..=-20).contains(&loud) && (-60..=-40).contains(&quiet), "{levels:?}");
    assert!(matches!(scene.speakers.turn(&TrackId::new("a2").unwrap()), Turn::Since(_)));
    scene.set(0, noise());
    scene.pass(1000);
    assert!(matches!(scene.speakers.turn(&TrackId::new("a0").unwrap()), Turn::Until(_)));
    assert_eq!(scene.speakers.turn(&TrackId::new("a1").unwrap()), Turn::Never);
}

#[test]
fn reports_that_come_late_or_together_count_in_full() {
    let mut speakers = Speakers::default();
    let track = TrackId::new("a").unwrap();
    speakers.add(track.clone(), PublisherId(1));
    let sound = speech(26, 0);
    let mut decided = None;
    // Two reports' worth of frames every 200 ms, by an engine that is busy.
    for number in 0..6 {
        let frames = report(&sound, number * 10..number * 10 + 10);
        let at = NodeTime((number + 1) * 200_000 + number % 2 * 50_000);
        speakers.hear(at, &[Heard { track: track.clone(), frames }], |_| true);
        decided = decided.or(speakers.decide(at).map(|publisher| (publisher, number)));
    }
    let Some((PublisherId(1), number)) = decided else { panic!("{decided:?}") };
    assert!(number <= 4);
}
