//! Clients that do not read as much as they are sent.

use super::*;

#[test]
fn a_client_that_is_behind_gets_its_last_words() {
    let mut house = House::new();
    let (mut slow, path) = house.known_client();
    house.fill(path);
    house.send(path, b"\x15farewell");
    house.known.clear();
    house.look();
    slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let (mut end, mut piece) = (Vec::new(), [0; 1 << 16]);
    house.until_read(&mut slow, |slow| {
        if let Ok(count) = slow.read(&mut piece) {
            end.extend_from_slice(&piece[..count]);
            end.drain(..end.len().saturating_sub(11));
        }
        end == b"\0\x09\x15farewell"
    });
    assert!(house.ends().is_empty(), "{:?}", house.ends());
}

#[test]
fn a_client_that_takes_nothing_is_not_waited_for_any_longer() {
    let mut house = House::new();
    let (_deaf, path) = house.known_client();
    house.fill(path);
    house.send(path, b"\x15farewell");
    house.known.clear();
    house.look();
    assert!(house.ends().is_empty() && house.streams.held > 0, "{:?}", house.ends());
    house.look();
    assert_eq!((house.ends(), house.streams.is_empty()), (vec![(StreamEnd::Unused, 1)], true));
}

#[test]
fn what_is_withdrawn_does_not_reach_a_client_that_is_behind() {
    let mut house = House::new();
    let (mut slow, path) = house.known_client();
    let sent = house.fill(path);
    let withdrawn = |source| [Withdrawn { path, source }, Withdrawn { path: Path { socket: 0, ..path }, source }];
    house.streams.withdraw(&withdrawn(Some(7)));
    assert_eq!(house.failed(SendFailure::Withdrawn), 0, "that is another's");
    house.streams.withdraw(&withdrawn(Some(0x8080_8080)));
    assert!(house.failed(SendFailure::Withdrawn) > 100 && house.streams.held < 2000, "{}", house.streams.held);
    house.send(path, b"\0 control");
    slow.set_nonblocking(true).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 1 << 16]);
    house.until_read(&mut slow, |slow| {
        let count = slow.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        bytes.ends_with(b"\0\x09\0 control")
    });
    let came = (bytes.len() as u64 - 11) / 1002;
    assert_eq!(came + house.failed(SendFailure::Withdrawn) + house.failed(SendFailure::Behind), sent);
    assert_eq!(house.counters().frames_out, came + 1);
}

#[test]
fn what_waited_for_a_stream_that_ended_is_counted() {
    let mut house = House::new();
    let (client, path) = house.known_client();
    let sent = house.fill(path);
    drop(client);
    house.until(|house| house.streams.is_empty());
    let [behind, over] = [SendFailure::Behind, SendFailure::StreamOver].map(|failure| house.failed(failure));
    assert!(over > 100 && house.counters().frames_out + behind + over == sent, "{sent} were sent, {over} left");
}

#[test]
fn a_client_that_does_not_read_loses_media_in_whole_frames_and_nothing_else() {
    let mut house = House::new();
    let (mut client, path) = house.known_client();
    let mut media = vec![0x80; 1000];
    let mut sent = 0_u32;
    // More than the system and the outbox hold: the system says how much that is by taking no more.
    while house.counters().failure_counts[SendFailure::Behind as usize] < 100 {
        sent += 1;
        media[4..8].copy_from_slice(&sent.to_be_bytes());
        house.send(path, &media);
    }
    house.send(path, b"\0 control");
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 1 << 16]);
    house.until_read(&mut client, |client| {
        if let Ok(count) = client.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        bytes.ends_with(&media)
    });
    let (mut numbers, mut controls, mut rest) = (Vec::new(), 0, &bytes[..]);
    while let Some((prefix, behind)) = rest.split_first_chunk::<2>() {
        let (frame, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
        match frame {
            b"\0 control" => controls += 1,
            _ => numbers.push(u32::from_be_bytes(frame[4..8].try_into().unwrap())),
        }
        rest = behind;
    }
    assert!(numbers.is_sorted() && numbers.last() == Some(&sent), "in order, and the newest is there");
    let NetworkCounters { frames_out, failure_counts, .. } = house.counters();
    assert_eq!((controls, frames_out), (1, numbers.len() as u64 + 1));
    assert_eq!(failure_counts[SendFailure::Behind as usize] + numbers.len() as u64, u64::from(sent));
}

#[test]
fn what_a_client_did_not_take_in_time_is_let_go_of_while_nothing_is_sent_to_it() {
    let mut house = House::new();
    let (client, path) = house.known_client();
    house.fill(path);
    house.turn();
    assert!(house.streams.held > 100_000, "{}", house.streams.held);
    house.now += LOOK;
    house.turn();
    assert!(house.streams.held < 2000, "no more than a torn frame: {}", house.streams.held);
    drop(client);
    house.until(|house| house.streams.is_empty());
    assert_eq!(house.streams.held, 0);
}

impl House {
    /// Turns and reads until it is enough.
    fn until_read(&mut self, client: &mut TcpStream, mut enough: impl FnMut(&mut TcpStream) -> bool) {
        let begin = Instant::now();
        while !enough(client) {
            assert!(begin.elapsed() < Duration::from_secs(30), "it does not come");
            self.turn();
        }
    }
}
