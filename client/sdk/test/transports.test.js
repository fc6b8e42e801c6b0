// The two connections alone: one offer at a time, nothing is waited for without end.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { PublishTransport } from "../src/publish-transport.js";
import { SubscribeTransport } from "../src/subscribe-transport.js";
import { FakePeerConnection, FakeTrack, install, settle } from "./fakes.js";

beforeEach(install);

const answer = { type: "answer", sdp: "an answer" };
const codeOf = (promise) => promise.then(() => "no error", ({ code, message }) => code ?? message);
const offerOf = (...ids) => ({
  type: "offer",
  sdp: `v=0\r\n${ids.map((id, mid) => `m=video 9 x\r\na=mid:${mid}\r\na=msid:1 ${id}\r\na=sendonly\r\n`).join("")}`,
});

test("a second offer is made when the first one has its answer", async () => {
  const transport = new PublishTransport();
  const [first, second] = [new FakeTrack(), new FakeTrack("audio")];
  const { id, offer } = await transport.publish(first, [{ rid: "low" }]);
  assert.equal(id, first.id);
  assert.equal(offer.type, "offer");
  let published;
  transport.publish(second).then((publisher) => (published = publisher));
  await settle();
  assert.equal(published, undefined);
  await transport.setAnswer(answer);
  await settle();
  assert.equal(published.id, second.id);
});

test("an answer that cannot be used takes the offer back, and the next one goes on", async () => {
  const transport = new PublishTransport();
  await transport.publish(new FakeTrack());
  assert.equal(await codeOf(transport.setAnswer({ type: "answer", sdp: "nonsense" })), "no session description");
  assert.equal(transport.signalingState(), "stable");
  assert.equal((await transport.publish(new FakeTrack())).offer.type, "offer");
});

test("data channels are known by their labels", async () => {
  const transport = new PublishTransport();
  const { id, channel } = await transport.publishData();
  assert.equal(channel.label, id);
  await transport.setAnswer(answer);
  assert.equal((await transport.publishData({ label: "words", ordered: false })).channel.options.ordered, false);
});

test("ice is restarted by an offer, and not before there is a connection", async () => {
  const transport = new PublishTransport();
  assert.equal(await codeOf(transport.restartIce()), "closed");
  await transport.publish(new FakeTrack());
  await transport.setAnswer(answer);
  FakePeerConnection.last.become("connected");
  await transport.restartIce();
  assert.deepEqual(FakePeerConnection.last.offers.at(-1), { iceRestart: true });
});

test("offers wait for all candidates, unless they are trickled", async () => {
  const waiting = new PublishTransport();
  FakePeerConnection.last.iceGatheringState = "gathering";
  const connection = FakePeerConnection.last;
  let offered = false;
  waiting.publish(new FakeTrack()).then(() => (offered = true));
  await settle();
  assert.equal(offered, false);
  connection.iceGatheringState = "complete";
  connection.dispatchEvent(new Event("icegatheringstatechange"));
  await settle();
  assert.equal(offered, true);
  const trickling = new PublishTransport({}, { trickle: true });
  FakePeerConnection.last.iceGatheringState = "gathering";
  await trickling.publish(new FakeTrack());
});

test("what the browser needs by itself is offered once, what was asked for is not offered again", async () => {
  const transport = new PublishTransport();
  const offers = [];
  transport.on("negotiationneeded", (offer) => offers.push(offer));
  const publishing = transport.publish(new FakeTrack());
  await settle();
  await FakePeerConnection.last.onnegotiationneeded();
  await publishing;
  await transport.setAnswer(answer);
  assert.equal(offers.length, 0);
  await FakePeerConnection.last.onnegotiationneeded();
  assert.equal(offers.length, 1);
});

test("a closed transport refuses what waits, and hears nothing any more", async () => {
  const transport = new PublishTransport();
  await transport.publish(new FakeTrack());
  const waiting = codeOf(transport.publish(new FakeTrack()));
  transport.close();
  assert.equal(await waiting, "closed");
  const { onicecandidate, onconnectionstatechange, onnegotiationneeded } = FakePeerConnection.last;
  assert.deepEqual([onicecandidate, onconnectionstatechange, onnegotiationneeded], [null, null, null]);
});

test("a publisher's track is waited for, and not for ever", async () => {
  const transport = new SubscribeTransport();
  const waiting = transport.subscribe("v2");
  assert.equal(await codeOf(transport.subscribe("v9", { timeout: 5 })), "not-found");
  await transport.setOffer(offerOf("v1", "v2"));
  const { publisherId, track } = await waiting;
  assert.equal(publisherId, "v2");
  assert.equal(track, transport.trackOf("1"));
  assert.equal((await transport.subscribe("v1")).track, transport.trackOf("0"));
  // It is not there any more.
  await transport.setOffer({ type: "offer", sdp: offerOf("v1", "v2").sdp.replace("msid:1 v2\r\na=sendonly", "msid:1 v2\r\na=inactive") });
  assert.equal(await codeOf(transport.subscribe("v2", { timeout: 5 })), "not-found");
});

test("a channel is found by its label, until it closes", async () => {
  const transport = new SubscribeTransport();
  const channel = Object.assign(new EventTarget(), { label: "words" });
  const waiting = transport.subscribeData("words");
  FakePeerConnection.last.ondatachannel({ channel });
  assert.equal((await waiting).channel, channel);
  channel.dispatchEvent(new Event("close"));
  assert.equal(await codeOf(transport.subscribeData("words", { timeout: 5 })), "not-found");
});

test("early candidates are kept, as many as there is room for", async () => {
  const transport = new SubscribeTransport();
  for (let i = 0; i < 64; i++) await transport.addIceCandidate({ candidate: `c${i}` });
  assert.equal(await codeOf(transport.addIceCandidate({ candidate: "too many" })), "overloaded");
  await transport.setOffer(offerOf("v1"));
  assert.equal(FakePeerConnection.last.candidates.length, 64);
  await transport.addIceCandidate({ candidate: "late" });
  assert.equal(FakePeerConnection.last.candidates.length, 65);
});

test("offers are taken in their order, and one that cannot be used does not stop the next", async () => {
  const transport = new SubscribeTransport();
  const first = codeOf(transport.setOffer({ type: "offer", sdp: "nonsense" }));
  const second = transport.setOffer(offerOf("v1"));
  assert.equal(await first, "no session description");
  assert.equal((await second).type, "answer");
});

test("whoever waits for a track of a closed transport is told", async () => {
  const transport = new SubscribeTransport();
  const waiting = codeOf(transport.subscribe("v1"));
  transport.close();
  assert.equal(await waiting, "closed");
});
