//! Dependency descriptors, written: for tests here and in other crates.

use crate::codec::set_bit as set;

/// Bits that are written one field after the other.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// What was written, filled up to whole bytes.
    pub bytes: Vec<u8>,
    at: usize,
}

impl Written {
    /// The lowest `count` bits of a value.
    pub fn put(&mut self, value: u32, count: usize) -> &mut Self {
        self.bytes.resize((self.at + count).div_ceil(8), 0);
        for bit in 0..count {
            set(&mut self.bytes, self.at + bit, value >> (count - 1 - bit) & 1 == 1);
        }
        self.at += count;
        self
    }

    fn below(&mut self, value: u32, limit: u32) -> &mut Self {
        let width = (u32::BITS - limit.leading_zeros()) as usize;
        let short = (1 << width) - limit;
        if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
    }
}

/// A template: its spatial and temporal layer, what it is to each target (`-DSR`), what it needs, its chains.
pub type TemplatePlan = (u8, u8, String, Vec<u32>, Vec<u32>);

/// A structure as it is written down.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of the first template.
    pub offset: u8,
    /// The templates, in order.
    pub templates: Vec<TemplatePlan>,
    /// The chain of each target.
    pub protected_by: Vec<u32>,
    /// Width and height of each spatial layer less one, or nothing.
    pub sizes: Vec<(u16, u16)>,
}

impl Plan {
    /// Appends the structure.
    pub fn write(&self, out: &mut Written) {
        let targets = self.templates[0].2.len() as u32;
        out.put(self.offset.into(), 6).put(targets - 1, 5);
        for pair in self.templates.windows(2) {
            let step = match (pair[1].0 - pair[0].0, pair[1].1.wrapping_sub(pair[0].1)) {
                (0, 0) => 0,
                (0, 1) => 1,
                (1, _) if pair[1].1 == 0 => 2,
                other => panic!("{other:?} is no step"),
            };
            out.put(step, 2);
        }
        out.put(3, 2);
        for (_, _, indications, _, _) in &self.templates {
            for one in indications.chars() {
                out.put("-DSR".find(one).unwrap_or(0) as u32, 2);
            }
        }
        for (_, _, _, needs, _) in &self.templates {
            needs.iter().for_each(|difference| _ = out.put(1, 1).put(difference - 1, 4));
            out.put(0, 1);
        }
        let chains = self.templates[0].4.len() as u32;
        out.below(chains, targets + 1);
        if chains > 0 {
            self.protected_by.iter().for_each(|chain| _ = out.below(*chain, chains));
            self.templates.iter().flat_map(|one| &one.4).for_each(|difference| _ = out.put(*difference, 4));
        }
        out.put(u32::from(!self.sizes.is_empty()), 1);
        self.sizes.iter().for_each(|(width, height)| _ = out.put((*width).into(), 16).put((*height).into(), 16));
    }
}

/// Two spatial and two temporal layers, each upper one on those below: targets (0,0) (0,1) (1,0) (1,1).
pub fn full() -> Plan {
    let template = |spatial, temporal, to: &str, needs: &[u32], chains: &[u32]| {
        (spatial, temporal, to.to_owned(), needs.to_vec(), chains.to_vec())
    };
    let templates = vec![
        template(0, 0, "SSSS", &[], &[0, 0]),
        template(0, 0, "SSRR", &[4], &[4, 3]),
        template(0, 1, "-D-R", &[2], &[2, 1]),
        template(1, 0, "--SS", &[1], &[1, 1]),
        template(1, 0, "--SS", &[4, 1], &[1, 1]),
        template(1, 1, "---D", &[2, 1], &[3, 2]),
    ];
    Plan { offset: 0, templates, protected_by: vec![0, 0, 1, 1], sizes: vec![(319, 179), (639, 359)] }
}

/// A descriptor of a template with the structure in it, if one is told, and with a mask.
pub fn descriptor(template: u8, number: u16, plan: Option<&Plan>, mask: Option<(u32, usize)>) -> Vec<u8> {
    let mut out = Written::default();
    out.put(3, 2).put(template.into(), 6).put(number.into(), 16);
    if plan.is_some() || mask.is_some() {
        out.put(plan.is_some().into(), 1).put(mask.is_some().into(), 1).put(0, 3);
    }
    if let Some(plan) = plan {
        plan.write(&mut out);
    }
    if let Some((mask, count)) = mask {
        out.put(mask, count);
    }
    out.bytes
}

/// Three spatial and three temporal layers, in pictures of temporal layers 0 2 1 2. `Some(true)`: upper layers need those below them at
/// key frames only, as in `L3T3_KEY`; `None`: never, as in `S3T3`.
pub fn three_by_three(at_key_frames: Option<bool>) -> Plan {
    let mut templates = Vec::new();
    for spatial in 0..3_u8 {
        for kind in 0..5_u8 {
            let (key, temporal) = (kind == 0, [0, 0, 1, 2, 2][usize::from(kind)]);
            let joined = at_key_frames.is_some_and(|only| key || !only);
            let to =
                (0..9).map(|target| indication(spatial, temporal, (target / 3, target % 3), key, joined)).collect();
            let back: &[u32] = [&[][..], &[12], &[6], &[3], &[3]][usize::from(kind)];
            let below = (spatial > 0 && joined).then_some(1);
            templates.push((spatial, temporal, to, back.iter().copied().chain(below).collect(), vec![1, 2, 3]));
        }
    }
    let protected_by = (0..9).map(|target| target / 3).collect();
    Plan { offset: 0, templates, protected_by, sizes: Vec::new() }
}

fn indication(spatial: u8, temporal: u8, target: (u8, u8), key: bool, joined: bool) -> char {
    match target {
        (above, upper) if above < spatial || upper < temporal || above > spatial && !joined => '-',
        (above, _) if above > spatial => {
            if key {
                'S'
            } else {
                'R'
            }
        }
        (_, upper) if temporal > 0 && upper == temporal => 'D',
        _ => 'S',
    }
}

/// The template of [`three_by_three`] for a picture, counted from its key frame, and a spatial layer.
pub fn template_of(picture: u32, spatial: u8) -> u8 {
    let kind = if picture == 0 { 0 } else { [1, 3, 2, 4][picture as usize % 4] };
    5 * spatial + kind
}
