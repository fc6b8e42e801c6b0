//! Who is where in the picture.

use std::collections::BTreeMap;

use lockgate_model::PublisherId;

use crate::archive::Group;

/// Part of the picture, in pixels; all even, as video wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A participant's camera or screen.
pub(super) type Place = (PublisherId, Group);

/// Gives each place a tile for the whole session. Those that are never there at the same time share one, so there are as many as
/// are there at most. Screens have the larger part of the picture.
pub(super) fn arrange(spans: &BTreeMap<Place, (u64, u64)>, width: u32, height: u32) -> BTreeMap<Place, Tile> {
    let of =
        |kind: Group| spans.iter().filter(move |((_, group), _)| *group == kind).map(|(place, span)| (*place, *span));
    let (cameras, screens) = (slots(of(Group::Camera)), slots(of(Group::Screen)));
    let whole = Tile { x: 0, y: 0, width, height };
    let side = match (cameras.is_empty(), screens.is_empty()) {
        (_, true) => 0,
        (true, _) => width,
        _ => (width * 4 / 5) & !1,
    };
    let stage = Tile { width: side, ..whole };
    let rest = Tile { x: side, width: width - side, ..whole };
    let mut tiles = place_in(stage, &screens);
    tiles.extend(place_in(rest, &cameras));
    tiles
}

/// Puts spans of time into as few rows as can be, in the order of their beginnings.
fn slots(spans: impl Iterator<Item = (Place, (u64, u64))>) -> BTreeMap<Place, usize> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_by_key(|(place, (from, _))| (*from, *place));
    let mut ends: Vec<u64> = Vec::new();
    let slots = spans.into_iter().map(|(place, (from, to))| {
        let free = ends.iter().position(|end| *end <= from).unwrap_or(ends.len());
        match ends.get_mut(free) {
            Some(end) => *end = to,
            None => ends.push(to),
        }
        (place, free)
    });
    slots.collect()
}

/// A grid whose tiles show as much of a 16:9 picture as can be.
fn place_in(area: Tile, slots: &BTreeMap<Place, usize>) -> BTreeMap<Place, Tile> {
    let count = slots.values().max().map_or(0, |last| *last as u32 + 1);
    let Some(columns) = (1..=count).max_by_key(|columns| {
        let (width, height) = (area.width / columns, area.height / count.div_ceil(*columns));
        width.min(height * 16 / 9)
    }) else {
        return BTreeMap::new();
    };
    let width = (area.width / columns).max(2) & !1;
    let height = (area.height / count.div_ceil(columns)).max(2) & !1;
    let tile =
        |slot: u32| Tile { x: area.x + slot % columns * width, y: area.y + slot / columns * height, width, height };
    slots.iter().map(|(place, slot)| (*place, tile(*slot as u32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: u64) -> Place {
        (PublisherId(number), Group::Camera)
    }

    #[test]
    fn four_cameras_are_two_by_two() {
        let spans = (1..=4).map(|number| (camera(number), (0, 10))).collect();
        let tiles: Vec<_> = arrange(&spans, 1280, 720).into_values().collect();
        let corners: Vec<_> = tiles.iter().map(|tile| (tile.x, tile.y)).collect();
        assert_eq!(corners, [(0, 0), (640, 0), (0, 360), (640, 360)]);
        assert!(tiles.iter().all(|tile| (tile.width, tile.height) == (640, 360)));
    }

    #[test]
    fn who_comes_after_somebody_left_has_their_tile() {
        let spans = [(camera(1), (0, 10)), (camera(2), (0, 30)), (camera(3), (10, 20))].into();
        let tiles = arrange(&spans, 1280, 720);
        assert_eq!(tiles[&camera(1)], tiles[&camera(3)]);
        assert_ne!(tiles[&camera(1)], tiles[&camera(2)]);
    }

    #[test]
    fn a_screen_has_the_larger_part_and_nothing_overlaps() {
        let screen = (PublisherId(1), Group::Screen);
        let spans = [(camera(1), (0, 10)), (camera(2), (0, 10)), (screen, (5, 6))].into();
        let tiles = arrange(&spans, 1280, 720);
        assert_eq!(tiles[&screen], Tile { x: 0, y: 0, width: 1024, height: 720 });
        assert!(tiles[&camera(1)].x >= 1024 && tiles[&camera(2)].y >= tiles[&camera(1)].y + tiles[&camera(1)].height);
        assert!(tiles.values().all(|tile| tile.x + tile.width <= 1280 && tile.y + tile.height <= 720));
    }
}
