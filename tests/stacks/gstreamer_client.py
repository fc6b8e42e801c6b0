"""WHIP and WHEP with GStreamer's webrtcbin, through its bindings for Python.

    gstreamer_client.py publish URL TOKEN SECONDS    sends a picture and a sound
    gstreamer_client.py view URL TOKEN FRAMES        decodes so many frames of each, and ends
    gstreamer_client.py version                      fails where an element is missing

Prints one line when it is done, or when it publishes.
"""

import json
import os
import sys
import traceback
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

VP8 = "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000,rtcp-fb-nack-pli=true"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
PUBLISH = f"""
webrtcbin name=connection bundle-policy=max-bundle
videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=20/1 ! vp8enc deadline=1 cpu-used=8 target-bitrate=300000
    ! rtpvp8pay pt=96 picture-id-mode=15-bit ! {VP8} ! connection.
audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 ! {OPUS} ! connection.
"""
VIEW = "pipeline. ( webrtcbin name=connection bundle-policy=max-bundle )"
DECODE = {
    "VP8": "rtpvp8depay request-keyframe=true ! vp8dec ! fakesink name=end signal-handoffs=true sync=false",
    "OPUS": "rtpopusdepay ! opusdec ! fakesink name=end signal-handoffs=true sync=false",
}


def request(method, url, token, body=None, content_type=None):
    headers = {"authorization": f"Bearer {token}"}
    if content_type:
        headers["content-type"] = content_type
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)) as answer:
        return answer.status, answer.headers, answer.read().decode()


class Client:
    def __init__(self, pipeline, url, token):
        self.pipeline = Gst.parse_launch(pipeline)
        self.connection = self.pipeline.get_by_name("connection")
        self.url, self.token, self.session, self.answer = url, token, None, None
        self.loop = GLib.MainLoop()
        # Told from threads of the connection; what is done about it belongs to the loop's.
        self.connection.connect("notify::ice-gathering-state", lambda *_: GLib.idle_add(self.offer_when_gathered))
        self.connection.connect("on-negotiation-needed", lambda *_: GLib.idle_add(self.negotiate))
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.fail)

    def fail(self, _bus, message):
        raise RuntimeError(f"{message.parse_error()}")

    def promised(self, signal, *arguments):
        promise = Gst.Promise.new()
        self.connection.emit(signal, *arguments, promise)
        promise.wait()
        return promise, promise.get_reply()

    def negotiate(self):
        if self.connection.props.local_description is None:
            # The offer lives as long as both.
            _promise, reply = self.promised("create-offer", None)
            self.promised("set-local-description", reply.get_value("offer"))

    def offer_when_gathered(self):
        if self.session or self.connection.props.ice_gathering_state != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = self.connection.props.local_description.sdp.as_text().encode()
        _, headers, self.answer = request("POST", self.url, self.token, offer, "application/sdp")
        self.session = urllib.parse.urljoin(self.url, headers["location"])
        _, message = GstSdp.SDPMessage.new_from_text(self.answer)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.promised("set-remote-description", answer)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        status, _, _ = request("DELETE", self.session, self.token)
        self.pipeline.set_state(Gst.State.NULL)
        return status


def codecs(answer):
    """The codec of each line: the one that comes first in an answer is sent."""
    sections = answer.split("\nm=")[1:]
    maps = [next(line for line in section.splitlines() if line.startswith("a=rtpmap:")) for section in sections]
    return [line.split()[1].split("/")[0] for line in maps]


def publish(url, token, seconds):
    client = Client(PUBLISH, url, token)

    def tell(connection, _):
        if connection.props.connection_state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            print(json.dumps({"session": client.session}), flush=True)

    client.connection.connect("notify::connection-state", tell)
    GLib.timeout_add_seconds(int(seconds), client.loop.quit)
    client.run()


def view(url, token, frames):
    client = Client(VIEW, url, token)
    counts = {"video": 0, "audio": 0}

    def decode(connection, pad):
        caps = pad.get_current_caps().get_structure(0)
        branch = Gst.parse_bin_from_description(DECODE[caps.get_string("encoding-name")], True)
        branch.get_by_name("end").connect("handoff", lambda *_: count(caps.get_string("media")))
        client.pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def count(kind):
        counts[kind] += 1
        if min(counts.values()) >= int(frames):
            client.loop.quit()

    client.connection.connect("pad-added", decode)
    for caps in [VP8, OPUS]:
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        client.connection.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
    status = client.run()
    print(json.dumps({"frames": counts, "codecs": codecs(client.answer), "ended": status}), flush=True)


def version():
    """Fails, too, where the element that sends packets (of libnice's plugin) is missing: no pipeline names it."""
    for pipeline in [PUBLISH, VIEW, "nicesink", *DECODE.values()]:
        Gst.parse_launch(pipeline)
    print(".".join(map(str, Gst.version()[:3])))


def fail(kind, error, trace):
    traceback.print_exception(kind, error, trace)
    os._exit(1)


if __name__ == "__main__":
    # What goes wrong in a callback ends the program, too.
    sys.excepthook = fail
    Gst.init(None)
    acts = {"publish": publish, "view": view, "version": version}
    acts[sys.argv[1]](*sys.argv[2:])
