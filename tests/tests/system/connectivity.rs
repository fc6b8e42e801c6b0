//! Ways to the node that change, or are not what a client is used to.

use lockgate_tests::{Call, PrivateNetwork, Setup, assert_unbroken};

/// Ann sends her camera, and Bob sees it.
async fn camera(call: &Call) {
    let publish = "await ann.publish([{ track: await devices.camera(320, 240, 20), source: 'camera', codec: 'vp8' }])";
    call.left.run(publish).await;
    let watch = "const { publisherId, tracks: [{ trackId }] } = await bob.publisher();
                 globalThis.seen = trackId;
                 await bob.subscribe(publisherId);
                 return await bob.decoded(seen, 20)";
    assert_unbroken(&call.right.run(watch).await);
}

/// Waits for more of the picture.
const MORE: &str = "const before = (await bob.inbound(seen)).framesDecoded;
                    await bob.decoded(seen, before + 40)";

#[tokio::test]
async fn a_call_by_ipv6_is_one_like_any_other() {
    let call = Call::between_ann_and_bob(Setup { ipv6: true, ..Setup::default() }).await;
    camera(&call).await;
    let address = "return (await bob.path(bob.tracks.get(seen).connection)).remote.address";
    assert_eq!(call.right.run(address).await, "::1");
    call.right.run(MORE).await;
}

#[tokio::test]
async fn clients_that_tell_no_candidates_are_known_by_their_checks() {
    let call = Call::between_ann_and_bob(Setup::default()).await;
    // Nothing of them leaves the page, neither one by one nor in descriptions.
    let hide = |name: &str| {
        format!(
            "const send = {name}.send;
             {name}.told = 0;
             {name}.send = (message) => {{
                 if (message.type.endsWith('ice-candidate')) return;
                 const bare = (sdp) => sdp?.replace(/a=(candidate:.*|end-of-candidates)\\r\\n/g, '');
                 const {{ offer, answer }} = message;
                 {name}.told += 1;
                 send.call({name}, {{ ...message, offer: bare(offer), answer: bare(answer) }});
             }}"
        )
    };
    call.left.run(&hide("ann")).await;
    call.right.run(&hide("bob")).await;
    camera(&call).await;
    call.right.run(MORE).await;
    assert!(call.left.run("return ann.told").await.as_u64() >= Some(1), "it was not by this that they were told");
}

/// A viewer's address is worth nothing any more, as when it changes from one network to another.
#[test]
fn a_viewer_whose_network_changes_is_sent_to_at_its_new_address() {
    let name = "connectivity::a_viewer_whose_network_changes_is_sent_to_at_its_new_address";
    PrivateNetwork::around(name, async |network| {
        let call = Call::between_ann_and_bob(Setup { media: "tcp = false".into(), ..Setup::default() }).await;
        camera(&call).await;
        let port = "return (await bob.path(bob.tracks.get(seen).connection)).local.port";
        let old = call.right.run(port).await;
        network.block_udp_of(old.as_u64().and_then(|old| old.try_into().ok()).expect("a port"));
        call.right.run("await bob.ask({ type: 'restart-ice' })").await;
        call.right.run(MORE).await;
        assert_ne!(call.right.run(port).await, old);
    });
}

/// The same of a publisher, which restarts ICE itself.
#[test]
fn a_publisher_whose_network_changes_is_heard_from_its_new_address() {
    let name = "connectivity::a_publisher_whose_network_changes_is_heard_from_its_new_address";
    PrivateNetwork::around(name, async |network| {
        let call = Call::between_ann_and_bob(Setup { media: "tcp = false".into(), ..Setup::default() }).await;
        camera(&call).await;
        let port = "return (await ann.path(ann.sending)).local.port";
        let old = call.left.run(port).await;
        network.block_udp_of(old.as_u64().and_then(|old| old.try_into().ok()).expect("a port"));
        call.left.run("await ann.offer({ iceRestart: true })").await;
        call.right.run(MORE).await;
        assert_ne!(call.left.run(port).await, old);
    });
}

/// From one interface to another, as from a cable to a radio: the browser notices, and its application restarts ICE.
#[test]
fn a_call_goes_on_when_its_interface_is_gone_and_there_is_another() {
    let name = "connectivity::a_call_goes_on_when_its_interface_is_gone_and_there_is_another";
    PrivateNetwork::around(name, async |network| {
        network.block_udp_within_loopback();
        network.plug("cable", "10.9.1.2");
        let call = Call::between_ann_and_bob(Setup { media: "tcp = false".into(), ..Setup::default() }).await;
        // Browsers tell addresses to whom they let have a device.
        call.right.run("await devices.microphone()").await;
        camera(&call).await;
        let ways = async || {
            let bobs = "return (await bob.path(bob.tracks.get(seen).connection)).local.address";
            [call.left.run("return (await ann.path(ann.sending)).local.address").await, call.right.run(bobs).await]
        };
        assert_eq!(ways().await, ["10.9.1.2"; 2]);

        network.plug("radio", "10.9.2.2");
        network.unplug("cable");
        let lost = |connection: &str| {
            format!(
                "await until('it to be noticed', () => !['connected', 'completed'].includes({connection}.iceConnectionState))"
            )
        };
        let (anns, bobs) = (lost("ann.sending"), lost("bob.tracks.get(seen).connection"));
        tokio::join!(call.left.run(&anns), call.right.run(&bobs));
        call.left.run("await ann.offer({ iceRestart: true })").await;
        call.right.run("await bob.ask({ type: 'restart-ice' })").await;
        call.right.run(MORE).await;
        assert_eq!(ways().await, ["10.9.2.2"; 2]);
        assert_eq!(call.node.metric("lockgate_transports").await, 2.0, "nobody came anew");
    });
}
