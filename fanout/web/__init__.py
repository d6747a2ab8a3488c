"""The HTTP side: `/graphql`, `/events`, `/admin`, health and metrics. Imports schema and auth, never bus or gateway."""

from fanout.web.app import create_app
from fanout.web.body import HttpLimits
from fanout.web.entrance import Entrance

__all__ = ["Entrance", "HttpLimits", "create_app"]
