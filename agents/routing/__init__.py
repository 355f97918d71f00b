"""Routing of a question to the specialists: `Router` decides, `python -m agents.routing.train` makes its model."""

from agents.routing.model import RoutingModel, RoutingModelUnavailable
from agents.routing.router import Priors, Route, Router, is_elliptical

__all__ = ["Priors", "Route", "Router", "RoutingModel", "RoutingModelUnavailable", "is_elliptical"]
