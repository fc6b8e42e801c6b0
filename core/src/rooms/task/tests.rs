use super::*;
use crate::testing::{self, join};

/// Whom a room tells that it failed, of those who joined.
async fn who_is_out(news: &mut mpsc::Receiver<RoomNews>) -> PublisherId {
    loop {
        let RoomNews { member, event, .. } = hear(news).await;
        match event {
            RoomEvent::Out(_) => return member,
            RoomEvent::Tell(_) => {}
            RoomEvent::Gone | RoomEvent::Missed(_) => panic!("{member} left"),
        }
    }
}

async fn hear(news: &mut mpsc::Receiver<RoomNews>) -> RoomNews {
    timeout(Duration::from_secs(30), news.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_is_in_a_room_that_fails_is_told_and_the_next_one_is_new() {
    let (node, _hub) = testing::node();
    let (seat, mut news) = mpsc::channel(16);
    let name = RoomName::new("board").unwrap();
    let [inside, at_the_door, later] = [(); 3].map(|()| node.allot_publisher());
    node.rooms.join(&node, &name, join(inside), seat.clone()).await.unwrap();
    assert!(matches!(hear(&mut news).await.event, RoomEvent::Tell(_)));
    node.rooms.fail_all();
    assert_eq!(who_is_out(&mut news).await, inside);
    assert_eq!(node.rooms.count(), 0);

    node.rooms.join(&node, &name, join(at_the_door), seat.clone()).await.unwrap();
    node.rooms.fail_all();
    assert_eq!(who_is_out(&mut news).await, at_the_door);

    node.rooms.join(&node, &name, join(later), seat).await.unwrap();
    let entered = hear(&mut news).await;
    assert!(matches!(entered.event, RoomEvent::Tell(_)) && entered.member == later, "{entered:?}");
}

#[tokio::test]
async fn a_session_that_ends_without_a_word_has_left() {
    let (node, _hub) = testing::node();
    let (seat, mut news) = mpsc::channel(16);
    let name = RoomName::new("board").unwrap();
    node.rooms.join(&node, &name, join(node.allot_publisher()), seat).await.unwrap();
    assert!(matches!(hear(&mut news).await.event, RoomEvent::Tell(_)));
    drop(news);
    let closed = async {
        while node.rooms.count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.expect("the room ends with its last member");
}

#[tokio::test]
async fn who_left_is_let_go_of() {
    let (node, _hub) = testing::node();
    let (seat, mut news) = mpsc::channel(16);
    let (name, member) = (RoomName::new("board").unwrap(), node.allot_publisher());
    let room = node.rooms.join(&node, &name, join(member), seat).await.unwrap();
    room.input(Input::Leave { member, reason: LeaveReason::Closed }).await;
    let let_go = async { while news.recv().await.is_some() {} };
    timeout(Duration::from_secs(30), let_go).await.expect("nothing more can come from the room");
}

#[tokio::test]
async fn a_session_that_is_behind_is_out_and_learns_it_once_it_reads() {
    let (node, _hub) = testing::node();
    // One word waits for a session at a time: the list of publishers comes too soon after the welcome.
    let (seat, mut news) = mpsc::channel(1);
    let (name, member) = (RoomName::new("board").unwrap(), node.allot_publisher());
    node.rooms.join(&node, &name, join(member), seat).await.unwrap();
    let closed = async {
        while node.rooms.count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.expect("the only member is out");
    assert!(matches!(hear(&mut news).await.event, RoomEvent::Tell(_)));
    assert!(matches!(hear(&mut news).await.event, RoomEvent::Out(BEHIND)));
}

#[tokio::test]
async fn rooms_that_do_not_end_are_not_waited_for() {
    let (node, _hub) = testing::node();
    let (seat, mut news) = mpsc::channel(16);
    let (name, member) = (RoomName::new("board").unwrap(), node.allot_publisher());
    node.rooms.join(&node, &name, join(member), seat).await.unwrap();
    assert!(matches!(hear(&mut news).await.event, RoomEvent::Tell(_)));
    // Only from here on: the worker above needs real time.
    tokio::time::pause();
    timeout(Duration::from_secs(60), node.rooms.ended()).await.expect("it waits for ever");
    assert_eq!(who_is_out(&mut news).await, member);
}
