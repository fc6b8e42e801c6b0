"""May they enter? Hosts may; guests wait until a host has let them in."""

from wit_world import exports
from wit_world.exports.admission import Question
from wit_world.imports import kv
from wit_world.imports.types import Verdict, Verdict_Deny

from rules import allow, denial, place, settings


class Admission(exports.Admission):
    def admit(self, asked: Question) -> Verdict:
        who = asked.who.identity
        # Who is in was let in, however long ago.
        is_in = any(fact.key == "why" and fact.value == "recheck" for fact in asked.extra)
        if is_in or settings().is_host(who) or kv.get(place(asked.room.name, who.subject)) is not None:
            return allow()
        return Verdict_Deny(denial("waiting", "a host will let you in"))
