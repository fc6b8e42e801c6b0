//! Records what a browser's encoder really sends, for the forwarding benchmark: `tests/bench/traces/`.
//!
//! Not a test of the product, and run by hand only, as its outcome is a file that is checked in:
//! `cargo test --profile ci -p lockgate-tests --test system -- --ignored trace`, after `cargo build --profile ci --workspace`.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lockgate_tests::{BESIDE, Browser, Node, Setup, Token};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

/// One media packet as it passed: the system's receive time, its source and what is written down of it.
struct Passed {
    time: Duration,
    ssrc: u32,
    payload: usize,
    marker: bool,
}

#[tokio::test]
#[ignore = "makes a file that is checked in"]
async fn a_browsers_packets_are_written_down() {
    let (passed, media_port) = relay();
    let node = Node::start(Setup { media_port: Some(media_port), ..Setup::default() }).await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/health")).await;
    page.enter("ann", &node, &Token::of(1, "Ann"), "board", "{}").await;
    page.run(CAMERA).await;
    page.run(
        "const encodings = [{ maxBitrate: 2_500_000, maxFramerate: 30 }];
         await ann.publish([{ track: camera(1280, 720, 30), source: 'camera', codec: 'vp8', encodings }]);",
    )
    .await;
    // The browser has found out that the network carries it all, and has sent at that rate for a while.
    let sent = page
        .run(
            "let full = 0, before;
             return await until('2.5 Mbit/s', async () => {
                 await new Promise((resolve) => setTimeout(resolve, 1000));
                 const now = Object.values(await ann.outbound())[0];
                 const rate = before ? 8 * (now.bytesSent - before.bytesSent) / (now.timestamp - before.timestamp) : 0;
                 before = now;
                 full = rate > 2300 ? full + 1 : 0;
                 return full >= 2 && now;
             })",
        )
        .await;
    let ssrc = sent["ssrc"].as_u64().expect("a source has a number") as u32;
    let old = passed.try_iter().count();
    page.run("await new Promise((resolve) => setTimeout(resolve, 10_500))").await;
    let packets: Vec<_> = passed.try_iter().filter(|packet| packet.ssrc == ssrc).collect();
    let after = page.run("return Object.values(await ann.outbound())[0]").await;
    eprintln!("{old} packets before; {} written down; {after}", packets.len());
    let text = written(&packets, &after);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/traces/chromium-vp8-720p30.txt");
    std::fs::write(&file, text).unwrap();
}

/// Whole frames of ten seconds, times from the first packet on.
fn written(packets: &[Passed], sent: &serde_json::Value) -> String {
    let begin = packets.iter().position(|packet| packet.marker).expect("a frame ended") + 1;
    let packets = &packets[begin..];
    let start = packets[0].time;
    let end = packets.iter().rposition(|packet| packet.marker && packet.time - start < LENGTH).expect("a frame ended");
    let packets = &packets[..=end];
    let frames = packets.iter().filter(|packet| packet.marker).count();
    let bytes: usize = packets.iter().map(|packet| packet.payload).sum();
    let seconds = (packets[end].time - start).as_secs_f64();
    let mut text = format!(
        "# RTP packets of one VP8 encoding, {} at {}x{}, aimed at 2.5 Mbit/s: {} packets, {frames} frames, {seconds:.2} s, {:.2} Mbit/s.\n\
         # Recorded between headless Chromium and a node on loopback; without RTX and padding. Made by\n\
         # cargo test --profile ci -p lockgate-tests --test system -- --ignored trace\n\
         # microseconds since the first one, bytes of RTP payload, 1 if it ends a frame\n",
        sent["framesPerSecond"],
        sent["frameWidth"],
        sent["frameHeight"],
        packets.len(),
        bytes as f64 * 8.0 / seconds / 1e6,
    );
    for packet in packets {
        let at = (packet.time - start).as_micros();
        writeln!(text, "{at} {} {}", packet.payload, u8::from(packet.marker)).unwrap();
    }
    text
}

/// A relay between one browser and the node, on threads of its own, so that nothing waits for the test. Returns what passes to
/// the node, and the port of both. It ends with the process.
fn relay() -> (Receiver<Passed>, u16) {
    let outside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let inside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let port = outside.local_addr().unwrap().port();
    setsockopt(&outside, sockopt::ReceiveTimestampns, &true).unwrap();
    let (sender, passed) = channel();
    let (browser, found) = channel();
    let (near, far) = (Arc::clone(&outside), Arc::clone(&inside));
    std::thread::spawn(move || to_node(&near, &far, SocketAddr::from((BESIDE, port)), &browser, &sender));
    std::thread::spawn(move || {
        let (mut datagram, browser) = (vec![0; MAX_DATAGRAM], found.recv().unwrap());
        while let Ok(length) = inside.recv(&mut datagram) {
            let _ = outside.send_to(&datagram[..length], browser);
        }
    });
    (passed, port)
}

fn to_node(near: &UdpSocket, far: &UdpSocket, node: SocketAddr, browser: &Sender<SocketAddr>, passed: &Sender<Passed>) {
    let (mut datagram, mut told) = (vec![0; MAX_DATAGRAM], false);
    loop {
        let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut slices = [std::io::IoSliceMut::new(&mut datagram)];
        let received =
            recvmsg::<SockaddrIn>(near.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()).unwrap();
        let stamp = received.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let (length, from) = (received.bytes, received.address.unwrap());
        if !std::mem::replace(&mut told, true) {
            browser.send(SocketAddr::from((from.ip(), from.port()))).unwrap();
        }
        let _ = far.send_to(&datagram[..length], node);
        if let Some(packet) = read(&datagram[..length], stamp.unwrap()) {
            let _ = passed.send(packet);
        }
    }
}

/// Headers of SRTP are in clear.
fn read(datagram: &[u8], time: Duration) -> Option<Passed> {
    let is_media = datagram.len() > 12 + TAG && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1]);
    if !is_media {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    let mut header = 12 + 4 * usize::from(datagram[0] & 0x0f);
    if datagram[0] & 0x10 != 0 {
        header += 4 + 4 * usize::from(word(header + 2));
    }
    let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
    Some(Passed { time, ssrc, payload: datagram.len().checked_sub(header + TAG)?, marker: datagram[1] & 0x80 != 0 })
}

/// A picture like a camera's: a soft background with grain, something that moves, and now and then a bigger change.
const CAMERA: &str = "
    globalThis.camera = (width, height, fps) => {
        const canvas = Object.assign(document.createElement('canvas'), { width, height });
        const context = canvas.getContext('2d');
        const grain = Array.from({ length: 6 }, () => {
            const tile = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
            const pixels = new ImageData(320, 180);
            for (let i = 0; i < pixels.data.length; i += 4) {
                pixels.data.fill(Math.random() * 255, i, i + 3);
                pixels.data[i + 3] = 14;
            }
            tile.getContext('2d').putImageData(pixels, 0, 0);
            return tile;
        });
        let frame = 0;
        setInterval(() => {
            const time = frame++ / fps;
            const sky = context.createLinearGradient(0, 0, width, height);
            sky.addColorStop(0, `hsl(${200 + 20 * Math.sin(time / 3)} 30% 45%)`);
            sky.addColorStop(1, '#a68');
            context.fillStyle = sky;
            context.fillRect(0, 0, width, height);
            for (let i = 0; i < 6; i++) {
                context.fillStyle = `hsl(${60 * i} 40% ${40 + 5 * i}%)`;
                const [x, y] = [width * (0.5 + 0.4 * Math.sin(time * (0.5 + 0.1 * i) + i)), height * (0.5 + 0.3 * Math.cos(time * 0.7 + 2 * i))];
                context.beginPath();
                context.ellipse(x, y, 90 + 15 * i, 70, time / 2 + i, 0, 7);
                context.fill();
            }
            for (let x = 0; x < width; x += 320) {
                for (let y = 0; y < height; y += 180) context.drawImage(grain[(frame + x / 320 + y / 180) % grain.length], x, y);
            }
        }, 1000 / fps);
        return canvas.captureStream(fps).getVideoTracks()[0];
    };";

const LENGTH: Duration = Duration::from_secs(10);
/// The tag of AES-GCM, which browser and node agree on.
const TAG: usize = 16;
const MAX_DATAGRAM: usize = 65_536;
