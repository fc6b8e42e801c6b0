"""May these tracks be recorded? Only those of hosts, whoever wants it."""

from wit_world import exports
from wit_world.exports.recording import Question
from wit_world.imports.types import Publication, Verdict, Verdict_Deny

from rules import allow, denial, settings


class Recording(exports.Recording):
    def decide(self, asked: Question) -> list[Verdict]:
        chosen = settings()

        def verdict(one: Publication) -> Verdict:
            if chosen.is_of_host(one, asked.publishers):
                return allow()
            return Verdict_Deny(denial("forbidden", "guests are not recorded"))

        return [verdict(one) for one in asked.publications]
