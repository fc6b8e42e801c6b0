use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use lockgate_model::Codec;
use lockgate_model::testing::cases;
use proptest::prelude::*;
use webm_iterable::WebmIterator;
use webm_iterable::matroska_spec::{Master, MatroskaSpec, SimpleBlock};

use super::*;
use crate::assemble::Shape;

fn head() -> Head {
    let track = |codec, width, uid| TrackHead {
        codec,
        shape: Shape { width, height: width / 2, private: None },
        name: "x".into(),
        uid,
    };
    Head {
        title: "Ann".into(),
        started_at_us: 1_790_000_000_000_000,
        tracks: vec![track(Codec::Opus, 0, 1), track(Codec::Vp8, 640, 2)],
        tags: vec![("ROOM", "r".into())],
    }
}

/// Ten seconds: sound each 20 ms, a picture each 40 ms, a key frame each four seconds.
fn written() -> (File, Writer) {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::create(file.try_clone().unwrap(), &head()).unwrap();
    for step in 0..500_u64 {
        let at = step * 20;
        if step % 2 == 0 {
            writer.write(1, at, at % 4000 == 0, &[step as u8; 300]).unwrap();
        }
        writer.write(0, at, true, &[step as u8; 40]).unwrap();
    }
    (file, writer)
}

fn bytes(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// What another reader finds: duration, blocks as track and time, cues as time and offset in the segment.
#[derive(Debug, Default, PartialEq)]
struct Found {
    duration: Option<f64>,
    blocks: Vec<(u64, u64)>,
    cues: Vec<(u64, u64)>,
    seeks: usize,
}

fn read(bytes: &[u8]) -> Found {
    let (mut found, mut cluster, mut cue) = (Found::default(), 0, 0);
    for tag in WebmIterator::new(&mut Cursor::new(bytes), &[]) {
        match tag.unwrap() {
            MatroskaSpec::Duration(duration) => found.duration = Some(duration),
            MatroskaSpec::Timestamp(at) => cluster = at,
            MatroskaSpec::Seek(Master::Start) => found.seeks += 1,
            MatroskaSpec::CueTime(at) => cue = at,
            MatroskaSpec::CueClusterPosition(offset) => found.cues.push((cue, offset)),
            MatroskaSpec::SimpleBlock(data) => {
                let block = SimpleBlock::try_from(&data).unwrap();
                found.blocks.push((block.track, cluster.saturating_add_signed(block.timestamp.into())));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_finished_file_has_duration_index_and_all_blocks() {
    let (file, writer) = written();
    let finished = writer.finish().unwrap();
    let bytes = bytes(&file);
    assert_eq!(finished, Finished { bytes: bytes.len() as u64, duration_ms: 10_000 });
    let found = read(&bytes);
    assert_eq!(found.duration, Some(10_000.0));
    assert_eq!((found.blocks.len(), found.seeks), (750, 4));
    assert_eq!(found.cues.iter().map(|cue| cue.0).collect::<Vec<_>>(), [0, 4000, 8000]);
    let segment = 48;
    for (_, offset) in found.cues {
        assert_eq!(bytes[segment + offset as usize..][..4], [0x1F, 0x43, 0xB6, 0x75], "a cue points to a cluster");
    }
}

#[test]
fn a_file_goes_on_where_its_first_writer_was_whole() {
    let (whole, writer) = written();
    writer.finish().unwrap();
    let expected = inspect(&whole).unwrap();
    // Killed at any time: with the rest torn, or completed and not renamed.
    for (step, completed) in [(0, false), (3, true), (130, false), (207, true), (499, true)] {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::create(file.try_clone().unwrap(), &head()).unwrap();
        let mut mark = writer.flushed();
        let write = |writer: &mut Writer, step: u64| {
            let at = step * 20;
            if step.is_multiple_of(2) {
                writer.write(1, at, at.is_multiple_of(4000), &[step as u8; 300]).unwrap();
            }
            writer.write(0, at, true, &[step as u8; 40]).unwrap();
        };
        for now in 0..500 {
            if now == step {
                writer.flush().unwrap();
                mark = writer.flushed();
            }
            write(&mut writer, now);
        }
        match completed {
            true => {
                writer.finish().unwrap();
            }
            false => {
                writer.flush().unwrap();
                file.set_len(writer.flushed().bytes - 7).unwrap();
            }
        }
        let mut next = Writer::resume(file.try_clone().unwrap(), mark.clone(), vec![false, true]).unwrap().unwrap();
        (step..500).for_each(|step| write(&mut next, step));
        let finished = next.finish().unwrap();
        let found = inspect(&file).unwrap();
        assert!(found.problems.is_empty(), "{step}: {:?}", found.problems);
        assert_eq!((finished.duration_ms, found.tracks.len()), (expected.duration_ms, 2), "{step}");
        let (found, all) = (read(&bytes(&file)), read(&bytes(&whole)));
        assert_eq!(found.blocks, all.blocks, "{step}");
        let times = |found: &Found| found.cues.iter().map(|cue| cue.0).collect::<Vec<_>>();
        assert_eq!(times(&found), times(&all), "{step}: the index has what the first writer wrote");
    }
}

#[test]
fn what_is_not_as_its_mark_says_does_not_go_on() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let (all, pictures) = (writer.flushed(), || vec![false, true]);
    let cluster = all.cluster.map(|cluster| cluster + 1);
    for wrong in [
        Place { bytes: all.bytes + 1, ..all.clone() },
        Place { cluster, ..all.clone() },
        Place { bytes: all.bytes - 1, ..all },
    ] {
        let said = format!("{wrong:?}");
        assert!(Writer::resume(file.try_clone().unwrap(), wrong, pictures()).unwrap().is_none(), "{said}");
    }
    let Repair::Mended(_) = repair(&file).unwrap() else { panic!("the rest is whole") };
    let rubbish = tempfile::tempfile().unwrap();
    (&rubbish).write_all(b"no such thing").unwrap();
    let place = Place { bytes: 5, ..Place::default() };
    assert!(Writer::resume(rubbish, place, pictures()).unwrap().is_none());
}

#[test]
fn an_index_that_cannot_be_made_of_what_stands_there_leaves_a_whole_file() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let (place, whole) = (writer.flushed(), bytes(&file));
    // The second cluster of five says that it is longer than the file.
    let cluster = [0x1F, 0x43, 0xB6, 0x75];
    let second = whole.windows(4).enumerate().filter(|(_, bytes)| *bytes == cluster).nth(1).unwrap().0;
    file.write_all_at(&[0x01, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], second as u64 + 4).unwrap();
    let mut next = Writer::resume(file.try_clone().unwrap(), place, vec![false, true]).unwrap().unwrap();
    next.catch_up();
    next.write(1, 12_000, true, &[7; 30]).unwrap();
    let finished = next.finish().unwrap();
    assert_eq!((finished.bytes, finished.duration_ms), (bytes(&file).len() as u64, 13_000));
    file.write_all_at(&whole[second..][..12], second as u64).unwrap();
    let found = read(&bytes(&file));
    assert_eq!(found.cues.iter().map(|cue| cue.0).collect::<Vec<_>>(), [0, 8_000, 12_000]);
    assert_eq!(found.blocks.len(), 751);
}

/// A picture of 1 Mbit/s and sound, `seconds` long, flushed and no more in memory.
fn long(seconds: u64) -> (File, Place) {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::create(file.try_clone().unwrap(), &head()).unwrap();
    for step in 0..seconds * 50 {
        if step.is_multiple_of(2) {
            writer.write(1, step * 20, step.is_multiple_of(200), &[step as u8; 5000]).unwrap();
        }
        writer.write(0, step * 20, true, &[step as u8; 80]).unwrap();
    }
    writer.flush().unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    (file, writer.flushed())
}

#[test]
fn a_large_file_is_found_good_too() {
    let (file, place) = long(600);
    assert!(place.bytes > 64 << 20, "{place:?}");
    let whole = Writer::resume(file.try_clone().unwrap(), place, vec![false, true]).unwrap().unwrap().finish().unwrap();
    let found = inspect(&file).unwrap();
    assert_eq!((found.problems, found.duration_ms), (Vec::<String>::new(), whole.duration_ms));
}

#[test]
#[ignore = "writes and reads a file of half a gigabyte, for the figures in docs/decisions/0031-replay.md"]
fn figures_of_a_file_that_goes_on_after_an_hour() {
    let (file, place) = long(3600);
    let bytes = place.bytes;
    let began = Instant::now();
    let mut next = Writer::resume(file.try_clone().unwrap(), place, vec![false, true]).unwrap().unwrap();
    let resumed = began.elapsed();
    let began = Instant::now();
    next.catch_up();
    let one = began.elapsed();
    let began = Instant::now();
    let finished = next.finish().unwrap();
    eprintln!(
        "{} MB: goes on after {resumed:?}, one look back {one:?}, ended after {:?}",
        bytes >> 20,
        began.elapsed()
    );
    let found = inspect(&file).unwrap();
    assert_eq!((found.problems, finished.duration_ms), (Vec::<String>::new(), 3_600_000));
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let began = Instant::now();
    repair(&file).unwrap();
    eprintln!("reading all of it as a repair does: {:?}", began.elapsed());
}

#[test]
fn a_file_cut_anywhere_is_mended_to_its_whole_blocks() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let whole = bytes(&file);
    let blocks = read(&whole).blocks;
    let mut most = 0;
    for cut in (0..whole.len()).step_by(517).chain([whole.len()]) {
        let mut torn = tempfile::tempfile().unwrap();
        torn.write_all(&whole[..cut]).unwrap();
        let Repair::Mended(finished) = repair(&torn).unwrap() else {
            assert!(most == 0, "after a block there is always something to mend");
            assert_eq!(bytes(&torn).len(), cut, "nothing was changed");
            continue;
        };
        let mended = bytes(&torn);
        assert_eq!(finished.bytes, mended.len() as u64);
        let found = read(&mended);
        assert_eq!(found.blocks, blocks[..found.blocks.len()]);
        assert!(found.blocks.len() >= most && finished.duration_ms >= 20, "{finished:?}");
        most = found.blocks.len();
        assert_eq!(repair(&torn).unwrap(), Repair::Mended(finished), "mending twice changes nothing");
        assert_eq!(bytes(&torn), mended);
    }
    assert_eq!(most, blocks.len());
}

#[test]
fn zeros_behind_the_last_block_are_cut_off() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let whole = bytes(&file);
    file.set_len(whole.len() as u64 + 5000).unwrap();
    assert!(matches!(repair(&file).unwrap(), Repair::Mended(_)));
    assert_eq!(read(&bytes(&file)).blocks, read(&whole).blocks);
}

#[test]
fn a_batch_that_cannot_be_written_leaves_a_whole_file() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let blocks = read(&bytes(&file)).blocks;
    // Writing through a handle that may only read fails.
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    let writable = writer.replace_file(File::open(path).unwrap());
    writer.write(1, 10_000, true, &[1; 100_000]).unwrap_err();
    writer.replace_file(writable);
    let finished = writer.finish().unwrap();
    let found = read(&bytes(&file));
    assert_eq!(found.blocks, blocks);
    assert_eq!(finished.bytes, bytes(&file).len() as u64);
    assert!(found.cues.iter().all(|cue| cue.0 < 10_000));
    assert_eq!(inspect(&file).unwrap().problems, Vec::<String>::new(), "what was not written does not count");
}

#[test]
fn a_finished_file_is_found_good_and_one_that_grows_is_not() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let problems = inspect(&file).unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("never completed")), "{problems:?}");
    writer.finish().unwrap();
    let found = inspect(&file).unwrap();
    assert_eq!((found.problems, found.duration_ms), (Vec::<String>::new(), 10_000));
    let tracks: Vec<_> = found.tracks.values().map(|track| (&*track.codec, track.frames, track.keyframes)).collect();
    assert_eq!(tracks, [("A_OPUS", 500, 500), ("V_VP8", 250, 3)]);
}

#[test]
fn what_a_finished_file_says_wrong_of_itself_is_found() {
    let (file, writer) = written();
    writer.finish().unwrap();
    let whole = bytes(&file);
    let find = |needle: &[u8]| whole.windows(needle.len()).position(|window| window == needle).unwrap();
    for (at, value, expected) in [
        (find(&[0x44, 0x89, 0x88]) + 4, 0xFF, "lasts"),
        (find(&[0x53, 0xAC, 0x81]) + 3, 0x7F, "seek head points"),
        (whole.len() - 1, 0x00, "index points"),
    ] {
        let mut changed = tempfile::tempfile().unwrap();
        let mut bytes = whole.clone();
        bytes[at] = value;
        changed.write_all(&bytes).unwrap();
        let problems = inspect(&changed).unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
    let mut cut = tempfile::tempfile().unwrap();
    cut.write_all(&whole[..whole.len() - 1]).unwrap();
    assert!(!inspect(&cut).unwrap().problems.is_empty());
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn arbitrary_files_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20), tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = {
            let mut writer = Writer::create(file.try_clone().unwrap(), &head()).unwrap();
            for step in 0..20 {
                writer.write(1, step * 40, step == 0, &[1; 30]).unwrap();
            }
            writer.flush().unwrap();
            bytes(&file)
        };
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend(tail);
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(&bytes).unwrap();
        drop(inspect(&file));
        drop(repair(&file));
    }
}
