//! What stands before the first cluster: EBML head, segment, room for the seek head, info, tracks, tags.

use std::io;

use lockgate_model::Codec;
use webm_iterable::matroska_spec::{Master, MatroskaSpec};
use webm_iterable::{WebmWriter, WriteOptions};

use super::fragment;
use crate::assemble::Shape;

/// What a file says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// What people may read as its title.
    pub(crate) title: String,
    /// The moment of its time 0 by the wall clock, in microseconds since 1970 (UTC).
    pub(crate) started_at_us: u64,
    /// What it holds, at least one track; numbered from 1 in this order.
    pub(crate) tracks: Vec<TrackHead>,
    /// Names and values for programs that read tags.
    pub(crate) tags: Vec<(&'static str, String)>,
}

/// What a file says of a track.
#[derive(Clone, Debug)]
pub(crate) struct TrackHead {
    /// How it is coded.
    pub(crate) codec: Codec,
    /// Size and decoder settings; empty for sound.
    pub(crate) shape: Shape,
    /// What people may read as its name.
    pub(crate) name: String,
    /// A number that no other track of the session's files has.
    pub(crate) uid: u64,
}

impl Head {
    /// Whether WebM allows all its codecs; otherwise it is Matroska.
    pub(crate) fn is_webm(&self) -> bool {
        self.tracks.iter().all(|track| track.codec != Codec::H264)
    }

    /// A writer that has written all up to the first cluster. The segment stays open, its size unknown.
    pub(super) fn begin(&self) -> io::Result<WebmWriter<Vec<u8>>> {
        let mut writer = WebmWriter::new(Vec::new());
        let mut write = |tag: MatroskaSpec| writer.write(&tag).map_err(io::Error::other);
        write(self.ebml())?;
        let unknown = WriteOptions::is_unknown_sized_element();
        writer.write_advanced(&MatroskaSpec::Segment(Master::Start), unknown).map_err(io::Error::other)?;
        let mut write = |tag: MatroskaSpec| writer.write(&tag).map_err(io::Error::other);
        write(MatroskaSpec::Void(vec![0; SEEK_HEAD_ROOM - 2]))?;
        write(self.info())?;
        write(MatroskaSpec::Tracks(Master::Full(
            self.tracks.iter().zip(1..).map(|(track, number)| track.entry(number)).collect(),
        )))?;
        if !self.tags.is_empty() {
            write(self.tag_list())?;
        }
        Ok(writer)
    }

    fn ebml(&self) -> MatroskaSpec {
        let doc_type = if self.is_webm() { "webm" } else { "matroska" };
        MatroskaSpec::Ebml(Master::Full(vec![
            MatroskaSpec::EbmlVersion(1),
            MatroskaSpec::EbmlReadVersion(1),
            MatroskaSpec::EbmlMaxIdLength(4),
            MatroskaSpec::EbmlMaxSizeLength(8),
            MatroskaSpec::DocType(doc_type.into()),
            MatroskaSpec::DocTypeVersion(4),
            MatroskaSpec::DocTypeReadVersion(2),
        ]))
    }

    fn info(&self) -> MatroskaSpec {
        let software = concat!("lockgate-recorder ", env!("CARGO_PKG_VERSION"));
        let since_2001 = i64::try_from(self.started_at_us).unwrap_or(i64::MAX).saturating_sub(YEAR_2001_US);
        MatroskaSpec::Info(Master::Full(vec![
            MatroskaSpec::TimestampScale(1_000_000),
            MatroskaSpec::MuxingApp(software.into()),
            MatroskaSpec::WritingApp(software.into()),
            MatroskaSpec::DateUTC(since_2001.saturating_mul(1000)),
            MatroskaSpec::Title(self.title.clone()),
            // Takes the duration when that is known.
            MatroskaSpec::Void(vec![0; DURATION_LENGTH - 2]),
        ]))
    }

    fn tag_list(&self) -> MatroskaSpec {
        let tags = self.tags.iter().map(|(name, value)| {
            MatroskaSpec::SimpleTag(Master::Full(vec![
                MatroskaSpec::TagName((*name).into()),
                MatroskaSpec::TagString(value.clone()),
            ]))
        });
        let mut children = vec![MatroskaSpec::Targets(Master::Full(vec![MatroskaSpec::TargetTypeValue(50)]))];
        children.extend(tags);
        MatroskaSpec::Tags(Master::Full(vec![MatroskaSpec::Tag(Master::Full(children))]))
    }
}

impl TrackHead {
    fn entry(&self, number: u64) -> MatroskaSpec {
        let audio = self.codec == Codec::Opus;
        let mut children = vec![
            MatroskaSpec::TrackNumber(number),
            MatroskaSpec::TrackUID(self.uid.max(1)),
            MatroskaSpec::TrackType(if audio { AUDIO } else { VIDEO }),
            MatroskaSpec::FlagLacing(0),
            // Absent would mean English; the newer LanguageIETF makes Chromium's Media Source refuse the file.
            MatroskaSpec::Language("und".into()),
            MatroskaSpec::CodecID(codec_id(self.codec).into()),
        ];
        if !self.name.is_empty() {
            children.push(MatroskaSpec::Name(self.name.clone()));
        }
        match audio {
            true => children.extend(opus()),
            false => children.extend(self.picture()),
        }
        MatroskaSpec::TrackEntry(Master::Full(children))
    }

    fn picture(&self) -> Vec<MatroskaSpec> {
        let Shape { width, height, private } = &self.shape;
        let private = private.iter().map(|private| MatroskaSpec::CodecPrivate(private.clone()));
        let size = vec![
            MatroskaSpec::PixelWidth(u64::from((*width).max(1))),
            MatroskaSpec::PixelHeight(u64::from((*height).max(1))),
        ];
        private.chain([MatroskaSpec::Video(Master::Full(size))]).collect()
    }
}

/// RFC 7845 §5.1: an Opus head such as WebRTC's encoders would write it. They look 6.5 ms ahead, so a packet's sound begins
/// that much before its timestamp says; the delay makes players put it right.
fn opus() -> Vec<MatroskaSpec> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(OPUS_CHANNELS);
    head.extend_from_slice(&OPUS_PRE_SKIP.to_le_bytes());
    head.extend_from_slice(&48_000_u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    vec![
        MatroskaSpec::CodecPrivate(head),
        MatroskaSpec::CodecDelay(u64::from(OPUS_PRE_SKIP) * 1_000_000_000 / 48_000),
        MatroskaSpec::SeekPreRoll(80_000_000),
        MatroskaSpec::Audio(Master::Full(vec![
            MatroskaSpec::SamplingFrequency(48_000.0),
            MatroskaSpec::Channels(u64::from(OPUS_CHANNELS)),
        ])),
    ]
}

fn codec_id(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "A_OPUS",
        Codec::Vp8 => "V_VP8",
        Codec::Vp9 => "V_VP9",
        Codec::Av1 => "V_AV1",
        Codec::H264 => "V_MPEG4/ISO/AVC",
    }
}

/// The seek head, over the room that was left for it.
pub(super) fn seek_head(positions: &[(u32, u64)]) -> io::Result<Vec<u8>> {
    let seeks = positions.iter().map(|(id, position)| {
        MatroskaSpec::Seek(Master::Full(vec![
            MatroskaSpec::SeekID(id.to_be_bytes().to_vec()),
            MatroskaSpec::SeekPosition(*position),
        ]))
    });
    let mut bytes = fragment::in_segment(&[MatroskaSpec::SeekHead(Master::Full(seeks.collect()))])?;
    let rest = SEEK_HEAD_ROOM.checked_sub(bytes.len()).and_then(fragment::void);
    bytes.extend(rest.ok_or_else(|| io::Error::other("the seek head does not fit into its room"))?);
    Ok(bytes)
}

/// The duration element, as long as the void that it replaces.
pub(super) fn duration(milliseconds: u64) -> Vec<u8> {
    let mut bytes = vec![0x44, 0x89, 0x88];
    bytes.extend_from_slice(&(milliseconds as f64).to_be_bytes());
    bytes
}

/// Bytes kept free for the seek head: four entries of 21 bytes, its own head, and a void for the rest.
pub(super) const SEEK_HEAD_ROOM: usize = 120;
/// Id, size and eight bytes.
pub(super) const DURATION_LENGTH: usize = 11;
/// Matroska's track types.
pub(super) const VIDEO: u64 = 1;
const AUDIO: u64 = 2;
/// What libopus looks ahead at 48 kHz.
const OPUS_PRE_SKIP: u16 = 312;
const OPUS_CHANNELS: u8 = 2;
/// 2001-01-01 in microseconds since 1970: where Matroska counts dates from.
const YEAR_2001_US: i64 = 978_307_200_000_000;
