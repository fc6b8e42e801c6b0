"""Guests wait for a host to let them in, and see the hosts only. A worked example to start from: one file for each hook."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Attr

from admission import Admission
from auth import Auth
from command import Command
from publishing import Publishing
from recording import Recording
from rules import read_settings
from subscription import Subscription


class Lifecycle(exports.Lifecycle):
    def describe(self) -> list[Attr]:
        return [Attr("name", "kit-python"), Attr("version", "0.1.0")]

    def configure(self, settings: str) -> None:
        try:
            read_settings(settings)
        except ValueError as error:
            raise Err(str(error))
