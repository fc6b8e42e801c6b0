//! Questions of a room, put to the plugins: a few at a time, so that one large room does not fill the queue of all.

use std::collections::{HashMap, VecDeque};

use lockgate_model::policy::{CommandAnswer, Decision, Denial};
use lockgate_model::{ErrorCode, RoomName};
use lockgate_policy::Policy;
use lockgate_room::{Answer, Input, Question, Ticket};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{Id, JoinSet};

/// The open questions of one room.
pub(super) struct Questions {
    policy: Policy,
    room: RoomName,
    /// The number of the plugins that were asked about everybody in the room, and whether others were asked something since.
    epoch: u64,
    others: bool,
    waiting: VecDeque<(Ticket, Box<Question>)>,
    /// Questions that are put again: nobody waits for them, so they wait for all others.
    repeated: VecDeque<(Ticket, Box<Question>)>,
    /// How many of those policy has now.
    asked_again: usize,
    /// The turn that the room has to be asked about as a whole, and how many of those questions are left.
    turn: Option<(OwnedSemaphorePermit, usize)>,
    asked: JoinSet<Answer>,
    /// For each of them, by its task.
    open: HashMap<Id, Open>,
}

/// A question that policy has.
struct Open {
    ticket: Ticket,
    shape: Shape,
    repeated: bool,
}

/// What an answer must look like.
#[derive(Clone, Copy)]
enum Shape {
    One,
    Many(usize),
    Act,
}

impl Questions {
    pub(super) fn new(policy: Policy, room: RoomName) -> Self {
        Self {
            epoch: policy.epoch_of(&room),
            others: false,
            policy,
            room,
            waiting: VecDeque::new(),
            repeated: VecDeque::new(),
            asked_again: 0,
            turn: None,
            asked: JoinSet::new(),
            open: HashMap::new(),
        }
    }

    /// Asks when it is the question's turn. Gives the answer at once when too many wait already: no.
    pub(super) fn ask(&mut self, ticket: Ticket, question: Box<Question>) -> Option<Answer> {
        let line = if question.is_repeated() { &mut self.repeated } else { &mut self.waiting };
        if line.len() >= MAX_WAITING {
            return Some(Shape::of(&question).denied(ErrorCode::OVERLOADED, "too many questions wait for policy"));
        }
        line.push_back((ticket, question));
        self.put_next();
        None
    }

    /// Whether other plugins answer than those that were asked about everybody, or have answered something meanwhile. From now on it is
    /// these.
    pub(super) fn are_others_answering(&mut self) -> bool {
        let epoch = self.policy.epoch_of(&self.room);
        let others = std::mem::take(&mut self.others);
        std::mem::replace(&mut self.epoch, epoch) != epoch || others
    }

    /// Keeps the turn until all questions are answered that are to be put again now.
    pub(super) fn take_turn(&mut self, turn: OwnedSemaphorePermit) {
        let left = self.repeated.len() + self.asked_again;
        self.turn = (left > 0).then_some((turn, left));
    }

    /// One question that was put again has its answer.
    fn asked_one_again(&mut self) {
        self.asked_again -= 1;
        let Some((_, left)) = &mut self.turn else { return };
        *left -= 1;
        if *left == 0 {
            self.turn = None;
        }
    }

    /// The next answer; waits while nothing is asked. There is always one: a plugin that fails denies.
    pub(super) async fn next(&mut self) -> Option<Input> {
        let answered = self.asked.join_next_with_id().await?;
        let id = match &answered {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Open { ticket, shape, repeated } = self.open.remove(&id)?;
        if repeated {
            self.asked_one_again();
        }
        self.put_next();
        Some(match answered {
            Ok((_, answer)) => Input::Answer { ticket, answer },
            Err(error) => {
                tracing::error!(%error, "a question to policy failed");
                let answer = shape.denied(ErrorCode::POLICY_UNAVAILABLE, "policy gave no answer");
                Input::Unanswered { ticket, answer }
            }
        })
    }

    /// Hands policy what it has room for, first what somebody waits for. One place is for what is put again, whatever else there is:
    /// grants must not go on because nobody gets round to asking.
    fn put_next(&mut self) {
        while self.asked.len() < MAX_ASKED {
            let again = match self.asked_again {
                0 => true,
                some => self.waiting.is_empty() && some < MAX_ASKED_AGAIN,
            };
            let repeated = if again { self.repeated.pop_front() } else { None };
            let Some((ticket, question)) = repeated.or_else(|| self.waiting.pop_front()) else { return };
            self.put(ticket, question);
        }
    }

    fn put(&mut self, ticket: Ticket, question: Box<Question>) {
        let open = Open { ticket, shape: Shape::of(&question), repeated: question.is_repeated() };
        let policy = self.policy.clone();
        self.others |= policy.epoch_of(&self.room) != self.epoch;
        self.wait_for(open, async move { ask(&policy, *question).await });
    }

    fn wait_for(&mut self, open: Open, answer: impl Future<Output = Answer> + Send + 'static) {
        self.asked_again += usize::from(open.repeated);
        let id = self.asked.spawn(answer).id();
        self.open.insert(id, open);
    }
}

async fn ask(policy: &Policy, question: Question) -> Answer {
    match question {
        Question::Admission(question) => Answer::One(policy.admit(question).await),
        Question::Publish(question) => Answer::Many(policy.publish(question).await),
        Question::Subscribe(question) => Answer::Many(policy.subscribe(question).await),
        Question::Record(question) => Answer::Many(policy.record(question).await),
        Question::Command(question) => Answer::Act(policy.command(*question).await),
    }
}

impl Shape {
    fn of(question: &Question) -> Self {
        match question {
            Question::Admission(_) => Self::One,
            Question::Publish(question) => Self::Many(question.tracks.len()),
            Question::Subscribe(question) => Self::Many(question.publications.len()),
            Question::Record(question) => Self::Many(question.publications.len()),
            Question::Command(_) => Self::Act,
        }
    }

    /// No, to all that was asked.
    fn denied(self, code: ErrorCode, message: &str) -> Answer {
        let no = || Decision::Err(Denial::new(code.clone(), message));
        match self {
            Self::One => Answer::One(no()),
            Self::Many(count) => Answer::Many(std::iter::repeat_with(no).take(count).collect()),
            Self::Act => Answer::Act(CommandAnswer { decision: no(), reply: String::new(), effects: Vec::new() }),
        }
    }
}

/// Questions of one room that policy has at a time; its own queue is for the other rooms too.
const MAX_ASKED: usize = 16;
/// Of those, questions that are put again.
const MAX_ASKED_AGAIN: usize = 4;
/// Questions that wait for their turn: each member has at most one of its own, the rest are announcements.
const MAX_WAITING: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use lockgate_model::PublisherId;
    use lockgate_model::policy::Why;
    use lockgate_policy::{CanaryConfig, PolicyConfig};
    use lockgate_room::{Effect, Room, RoomConfig};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::testing;

    fn board() -> RoomName {
        RoomName::new("board").unwrap()
    }

    /// The first questions about so many who come, and the same put again.
    fn questions(count: u64) -> Vec<(Ticket, Box<Question>)> {
        let mut room = Room::new(board(), RoomConfig::default());
        let mut ask = |member: u64| {
            room.handle(0, Input::Join(testing::join(PublisherId(member))));
            let Some(Effect::Ask { ticket, question }) = room.poll() else { panic!("nothing is asked") };
            (ticket, question)
        };
        (1..=count).map(&mut ask).collect()
    }

    fn again((ticket, mut question): (Ticket, Box<Question>)) -> (Ticket, Box<Question>) {
        if let Question::Admission(question) = &mut *question {
            question.why = Why::Recheck;
        }
        (ticket, question)
    }

    #[tokio::test]
    async fn what_somebody_waits_for_goes_first_but_something_is_always_asked_again() {
        let (node, _hub) = testing::node();
        let mut asked = questions(2 * MAX_ASKED as u64).into_iter();
        let mut questions = Questions::new(node.policy.clone(), board());
        let first: Vec<_> = asked.by_ref().take(MAX_ASKED).collect();
        let (repeated, later): (Vec<_>, Vec<_>) = (asked.by_ref().take(6).map(again).collect(), asked.collect());
        for (ticket, question) in repeated.into_iter().chain(first).chain(later) {
            assert!(questions.ask(ticket, question).is_none());
        }
        let repeated = |questions: &Questions| questions.open.values().filter(|open| open.repeated).count();
        assert_eq!((questions.open.len(), repeated(&questions)), (MAX_ASKED, MAX_ASKED_AGAIN));
        let mut least = MAX_ASKED;
        while !questions.repeated.is_empty() {
            questions.next().await.unwrap();
            least = least.min(repeated(&questions));
        }
        assert!(least >= 1);
        while questions.next().await.is_some() {}
        assert!(questions.open.is_empty() && questions.asked_again == 0);
    }

    #[tokio::test]
    async fn a_room_gives_its_turn_back_when_it_has_been_asked_about() {
        let (node, _hub) = testing::node();
        let turns = Arc::new(Semaphore::new(1));
        let turn = || Arc::clone(&turns).try_acquire_owned().expect("it is free");
        let mut asked = questions(MAX_ASKED_AGAIN as u64 + 4).into_iter().map(again);
        let mut questions = Questions::new(node.policy.clone(), board());
        questions.take_turn(turn());
        assert_eq!(turns.available_permits(), 1, "nothing is asked about it");
        for (ticket, question) in asked.by_ref().take(MAX_ASKED_AGAIN + 2) {
            assert!(questions.ask(ticket, question).is_none());
        }
        questions.take_turn(turn());
        // What comes later does not keep it.
        for (ticket, question) in asked {
            assert!(questions.ask(ticket, question).is_none());
        }
        for _ in 0..MAX_ASKED_AGAIN + 2 {
            assert_eq!(turns.available_permits(), 0);
            questions.next().await.unwrap();
        }
        assert_eq!((turns.available_permits(), questions.open.len()), (1, 2));
    }

    #[tokio::test]
    async fn a_room_is_asked_about_again_if_others_answered_anything_though_they_answer_no_more() {
        let (node, _hub) = testing::node();
        let mut questions = Questions::new(node.policy.clone(), board());
        assert!(!questions.are_others_answering());
        let swap = |default_allow| {
            let canary = CanaryConfig { share: 1.0, ..CanaryConfig::default() };
            let candidate = node.policy.prepare(&PolicyConfig { default_allow, canary, ..PolicyConfig::default() });
            let Ok(candidate) = candidate else { panic!("it has no plugins") };
            node.policy.swap(candidate, "a test", Instant::now());
        };
        swap(false);
        assert!(questions.are_others_answering() && !questions.are_others_answering());
        swap(true);
        assert!(questions.are_others_answering() && !questions.are_others_answering());
        swap(false);
        swap(true);
        assert!(!questions.are_others_answering(), "nothing was asked meanwhile");
        swap(false);
        let [(ticket, question)] = self::questions(1).try_into().unwrap();
        assert!(questions.ask(ticket, question).is_none());
        swap(true);
        assert!(questions.are_others_answering() && !questions.are_others_answering());
        questions.next().await.unwrap();
    }

    #[tokio::test]
    async fn a_question_that_fails_is_answered_with_a_no() {
        let (node, _hub) = testing::node();
        let mut room = Room::new(board(), RoomConfig::default());
        room.handle(0, Input::Join(testing::join(PublisherId(1))));
        let Some(Effect::Ask { ticket, .. }) = room.poll() else { panic!("nothing is asked") };
        let mut questions = Questions::new(node.policy.clone(), board());
        let open = Open { ticket, shape: Shape::Many(2), repeated: false };
        questions.wait_for(open, async { panic!("a test wants it") });
        let Some(Input::Unanswered { ticket: asked, answer: Answer::Many(decisions) }) = questions.next().await else {
            panic!("no answer")
        };
        assert_eq!((asked, decisions.len()), (ticket, 2));
        assert!(decisions.iter().all(Result::is_err) && questions.open.is_empty());
    }
}
