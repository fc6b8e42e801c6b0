//! The filter graph: tiles over a background, and all sounds in one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::layout::{Place, Tile, arrange};

/// A file of the session.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    /// On the session's timeline.
    pub(super) start_us: u64,
    /// On the session's timeline.
    pub(super) end_us: u64,
    pub(super) picture: bool,
    /// How many tracks of sound it has.
    pub(super) sounds: usize,
}

/// What is painted on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: u32,
    pub(super) seconds: f64,
}

/// Filters whose outputs are `[video]` and, if there is any, `[sound]`.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) filters: String,
    pub(super) has_sound: bool,
}

/// The graph over inputs in this order, whose times count from the session's beginning.
pub(super) fn graph(inputs: &[Input], canvas: &Canvas) -> Graph {
    let Canvas { width, height, fps, seconds } = canvas;
    let tiles = tiles(inputs, canvas);
    let mut filters = vec![format!("color=c=0x101418:s={width}x{height}:r={fps}:d={seconds:.3}[b0]")];
    let mut layers = 0;
    let mut sounds = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        if let Some(Tile { x, y, width, height }) = tiles.get(&input.place).filter(|_| input.picture) {
            // Evaluated for each frame: a picture may change its size and its shape.
            filters.push(format!(
                "[{index}:v:0]scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2:eval=frame,\
                 pad={width}:{height}:-1:-1:0x101418:eval=frame,setsar=1[v{index}]"
            ));
            // Before its first picture and behind its last one, what is below is seen.
            filters.push(format!("[b{layers}][v{index}]overlay={x}:{y}:eof_action=pass[b{}]", layers + 1));
            layers += 1;
        }
        for sound in 0..input.sounds {
            // Pauses are gaps in time: they become silence, from the session's beginning on.
            filters.push(format!(
                "[{index}:a:{sound}]aresample=48000:async=1:min_hard_comp=0.02:first_pts=0,\
                 aformat=sample_fmts=fltp:channel_layouts=stereo[a{index}_{sound}]"
            ));
            sounds.push(format!("[a{index}_{sound}]"));
        }
    }
    filters.push(format!("[b{layers}]format=yuv420p[video]"));
    if !sounds.is_empty() {
        // Nobody becomes softer because others are there; the limiter takes what is too much together.
        let (all, count) = (sounds.concat(), sounds.len());
        filters.push(format!(
            "{all}amix=inputs={count}:normalize=0:dropout_transition=0,alimiter=limit=0.95:level=0[sound]"
        ));
    }
    Graph { filters: filters.join(";"), has_sound: !sounds.is_empty() }
}

/// A place's tile: from its first file's beginning to the end of its last one it is taken.
fn tiles(inputs: &[Input], canvas: &Canvas) -> BTreeMap<Place, Tile> {
    let mut spans = BTreeMap::new();
    for input in inputs.iter().filter(|input| input.picture) {
        let span = spans.entry(input.place).or_insert((input.start_us, input.end_us));
        *span = (span.0.min(input.start_us), span.1.max(input.end_us));
    }
    arrange(&spans, canvas.width, canvas.height)
}

#[cfg(test)]
mod tests {
    use lockgate_model::PublisherId;

    use super::*;
    use crate::archive::Group;

    #[test]
    fn each_picture_is_laid_over_the_one_before_and_sounds_are_mixed() {
        let input = |number, picture, sounds| Input {
            path: "f".into(),
            place: (PublisherId(number), Group::Camera),
            start_us: 0,
            end_us: 1,
            picture,
            sounds,
        };
        let canvas = Canvas { width: 640, height: 360, fps: 25, seconds: 2.0 };
        let Graph { filters, has_sound } = graph(&[input(1, true, 1), input(2, false, 1), input(3, true, 0)], &canvas);
        assert!(has_sound);
        for part in
            ["[b0][v0]overlay=0:", "[b1][v2]overlay=320:", "[b2]format=yuv420p[video]", "[a0_0][a1_0]amix=inputs=2:"]
        {
            assert!(filters.contains(part), "{part} in {filters}");
        }
        let Graph { filters, has_sound } = graph(&[], &canvas);
        assert!(!has_sound && filters.ends_with("[b0]format=yuv420p[video]"), "{filters}");
    }
}
