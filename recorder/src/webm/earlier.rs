//! The part of a file that another writer wrote. Only its index needs anything of it, and that is wanted when the file ends: so a
//! recorder that goes on with a hundred long files does not read them first, but a few clusters' heads now and then.

use std::fs::File;
use std::io::{self, Cursor, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::finish::{Cue, Cues};
use super::reader::{CLUSTER, Reader, SIMPLE_BLOCK, TIMESTAMP};

/// Clusters of a file that were not looked at yet, and the index of those that were.
#[derive(Debug)]
pub(super) struct Earlier {
    left: Range<u64>,
    cues: Cues,
}

impl Earlier {
    /// Of the clusters that stand there, one behind the other, each with its size.
    pub(super) fn new(clusters: Range<u64>, picture: bool) -> Self {
        Self { left: clusters, cues: Cues::new(picture) }
    }

    /// Looks at so many more. Errs where one cannot be read, or does not lead to the next.
    pub(super) fn look(&mut self, file: &File, pictures: &[bool], most: usize) -> io::Result<()> {
        for _ in 0..most {
            if self.left.is_empty() {
                break;
            }
            self.look_at_one(file, pictures)?;
        }
        Ok(())
    }

    /// The rest is not looked at.
    pub(super) fn give_up(&mut self) {
        self.left.start = self.left.end;
    }

    /// The index of what was looked at.
    pub(super) fn into_cues(self) -> Cues {
        self.cues
    }

    fn look_at_one(&mut self, file: &File, pictures: &[bool]) -> io::Result<()> {
        let Range { start, end } = self.left;
        let mut head = [0; HEAD];
        let length = file.read_at(&mut head, start)?;
        let mut head = Cursor::new(&head[..length]);
        let (entrance, next) = entrance(&mut Reader::new(&mut head, start, end))?
            .filter(|(_, next)| *next <= end)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("no whole cluster is at {start}")))?;
        self.left.start = next;
        if let Some((cue, keyframe)) = entrance {
            let picture = pictures.get(cue.track.wrapping_sub(1) as usize).copied().unwrap_or(false);
            self.cues.note(cue, picture && keyframe);
        }
        Ok(())
    }
}

/// A cluster that begins here: its first block, if that is what it begins with, and where the cluster ends.
type Entrance = (Option<(Cue, bool)>, u64);

fn entrance(reader: &mut Reader<'_, Cursor<&[u8]>>) -> io::Result<Option<Entrance>> {
    let Some(cluster) = reader.element()?.filter(|element| element.id == CLUSTER) else { return Ok(None) };
    let Some(next) = cluster.size.and_then(|size| cluster.content.checked_add(size)) else { return Ok(None) };
    let Some(time) = reader.element()?.filter(|element| element.id == TIMESTAMP) else { return Ok(Some((None, next))) };
    let at = reader.unsigned(time.size.unwrap_or(0))?;
    let block = match reader.element()? {
        Some(element) if element.id == SIMPLE_BLOCK => reader.block(element.size.unwrap_or(0))?,
        _ => None,
    };
    let entrance = block.map(|block| (Cue { at, track: block.track, offset: cluster.start }, block.keyframe));
    Ok(Some((entrance, next)))
}

/// A cluster's head, its time and the head of its first block are at most so long, in bytes.
const HEAD: usize = 64;
