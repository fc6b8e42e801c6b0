"""What the hooks have in common: the settings, who is a host, and answers."""

import json
from dataclasses import dataclass

from wit_world.imports import config
from wit_world.imports.types import Denial, Grant, Identity, Publication, Verdict_Allow


@dataclass
class Settings:
    """What the operator chose."""

    # Values of the claim `role` that make somebody a host.
    hosts: list[str]
    # The highest spatial layer that guests are sent, counted from 0.
    guest_layer: int

    def is_host(self, who: Identity) -> bool:
        """Whether somebody is a host. Claims are JSON text."""
        roles = [json.loads(claim.value) for claim in who.claims if claim.key == "role"]
        return any(role in self.hosts for role in roles)

    def is_of_host(self, one: Publication, publishers: list) -> bool:
        """Whether a track is a host's."""
        return one.publisher < len(publishers) and self.is_host(publishers[one.publisher].identity)


def read_settings(text: str) -> Settings:
    """Reads all settings, one JSON object. The error is for the operator."""
    given = json.loads(text)
    hosts, guest_layer = given.pop("hosts", ["host"]), given.pop("guest_layer", 1)
    for name in given:
        raise ValueError(f'unknown setting "{name}"; there are hosts and guest_layer')
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError(f"hosts: {json.dumps(hosts)} is no list of texts")
    if type(guest_layer) is not int or not 0 <= guest_layer <= 255:
        raise ValueError(f"guest_layer: {json.dumps(guest_layer)} is no number from 0 to 255")
    return Settings(hosts, guest_layer)


def settings() -> Settings:
    """Those that `configure` has accepted."""
    return read_settings(config.all())


def place(room: str, subject: str) -> str:
    """The key under which somebody who was let in is remembered. A room's name has no line feed, so no two pairs share a key.

    A key has 256 bytes at most: who has a longer name in a room cannot be remembered there.
    """
    return f"{room}\n{subject}"


def allow(max_spatial: int | None = None) -> Verdict_Allow:
    """Yes, within this limit and no other."""
    return Verdict_Allow(
        Grant(
            max_spatial=max_spatial,
            max_temporal=None,
            max_bitrate=None,
            kinds=None,
            sources=None,
            rooms=None,
            can_publish=None,
            can_subscribe=None,
            can_record=None,
            can_data=None,
            admin=None,
            priority=None,
            hidden=False,
            expires_at_ms=None,
            reask_after_ms=None,
            attributes=[],
        )
    )


def denial(code: str, message: str) -> Denial:
    """No."""
    return Denial(code, message, None)
