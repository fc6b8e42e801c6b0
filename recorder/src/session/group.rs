//! The tracks of a publisher that share a file, and when that file ends and the next one begins.
//!
//! A Matroska file names its tracks at its start. So a file begins when every picture of the group has a key frame to begin
//! with (or that takes too long), and ends when a track joins that it does not know or a picture that it cannot describe.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use lockgate_model::carrier::{AddTrack, FileState, TrackNumber};
use lockgate_model::{MediaKind, PublisherId};

use super::part::Part;
use super::timed::{Done, Timed};
use crate::archive::{self, Archive, FileEntry, LeftOpen, NewFile, Progress};
use crate::assemble::Shape;
use crate::webm::{Head, TrackHead, Writer};

/// When a file ends although nothing else asks for that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartLimits {
    /// Of what it holds.
    pub(crate) length: Option<Duration>,
    /// Its size.
    pub(crate) bytes: Option<u64>,
}

/// A group of tracks.
pub(super) struct Group {
    publisher: PublisherId,
    kind: archive::Group,
    limits: PartLimits,
    members: Vec<Member>,
    part: Option<Part>,
    /// Frames for the next file.
    held: VecDeque<Timed>,
    held_bytes: usize,
    /// Since when the next file is waited for.
    waiting: Option<Instant>,
    /// The next file is waited for only because the open one is long enough.
    rotating: bool,
    done: Vec<Done>,
}

struct Member {
    add: AddTrack,
    /// The shape of the key frame that is held for the next file.
    shape: Option<Shape>,
    /// Its frames are dropped for want of a key frame.
    starved: bool,
    over: bool,
}

impl Member {
    fn is_picture(&self) -> bool {
        self.add.kind == MediaKind::Video
    }

    /// Whether the next file has a track for it.
    fn belongs(&self) -> bool {
        if self.is_picture() { self.shape.is_some() } else { !self.over }
    }
}

impl Group {
    pub(super) fn new((publisher, kind): (PublisherId, archive::Group), limits: PartLimits) -> Self {
        Self {
            publisher,
            kind,
            limits,
            members: Vec::new(),
            part: None,
            held: VecDeque::new(),
            held_bytes: 0,
            waiting: None,
            rotating: false,
            done: Vec::new(),
        }
    }

    /// Goes on with a file that another recorder left open. Of two, the later one.
    pub(super) fn take_over(&mut self, left: LeftOpen, archive: &mut Archive, now: Instant) -> io::Result<()> {
        self.end_part(archive)?;
        self.part = Some(Part::resume(left, now));
        Ok(())
    }

    /// Tells beside the open file how far it has come.
    pub(super) fn mark(&mut self, progress: impl Fn(TrackNumber) -> Option<Progress>) -> io::Result<()> {
        self.part.as_mut().map_or(Ok(()), |part| part.mark(progress))
    }

    /// Whether it has no track that could bring anything.
    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty()
    }

    /// A track joins; it makes a difference with its first frame.
    pub(super) fn join(&mut self, add: AddTrack) {
        self.members.push(Member { add, shape: None, starved: false, over: false });
    }

    /// Whether a track of this number is or was here and has left something that a newcomer would be taken for.
    pub(super) fn knows(&self, track: TrackNumber) -> bool {
        self.members.iter().any(|member| member.add.number == track)
            || self.part.as_ref().is_some_and(|part| part.has(track))
    }

    /// Takes a frame: into the open file, or for the next one.
    pub(super) fn take(&mut self, timed: Timed, archive: &mut Archive, now: Instant) -> io::Result<()> {
        if !self.is_for_next(&timed) {
            return self.part.as_mut().map_or(Ok(()), |part| part.push(timed, now));
        }
        let Some(member) = self.members.iter_mut().find(|member| member.add.number == timed.track) else {
            return Ok(());
        };
        if member.is_picture() && member.shape.is_none() {
            match &timed.frame.shape {
                Some(shape) if timed.frame.keyframe => {
                    member.shape = Some(shape.clone());
                    member.starved = false;
                }
                // Its key frame was not waited for any longer; there is no file that it could go to.
                _ => {
                    member.starved = true;
                    self.done.push(timed.done(false));
                    return Ok(());
                }
            }
        }
        if self.rotating && self.part.as_ref().is_none_or(|part| !part.takes(&timed)) {
            // Now there is a reason that does not wait so long.
            (self.rotating, self.waiting) = (false, None);
        }
        self.held_bytes += timed.frame.data.len();
        self.held.push_back(timed);
        self.waiting.get_or_insert(now);
        self.begin_if_ready(archive, now)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, archive: &mut Archive, now: Instant) -> io::Result<()> {
        if self.waiting.is_none() && self.part.as_ref().is_some_and(|part| part.is_full(self.limits)) {
            (self.waiting, self.rotating) = (Some(now), true);
        }
        self.begin_if_ready(archive, now)?;
        self.part.as_mut().map_or(Ok(()), |part| part.drain(now))
    }

    /// Hands the open file's bytes to the operating system; the frames that are done with.
    pub(super) fn flush(&mut self) -> io::Result<Vec<Done>> {
        if let Some(part) = &mut self.part {
            part.flush(&mut self.done)?;
        }
        Ok(std::mem::take(&mut self.done))
    }

    /// A track is over. `true` if it was the last: all files are closed.
    pub(super) fn leave(&mut self, track: TrackNumber, archive: &mut Archive, now: Instant) -> io::Result<bool> {
        if let Some(member) = self.members.iter_mut().find(|member| member.add.number == track) {
            member.over = true;
        }
        if !self.members.iter().all(|member| member.over) {
            self.forget();
            return Ok(false);
        }
        self.close(archive, now)?;
        Ok(true)
    }

    /// Closes the files; what is held for a next one makes one.
    pub(super) fn close(&mut self, archive: &mut Archive, now: Instant) -> io::Result<()> {
        for _ in 0..MOST_AT_END {
            if self.held.is_empty() {
                break;
            }
            self.begin(archive, now)?;
        }
        self.done.extend(self.held.drain(..).map(|timed| timed.done(false)));
        self.end_part(archive)
    }

    /// Closes the open file, whatever is held.
    pub(super) fn abandon(&mut self, archive: &mut Archive) -> io::Result<()> {
        self.end_part(archive)
    }

    /// Enters how far the open file has come.
    pub(super) fn report(&self, archive: &mut Archive) {
        if let Some(part) = &self.part {
            part.report(archive);
        }
    }

    /// Whether a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.part.is_some()
    }

    /// Whether a file waits for a key frame of this track.
    pub(super) fn wants_keyframe(&self, track: TrackNumber) -> bool {
        let waiting = self.waiting.is_some();
        self.lacking().any(|member| member.add.number == track && (waiting || member.starved))
    }

    /// Whether a frame belongs into the next file: the open one does not know its track or cannot describe it, or the next one
    /// has begun with a key frame of its track.
    fn is_for_next(&self, timed: &Timed) -> bool {
        if self.part.as_ref().is_none_or(|part| !part.takes(timed)) {
            return true;
        }
        let member = self.members.iter().find(|member| member.add.number == timed.track);
        self.waiting.is_some()
            && member.is_some_and(|member| member.is_picture() && (timed.frame.keyframe || member.shape.is_some()))
    }

    fn lacking(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_picture() && !member.over && member.shape.is_none())
    }

    fn begin_if_ready(&mut self, archive: &mut Archive, now: Instant) -> io::Result<()> {
        let Some(since) = self.waiting else { return Ok(()) };
        let waited = now.saturating_duration_since(since);
        let live = |picture: bool| self.members.iter().any(|member| !member.over && member.is_picture() == picture);
        let patience = match () {
            // A picture without its key frame would be left out of the next file, and the open one takes it still.
            () if self.lacking().next().is_some() && self.rotating => ROTATION_WAIT,
            () if self.lacking().next().is_some() => KEYFRAME_WAIT,
            // Sound and picture are published one shortly after the other.
            () if self.part.is_none() && !(live(true) && live(false)) => SETTLE,
            () => Duration::ZERO,
        };
        // Whoever changes parameters all the time must not make a file each time.
        let too_soon = !self.rotating && self.part.as_ref().is_some_and(|part| part.age(now) < SHORTEST);
        if waited >= patience && !too_soon || self.held_bytes > MAX_HELD { self.begin(archive, now) } else { Ok(()) }
    }

    /// Ends the open file and begins the next one with what is held.
    fn begin(&mut self, archive: &mut Archive, now: Instant) -> io::Result<()> {
        self.end_part(archive)?;
        (self.waiting, self.rotating) = (None, false);
        self.held_bytes = 0;
        self.held.make_contiguous().sort_by_key(|timed| timed.at_us);
        if let Some(start_us) = self.held.front().map(|first| first.at_us) {
            self.part = Some(self.open_part(archive, start_us, now)?);
        }
        for member in &mut self.members {
            member.shape = None;
        }
        for timed in std::mem::take(&mut self.held) {
            self.sort_out(timed, now)?;
        }
        self.forget();
        Ok(())
    }

    /// Forgets members that are over and of which nothing is left to be written.
    fn forget(&mut self) {
        let (part, held) = (self.part.as_ref(), &self.held);
        self.members.retain(|member| {
            let number = member.add.number;
            !member.over || part.is_some_and(|part| part.has(number)) || held.iter().any(|timed| timed.track == number)
        });
    }

    /// Puts a frame that was held into the file that has just begun, or, when a key frame since then does not fit that file's
    /// head, holds it for the one after.
    fn sort_out(&mut self, timed: Timed, now: Instant) -> io::Result<()> {
        if let Some(part) = self.part.as_mut().filter(|part| part.takes(&timed))
            && !self.members.iter().any(|member| member.add.number == timed.track && member.shape.is_some())
        {
            return part.push(timed, now);
        }
        match self.members.iter_mut().find(|member| member.add.number == timed.track) {
            Some(member) if member.shape.is_some() || timed.frame.shape.is_some() => {
                member.shape = member.shape.take().or_else(|| timed.frame.shape.clone());
                self.held_bytes += timed.frame.data.len();
                self.held.push_back(timed);
                self.waiting.get_or_insert(now);
            }
            _ => self.done.push(timed.done(false)),
        }
        Ok(())
    }

    fn open_part(&self, archive: &mut Archive, start_us: u64, now: Instant) -> io::Result<Part> {
        // A sound that is over has frames only if they are held.
        let held = |track| self.held.iter().any(|timed| timed.track == track);
        let members: Vec<_> =
            self.members.iter().filter(|member| member.belongs() || held(member.add.number)).collect();
        let adds: Vec<_> = members.iter().map(|member| &member.add).collect();
        let shapes: Vec<_> = members.iter().map(|member| member.shape.clone().unwrap_or_default()).collect();
        let head = self.head(archive, &adds, &shapes, start_us);
        let extension = if head.is_webm() { "webm" } else { "mkv" };
        let NewFile { file, name, part } = archive.create(self.publisher, self.kind, extension)?;
        let writer = Writer::create(file, &head).inspect_err(|_| archive.discard(&name))?;
        let entry = FileEntry {
            path: format!("{name}.part"),
            state: FileState::Open,
            publisher_id: self.publisher,
            user_id: adds.iter().find_map(|add| add.user_id),
            username: head.title,
            group: self.kind,
            part,
            start_us,
            duration_ms: 0,
            bytes: writer.bytes(),
            tracks: adds.iter().zip(&shapes).map(|(add, shape)| track_entry(add, shape)).collect(),
            sha256: None,
            mended: false,
        };
        let tracks = adds.iter().zip(shapes).map(|(add, shape)| (add.number, add.codec, shape));
        let mark = archive.create_mark(&name)?;
        let mut part = Part::new((writer, mark), name, start_us, tracks, now);
        part.mark_first(entry.clone())?;
        archive.opened(entry, i64::try_from(start_us).unwrap_or(i64::MAX));
        Ok(part)
    }

    fn head(&self, archive: &Archive, adds: &[&AddTrack], shapes: &[Shape], start_us: u64) -> Head {
        let manifest = archive.manifest();
        let tracks = adds.iter().zip(shapes).map(|(add, shape)| TrackHead {
            codec: add.codec,
            shape: shape.clone(),
            name: add.source.as_str().to_owned(),
            uid: u64::from(add.number.0) << 32 | add.publisher_id.0 & 0xFFFF_FFFF,
        });
        let mut tags = vec![
            ("LOCKGATE_ROOM", manifest.room.to_string()),
            ("LOCKGATE_SESSION", manifest.session.to_string()),
            ("LOCKGATE_PUBLISHER", self.publisher.to_string()),
            ("LOCKGATE_START_US", start_us.to_string()),
        ];
        tags.extend(adds.iter().find_map(|add| add.user_id).map(|user| ("LOCKGATE_USER", user.to_string())));
        let username = adds.iter().map(|add| &add.username).find(|name| !name.is_empty());
        Head {
            title: username.cloned().unwrap_or_default(),
            started_at_us: manifest.started_at_us.saturating_add(start_us),
            tracks: tracks.collect(),
            tags,
        }
    }

    fn end_part(&mut self, archive: &mut Archive) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        part.finish(archive, &mut self.done)
    }
}

fn track_entry(add: &AddTrack, shape: &Shape) -> archive::TrackEntry {
    archive::TrackEntry {
        track: add.number,
        track_id: add.track_id.clone(),
        kind: add.kind,
        source: add.source,
        codec: add.codec,
        width: shape.width,
        height: shape.height,
        frames: 0,
        keyframes: 0,
    }
}

/// How long a file waits for the key frames of its pictures.
const KEYFRAME_WAIT: Duration = Duration::from_secs(3);
/// How long a file that is long enough waits for them.
const ROTATION_WAIT: Duration = Duration::from_secs(60);
/// How long a group's first file waits for a track of the other kind.
const SETTLE: Duration = Duration::from_millis(500);
/// A file is ended in favour of the next at the earliest after this.
const SHORTEST: Duration = Duration::from_secs(1);
/// So many files may still be begun when the group ends.
const MOST_AT_END: usize = 4;
/// A file that waits begins at the latest with so much, in bytes.
const MAX_HELD: usize = 8 << 20;
