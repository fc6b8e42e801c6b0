"""Who is it? That is left to the plugins that read tokens, such as `jwt-auth`."""

from wit_world import exports
from wit_world.exports.auth import Outcome, Outcome_Abstain, Question


class Auth(exports.Auth):
    def authenticate(self, asked: Question) -> Outcome:
        return Outcome_Abstain()
