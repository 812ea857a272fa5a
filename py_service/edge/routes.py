"""From method and path to a route: a dictionary for paths without parameters, a tree of segments for the others.

The table is built once and refuses what would be ambiguous, so matching never has to go back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from py_service.edge.problem import MethodNotAllowed
from py_service.errors import Problem
from py_service.exchange import Handler, Quota, Route
from py_service.telemetry import RequestMetrics, RouteRecorder


@dataclass(slots=True, frozen=True)
class Endpoint:
    """A route with what the edge needs of it at hand."""

    handler: Handler
    pattern: str
    person: bool
    takes_api_keys: bool
    fenced: bool
    body_bytes_max: int
    quota: Quota
    takes_key: bool
    takes_match: bool
    keyed: bool
    parameter_names: tuple[str, ...]
    recorder: RouteRecorder


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    methods: dict[str, Endpoint] = field(default_factory=dict)


class RouteTable:
    """Raises ValueError on two routes for the same request, and where a name and a parameter could both match."""

    def __init__(self, routes: Sequence[Route], metrics: RequestMetrics) -> None:
        self._static: dict[str, dict[str, Endpoint]] = {}
        self._root = _Node()
        for route in routes:
            self._add(route, metrics)

    def match(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """Raises Problem 404 `route_unknown` or 405 `method_not_allowed`."""
        methods = self._static.get(path)
        if methods is not None:
            endpoint = methods.get(method)
            if endpoint is None:
                raise MethodNotAllowed(sorted(methods))
            return endpoint, {}
        return self._match_tree(method, path)

    def _match_tree(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        node = self._root
        values: list[str] = []
        for segment in path.split("/")[1:] if path.startswith("/") else ():
            following = node.children.get(segment)
            if following is None:
                following = node.parameter
                if following is None or not segment:
                    raise _route_unknown()
                values.append(segment)
            node = following
        endpoint = node.methods.get(method)
        if endpoint is None:
            if not node.methods:
                raise _route_unknown()
            raise MethodNotAllowed(sorted(node.methods))
        return endpoint, dict(zip(endpoint.parameter_names, values, strict=True))

    def _add(self, route: Route, metrics: RequestMetrics) -> None:
        segments = route.pattern.split("/")[1:]
        names = tuple(segment[1:-1] for segment in segments if segment.startswith("{"))
        endpoint = Endpoint(
            route.handler,
            route.pattern,
            route.access == "person",
            route.takes_api_keys,
            route.fenced,
            route.body_bytes_max,
            route.quota,
            route.method == "POST" and not route.own_key,
            "If-Match" in route.headers,
            route.keyed and not route.own_key,
            names,
            metrics.recorder(route.method, route.pattern),
        )
        methods = self._node(route.pattern, segments).methods if names else self._static.setdefault(route.pattern, {})
        if route.method in methods:
            raise ValueError(f"two routes for {route.method} {route.pattern}")
        methods[route.method] = endpoint

    def _node(self, pattern: str, segments: list[str]) -> _Node:
        node = self._root
        for segment in segments:
            if segment.startswith("{"):
                if node.parameter is None:
                    node.parameter = _Node()
                following = node.parameter
            else:
                following = node.children.setdefault(segment, _Node())
            if node.parameter is not None and node.children:
                raise ValueError(f"{pattern}: a name and a parameter at the same place")
            node = following
        return node


def _route_unknown() -> Problem:
    return Problem(404, "route_unknown", "There is nothing at this path.")
