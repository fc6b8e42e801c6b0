"""Acts of moderators: `let-in`, with the subject of somebody who waits as its payload. Hosts may do it."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.command import Effect, Outcome, Outcome_Abstain, Outcome_Deny, Outcome_Done, Question, Response
from wit_world.imports import kv

from rules import denial, place, settings

# How long somebody who was let in may come back: twelve hours.
REMEMBERED_MS = 12 * 60 * 60 * 1000
TOO_LONG = "this name is too long to be remembered here"
FULL = "they cannot be remembered: raise limits.kv_keys and limits.kv_bytes"


class Command(exports.Command):
    def handle(self, asked: Question) -> Outcome:
        if asked.name != "let-in":
            return Outcome_Abstain()
        if not settings().is_host(asked.who.identity):
            return Outcome_Deny(denial("forbidden", "only hosts let people in"))
        subject = asked.payload
        if not subject:
            return Outcome_Deny(denial("not-found", "the payload says whom to let in: their subject"))
        try:
            kv.put(place(asked.room.name, subject), b"1", REMEMBERED_MS)
        except Err as failure:
            too_long = failure.value == kv.Failure.TOO_LONG
            return Outcome_Deny(denial("not-found", TOO_LONG) if too_long else denial("memory-full", FULL))
        return Outcome_Done(Response("they are let in", [Effect("admit", subject, "")]))
