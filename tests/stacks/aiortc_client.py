"""WHIP and WHEP with aiortc, a stack that shares no code with browsers or with this project.

    aiortc_client.py publish URL TOKEN SECONDS    sends a picture and a sound
    aiortc_client.py view URL TOKEN FRAMES        decodes so many frames of each, and ends
    aiortc_client.py version

Prints one line when it is done, or when it publishes.
"""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

import aiortc
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack


def request(method, url, token, body=None, content_type=None):
    headers = {"authorization": f"Bearer {token}"}
    if content_type:
        headers["content-type"] = content_type
    message = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(message) as answer:
        return answer.status, dict(answer.headers.items()), answer.read().decode()


async def begin(connection, url, token):
    """Offers, and takes the answer. The session's own address comes back."""
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp.encode()
    status, headers, answer = await asyncio.to_thread(request, "POST", url, token, offer, "application/sdp")
    assert status == 201, status
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return urllib.parse.urljoin(url, {name.lower(): value for name, value in headers.items()}["location"])


def codecs(description):
    """The codec of each line: the one that comes first in an answer is sent."""
    sections = description.sdp.split("\nm=")[1:]
    maps = [next(line for line in section.splitlines() if line.startswith("a=rtpmap:")) for section in sections]
    return [line.split()[1].split("/")[0] for line in maps]


async def publish(url, token, seconds):
    connection = RTCPeerConnection()
    connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
    connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
    session = await begin(connection, url, token)
    print(json.dumps({"session": session}), flush=True)
    await asyncio.sleep(float(seconds))
    await asyncio.to_thread(request, "DELETE", session, token)
    await connection.close()


async def view(url, token, frames):
    connection = RTCPeerConnection()
    counts = {"video": 0, "audio": 0}
    enough = asyncio.Event()

    async def count(track):
        try:
            while not enough.is_set():
                await track.recv()
                counts[track.kind] += 1
                if min(counts.values()) >= int(frames):
                    enough.set()
        except MediaStreamError:
            pass

    tasks = []
    connection.on("track", lambda track: tasks.append(asyncio.ensure_future(count(track))))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    session = await begin(connection, url, token)
    await enough.wait()
    status, _, _ = await asyncio.to_thread(request, "DELETE", session, token)
    seen = {"frames": counts, "codecs": codecs(connection.remoteDescription), "ended": status}
    print(json.dumps(seen), flush=True)
    await connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "version":
        print(aiortc.__version__)
    else:
        act, url, token, much = sys.argv[1:]
        asyncio.run({"publish": publish, "view": view}[act](url, token, much))
