//! The room itself: one input in, effects out.

mod telling;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use lockgate_model::carrier::NodeTime;
use lockgate_model::policy::{Identity, Participant, Publication, RoomFacts, TrackFacts};
use lockgate_model::{Command, ErrorCode, OfferedMedia, PublisherId, Request, RoomName, TrackId};

use crate::effect::{Effect, MediaAction, Question};
use crate::input::{Answer, Input, MediaProblem};
use crate::member::{Held, Member, Stage, Track};
use crate::pending::{Pending, Ticket};
use crate::publishing::PublishAnswer;
use crate::session::Recording;
use crate::speakers::Speakers;
use crate::subscribing::SubscribeAsked;

/// What holds for every room.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// Most participants in one room, whatever policy says.
    pub max_participants: usize,
    /// Most tracks of one participant.
    pub max_tracks: usize,
    /// Most data channels of one participant; 0: none at all.
    pub max_data_channels: usize,
    /// What a second place of the same user does: `true` puts the first one out.
    pub replace_duplicates: bool,
    /// Whether the room is recorded from its first track on.
    pub auto_record: bool,
    /// How often everybody is told how loud the others are, in ms; 0: only when somebody else speaks than before.
    pub level_interval_ms: u32,
    /// Most cameras that one participant is sent at a time: those of the last speakers. None: all.
    pub last_n: Option<usize>,
    /// Most microphones that one participant is sent at a time: those that are spoken into. None: all.
    pub top_n: Option<usize>,
    /// How long a grant stands that policy cannot be asked about again, in ms.
    pub stale_max_ms: u64,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            max_participants: 1000,
            max_tracks: 16,
            max_data_channels: 16,
            replace_duplicates: false,
            auto_record: false,
            level_interval_ms: 0,
            last_n: None,
            top_n: None,
            stale_max_ms: 60_000,
        }
    }
}

/// One room.
#[derive(Debug)]
pub struct Room {
    pub(crate) name: RoomName,
    pub(crate) config: RoomConfig,
    pub(crate) now_ms: u64,
    pub(crate) members: BTreeMap<PublisherId, Member>,
    /// Whose each published track is.
    pub(crate) owners: HashMap<TrackId, PublisherId>,
    pub(crate) recording: Option<Recording>,
    /// Operators who want something recorded of which policy is being asked, by their numbers.
    pub(crate) operators: BTreeMap<PublisherId, Participant>,
    /// Recordings whose files are being closed.
    pub(crate) ending: Vec<Recording>,
    /// How many recordings there were.
    pub(crate) sessions: u32,
    pub(crate) speakers: Speakers,
    /// When levels were told last, and whether they were that nobody is to be heard.
    pub(crate) levels_told: Option<NodeTime>,
    pub(crate) silence_told: bool,
    /// Whether some track has ever had to wait for a place.
    pub(crate) places_taken: bool,
    /// When something of a member or of the recording is due, at the earliest; in ms since 1970.
    pub(crate) alarm_ms: Option<u64>,
    pending: HashMap<Ticket, Pending>,
    next_ticket: u64,
    /// What policy says in the answer that is dealt with.
    answered: HashSet<String>,
    effects: VecDeque<Effect>,
}

impl Room {
    /// An empty room.
    pub fn new(name: RoomName, config: RoomConfig) -> Self {
        Self {
            name,
            config,
            now_ms: 0,
            members: BTreeMap::new(),
            owners: HashMap::new(),
            recording: None,
            operators: BTreeMap::new(),
            ending: Vec::new(),
            sessions: 0,
            speakers: Speakers::default(),
            levels_told: None,
            silence_told: true,
            places_taken: false,
            alarm_ms: None,
            pending: HashMap::new(),
            next_ticket: 0,
            answered: HashSet::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes one input; `now_ms` is milliseconds since 1970. Drain [`Self::poll`] afterwards.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = now_ms;
        match input {
            Input::Join(join) => self.on_join(join),
            Input::Command { member, request, offered } => self.on_command(member, request, offered),
            Input::Time => self.on_time(),
            Input::Revoke(revocation) => self.on_revoke(revocation),
            Input::Operation(operation) => self.on_operation(operation),
            Input::MuteByOperator { tracks, muted } => self.on_mute_by_operator(&tracks, muted),
            Input::OtherPolicy => self.ask_again(None),
            Input::Renewed { member, identity } => self.on_renewed(member, identity),
            Input::Resumed { member } => self.on_resumed(member),
            Input::Leave { member, reason } => self.on_leave(member, reason),
            Input::Answer { ticket, answer } => {
                self.answered = answer.words();
                self.on_answer(ticket, answer);
            }
            Input::Unanswered { ticket, answer } => self.on_answer(ticket, answer),
            Input::Accepted { ticket, result } => self.on_accepted(ticket, result),
            Input::AnswerTaken { ticket, result } => self.on_answer_taken(ticket, result),
            Input::CandidateRefused { member, id, of, problem } => {
                self.refuse(member, id, of, problem.code, &problem.message);
            }
            Input::Offer(offer) => self.on_offer(offer),
            Input::ReceiverAnswered { ticket, result } => self.on_receiver_answered(ticket, result),
            Input::Placed { connection, cause, tracks } => self.on_placed(connection, cause, tracks),
            Input::Connected { member } => self.on_connected(member),
            Input::ConnectionLost { connection, unanswered, reason } => {
                self.on_connection_lost(connection, unanswered, &reason);
            }
            Input::ChannelOpened { member, stream, channel } => self.on_channel_opened(member, stream, channel),
            Input::ChannelClosed { member, stream } => self.on_channel_closed(member, stream),
            Input::ChannelLost { connection, track, loss } => self.on_channel_lost(connection, &track, loss),
            Input::PublishLost { member, reason } => self.on_publish_lost(member, &reason),
            Input::Received { connection, quality } => self.on_received(connection, quality),
            Input::Sent { member, quality } => self.on_sent(member, quality),
            Input::Rates { member, tracks } => self.on_rates(member, tracks),
            Input::Steered { member, track, encodings } => self.on_steered(member, &track, encodings),
            Input::Layer { connection, track, layer, reason } => self.on_layer(connection, track, layer, reason),
            Input::Levels { at, heard } => self.on_levels(at, &heard),
            Input::Recorder(report) => self.on_recorder(report),
        }
    }

    /// The next effect, in the order in which they are to be done.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether nobody is in, in the lobby or at the door.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether somebody is in the room or at its door under this id.
    pub fn contains(&self, member: PublisherId) -> bool {
        self.members.contains_key(&member)
    }

    /// How many are in.
    pub fn participants(&self) -> usize {
        self.inside().count()
    }

    // Commands, one at a time for each member.

    fn on_command(
        &mut self,
        member: PublisherId,
        request: Request,
        offered: Option<Result<Vec<OfferedMedia>, MediaProblem>>,
    ) {
        let Some(state) = self.members.get_mut(&member) else { return };
        if state.busy.is_none() {
            return self.obey(member, Held { request, offered });
        }
        let bytes = request.size + OVERHEAD;
        if state.held.len() >= MAX_HELD || state.held_bytes + bytes > MAX_HELD_BYTES {
            let text = "too many messages while a policy answer is pending; wait for the answers";
            return self.refuse(member, request.id, request.command.name(), ErrorCode::RATE_LIMITED, text);
        }
        state.held_bytes += bytes;
        state.held.push_back(Held { request, offered });
    }

    fn obey(&mut self, member: PublisherId, held: Held) {
        let Held { request: Request { id, command, .. }, offered } = held;
        if !self.is_inside(member) && !matches!(command, Command::LeaveRoom { .. } | Command::JoinRoom { .. }) {
            return self.refuse(member, id, command.name(), ErrorCode::WAITING, "you are not in the room yet");
        }
        match command {
            Command::PublishOffer { offer, tracks, .. } => self.on_publish_offer(member, id, offer, &tracks, offered),
            Command::PublishIceCandidate { candidate, .. } => self.on_publish_candidate(member, id, candidate),
            Command::Unpublish { track_id, .. } => self.on_unpublish(member, id, track_id),
            Command::SubscribeRequest { publisher_id, track_ids, max_layer, .. } => {
                self.on_subscribe(member, id, publisher_id, track_ids, max_layer.unwrap_or_default());
            }
            Command::SubscribeAnswer { publisher_id, answer, offer_id, .. } => {
                self.on_subscribe_answer(member, id, publisher_id, answer, offer_id);
            }
            Command::SubscribeIceCandidate { publisher_id, candidate, .. } => {
                self.on_subscribe_candidate(member, id, publisher_id, candidate);
            }
            Command::Unsubscribe { publisher_id, track_ids, .. } => {
                self.on_unsubscribe(member, id, publisher_id, track_ids);
            }
            Command::RestartIce { publisher_id, .. } => self.on_restart_ice(member, id, publisher_id),
            Command::SetLayer { .. } => self.on_set_layer(member, id, command),
            Command::Mute { .. } | Command::Unmute { .. } => self.on_mute(member, id, command),
            Command::Kick { .. } => self.on_kick(member, id, command),
            Command::StartRecording { tracks, .. } => self.on_start_recording(member, id, tracks),
            Command::StopRecording { tracks, .. } => self.on_stop_recording(member, id, tracks),
            Command::PolicyCommand { .. } => self.on_policy_command(member, id, command),
            Command::Offer(_) | Command::Answer(_) | Command::IceCandidate(_) => {
                self.on_peer_relay(member, id, command);
            }
            Command::ReceiveOffer { offer, .. } => self.on_receive_offer(member, id, offer),
            Command::Chat { text, .. } => self.on_chat(member, id, text),
            Command::JoinRoom { .. } => self.on_join_again(member, id, command),
            Command::LeaveRoom { .. } => self.on_leave_room(member, id),
            // The socket's own: they never reach a room.
            Command::Auth { .. } | Command::Ping {} => {}
        }
    }

    // Questions and their answers.

    pub(crate) fn ask(&mut self, question: Question, pending: Pending) {
        let ticket = self.wait_for(pending);
        self.effects.push_back(Effect::Ask { ticket, question: Box::new(question) });
    }

    pub(crate) fn act(&mut self, pending: Pending, action: impl FnOnce(Ticket) -> MediaAction) {
        let ticket = self.wait_for(pending);
        self.media(action(ticket));
    }

    /// The ticket of the next question.
    pub(crate) fn next_question(&self) -> Ticket {
        Ticket(self.next_ticket + 1)
    }

    fn wait_for(&mut self, pending: Pending) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        if let Some(member) = pending.holds().and_then(|member| self.members.get_mut(&member)) {
            member.busy = Some(ticket);
        }
        self.pending.insert(ticket, pending);
        ticket
    }

    fn on_answer(&mut self, ticket: Ticket, answer: Answer) {
        let Some(pending) = self.take(ticket) else { return self.answered.clear() };
        let holder = pending.holds();
        match pending {
            Pending::Admission { member, id } => self.on_admission(member, id, ticket, answer.into_one()),
            Pending::Readmission { member } => self.on_readmission(member, ticket, answer.into_one()),
            Pending::Arrival { member, id, asked } => self.on_arrival(member, id, ticket, asked, answer.into_many()),
            Pending::Publish { member, id, offer, offered, asked } => {
                self.on_publish_verdicts(
                    PublishAnswer { member, id, offer, offered, ticket },
                    &asked,
                    answer.into_many(),
                );
            }
            Pending::Republish { member, asked } => self.on_republish(member, ticket, asked, answer.into_many()),
            Pending::Announce { viewer, asked } => self.on_announce(viewer, ticket, asked, answer.into_many()),
            Pending::Recheck { viewer, asked } => self.on_recheck(viewer, ticket, asked, answer.into_many()),
            Pending::Subscribe { viewer, id, publisher, asked } => {
                let asked = SubscribeAsked { publisher, tracks: asked, ticket };
                self.on_subscribe_verdicts(viewer, id, asked, answer.into_many());
            }
            Pending::Channel { member, stream, opening } => {
                self.on_channel_verdict(member, ticket, (stream, opening), answer.into_one());
            }
            Pending::Record(record) => self.on_record_verdicts(record, ticket, answer.into_many()),
            Pending::Rerecord { session, asked } => self.on_rerecord(&session, ticket, asked, answer.into_many()),
            Pending::Act { member, id, command } => {
                self.on_act_verdict((member, id), ticket, command, answer.into_act());
            }
            // The media side's, not policy's.
            Pending::Accept { .. } | Pending::TakeAnswer { .. } | Pending::ReceiveOffer { .. } => {}
        }
        // What is obeyed from here on was not asked about.
        self.answered.clear();
        self.release(holder);
    }

    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        if let Some(member) = pending.holds().and_then(|member| self.members.get_mut(&member))
            && member.busy == Some(ticket)
        {
            member.busy = None;
        }
        Some(pending)
    }

    /// What waits for an answer.
    pub(crate) fn questions(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    /// Whether a track of this name is on its way into the room.
    pub(crate) fn is_being_accepted(&self, track: &TrackId) -> bool {
        let accepted = self.pending.values().any(|pending| match pending {
            Pending::Accept { offered, .. } => offered.iter().any(|offered| offered.takes(track)),
            _ => false,
        });
        accepted || self.members.values().any(|member| member.opening.values().any(|opening| opening.track == *track))
    }

    /// Goes on with what a member's last question held up.
    pub(crate) fn release(&mut self, member: Option<PublisherId>) {
        let Some(member) = member else { return };
        while let Some(state) = self.members.get_mut(&member)
            && state.busy.is_none()
            && let Some(held) = state.held.pop_front()
        {
            state.held_bytes = state.held_bytes.saturating_sub(held.request.size + OVERHEAD);
            self.obey(member, held);
        }
    }

    // Looking things up.

    #[cfg(test)]
    pub(crate) fn has_nothing_pending(&self) -> bool {
        self.pending.is_empty() && self.recording.is_none() && self.owners.is_empty()
    }

    pub(crate) fn facts(&self) -> RoomFacts {
        RoomFacts {
            name: self.name.clone(),
            participants: u32::try_from(self.participants()).unwrap_or(u32::MAX),
            publications: u32::try_from(self.owners.len()).unwrap_or(u32::MAX),
            recording: self.recording.is_some(),
        }
    }

    pub(crate) fn inside(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.stage == Stage::Inside)
    }

    pub(crate) fn others_inside(&self, id: PublisherId) -> impl Iterator<Item = &Member> {
        self.inside().filter(move |other| other.id != id)
    }

    pub(crate) fn is_inside(&self, id: PublisherId) -> bool {
        self.members.get(&id).is_some_and(|member| member.stage == Stage::Inside)
    }

    pub(crate) fn tracks(&self) -> impl Iterator<Item = (&Member, &Track)> {
        self.inside().flat_map(|member| member.tracks.values().map(move |track| (member, track)))
    }

    /// A published track, and who publishes it.
    pub(crate) fn track(&self, track: &TrackId) -> Option<(&Member, &Track)> {
        let owner = self.members.get(self.owners.get(track)?)?;
        Some((owner, owner.tracks.get(track)?))
    }

    pub(crate) fn track_mut(&mut self, track: &TrackId) -> Option<(PublisherId, &mut Track)> {
        let owner = self.members.get_mut(self.owners.get(track)?)?;
        Some((owner.id, owner.tracks.get_mut(track)?))
    }

    pub(crate) fn publisher_of(&self, track: &TrackId) -> Option<PublisherId> {
        self.owners.get(track).copied()
    }

    /// Who a member is, for the archive.
    pub fn identity(&self, member: PublisherId) -> Option<&Identity> {
        self.members.get(&member).map(|member| &member.participant.identity)
    }

    pub(crate) fn facts_of(&self, track: &TrackId) -> Option<TrackFacts> {
        self.track(track).map(|(_, track)| track.facts())
    }

    pub(crate) fn publication(&self, track: &TrackId) -> Option<Publication> {
        let (publisher, track) = self.track(track)?;
        Some(Publication { publisher: publisher.as_participant(), track: track.facts() })
    }
}

/// A client may send this many messages ahead of a pending policy answer.
const MAX_HELD: usize = 64;
/// And this much text.
const MAX_HELD_BYTES: usize = 256 * 1024;
/// What a held command takes beside its text, in bytes, about.
const OVERHEAD: usize = 128;
