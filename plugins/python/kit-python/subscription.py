"""May they receive these tracks? Hosts see everybody. Guests see the hosts, up to a layer, and hear everybody."""

from wit_world import exports
from wit_world.exports.subscription import Question
from wit_world.imports.types import Publication, Verdict, Verdict_Deny

from rules import allow, denial, settings


class Subscription(exports.Subscription):
    def decide(self, asked: Question) -> list[Verdict]:
        chosen = settings()
        to_host = chosen.is_host(asked.who.identity)

        def verdict(one: Publication) -> Verdict:
            if to_host or one.track.source == "microphone":
                return allow()
            if chosen.is_of_host(one, asked.publishers):
                return allow(max_spatial=chosen.guest_layer)
            return Verdict_Deny(denial("forbidden", "guests see the hosts only"))

        return [verdict(one) for one in asked.publications]
