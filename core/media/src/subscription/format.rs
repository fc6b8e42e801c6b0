//! How a viewer is sent a track: payload types and header extensions, as an m-line has them.

use lockgate_model::MediaKind;
use lockgate_transport::sdp::{CodecLine, Extension, ExtensionMap};

use crate::template::Template;

/// How a viewer is sent a track, as negotiated.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) red: Option<u8>,
    /// It asks for packets again and has no source for them: it is sent what it was sent.
    pub(crate) copies: bool,
    pub(crate) template: Template,
}

impl Format {
    /// On an m-line, by a codec as the viewer names it and with the header extensions that both sides know.
    pub(crate) fn on(mid: &str, codec: &CodecLine, rtx_ssrc: Option<u32>, ids: ExtensionMap) -> Self {
        // Numbers that nobody reports on are left out.
        let taken = codec.feedback_taken();
        let ids = if taken.twcc { ids } else { ids.without(Extension::Twcc) };
        let (payload_type, rtx) = (codec.payload_type, rtx_ssrc.zip(codec.rtx));
        Self {
            payload_type,
            rtx,
            red: codec.red,
            copies: taken.nack && rtx.is_none(),
            template: Template::new(mid, &ids),
        }
    }
}

/// The header extensions that viewers are sent on such a line, with the ids that we offer them under. A descriptor is promised of what
/// has one only: decoders that were promised it wait for it.
pub(crate) fn extensions(kind: MediaKind, described: bool) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    let sent = SENT.iter().filter(|(_, _, kinds)| kinds.contains(&kind));
    sent.for_each(|(extension, id, _)| map.set(*extension, *id));
    if described { map } else { map.without(Extension::DependencyDescriptor) }
}

/// All header extensions that viewers are sent, the ids are ours, and the lines that they are for.
const SENT: [(Extension, u8, &[MediaKind]); 5] = [
    (Extension::Mid, 1, &[MediaKind::Audio, MediaKind::Video]),
    (Extension::AudioLevel, 2, &[MediaKind::Audio]),
    (Extension::Orientation, 3, &[MediaKind::Video]),
    (Extension::DependencyDescriptor, 4, &[MediaKind::Video]),
    (Extension::Twcc, 5, &[MediaKind::Audio, MediaKind::Video]),
];

#[cfg(test)]
mod tests {
    use lockgate_model::Codec;
    use lockgate_transport::sdp::Feedback;

    use super::*;

    #[test]
    fn each_kind_of_line_has_its_extensions_and_descriptors_are_promised_of_what_has_them() {
        let of = |kind, described| {
            let mut ids: Vec<u8> = extensions(kind, described).iter().map(|(_, id)| id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!([of(MediaKind::Audio, true), of(MediaKind::Audio, false)], [[1, 2, 5], [1, 2, 5]]);
        assert_eq!(of(MediaKind::Video, true), [1, 3, 4, 5]);
        assert_eq!(of(MediaKind::Video, false), [1, 3, 5]);
        assert!(of(MediaKind::Data, true).is_empty());
    }

    #[test]
    fn numbers_are_for_who_reports_on_them_and_repairs_for_who_has_a_payload_type_for_them() {
        let codec = |twcc, rtx| {
            let feedback = Feedback { twcc, ..Feedback::default() };
            CodecLine { payload_type: 100, codec: Codec::Vp8, fmtp: String::new(), rtx, red: None, feedback }
        };
        let on = |codec: CodecLine, ssrc| {
            let format = Format::on("0", &codec, ssrc, extensions(MediaKind::Video, true));
            (format.payload_type, format.rtx, format.template.is_counted())
        };
        assert_eq!(on(codec(true, Some(101)), Some(7)), (100, Some((7, 101)), true));
        assert_eq!(on(codec(false, None), Some(7)), (100, None, false));
        assert_eq!(on(codec(false, Some(101)), None), (100, None, false));
    }
}
