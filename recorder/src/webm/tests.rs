use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

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
                file.set_len(writer.flushed() - 7).unwrap();
            }
        }
        let mut next = Writer::resume(file.try_clone().unwrap(), mark, vec![false, true]).unwrap().unwrap();
        (step..500).for_each(|step| write(&mut next, step));
        let finished = next.finish().unwrap();
        let found = inspect(&file).unwrap();
        assert!(found.problems.is_empty(), "{step}: {:?}", found.problems);
        assert_eq!((finished.duration_ms, found.tracks.len()), (expected.duration_ms, 2), "{step}");
        assert_eq!(read(&bytes(&file)).blocks, read(&bytes(&whole)).blocks, "{step}");
    }
}

#[test]
fn what_is_not_as_its_mark_says_does_not_go_on() {
    let (file, mut writer) = written();
    writer.flush().unwrap();
    let (all, pictures) = (writer.flushed(), || vec![false, true]);
    assert!(Writer::resume(file.try_clone().unwrap(), all + 1, pictures()).unwrap().is_none());
    assert!(Writer::resume(file.try_clone().unwrap(), all - 1, pictures()).unwrap().is_none());
    let Repair::Mended(_) = repair(&file).unwrap() else { panic!("the rest is whole") };
    let rubbish = tempfile::tempfile().unwrap();
    (&rubbish).write_all(b"no such thing").unwrap();
    assert!(Writer::resume(rubbish, 5, pictures()).unwrap().is_none());
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
