"""May they publish these tracks? Hosts all of them, guests camera and microphone."""

from wit_world import exports
from wit_world.exports.publishing import Question
from wit_world.imports.types import Verdict, Verdict_Deny

from rules import allow, denial, settings


class Publishing(exports.Publishing):
    def decide(self, asked: Question) -> list[Verdict]:
        by_host = settings().is_host(asked.who.identity)

        def verdict(source: str) -> Verdict:
            if by_host or source in ("camera", "microphone"):
                return allow()
            return Verdict_Deny(denial("forbidden", "guests publish camera and microphone"))

        return [verdict(track.source) for track in asked.tracks]
