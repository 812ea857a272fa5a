"""An operation as a command line. `$NEXKEY` stands for where the API is, `$TOKEN` for an access token."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote


def curl_of(method: str, path: str, operation: dict[str, Any]) -> str:
    """With the examples of the document: what has to be there, and the body."""
    query: list[str] = []
    words = ["curl"] if method == "get" else [f"curl -X {method.upper()}"]
    headers = ['-H "authorization: Bearer $TOKEN"'] if operation["security"] else []
    for parameter in operation["parameters"]:
        example = str(next(iter(parameter["schema"].get("examples", [])), f"<{parameter['name']}>"))
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(example, safe=":"))
        elif parameter["in"] == "query" and parameter["required"]:
            query.append(f"{parameter['name']}={quote(example, safe='')}")
        elif parameter["in"] == "header" and (parameter["required"] or parameter["name"] == "Prefer"):
            headers.append(f"-H '{parameter['name'].lower()}: {example}'")
    words.append(f'"$NEXKEY{path}{"?" + "&".join(query) if query else ""}"')
    if "requestBody" in operation:
        example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"], ensure_ascii=False)
        headers += ["-H 'content-type: application/json'", f"-d '{example}'"]
    return " \\\n  ".join([" ".join(words), *headers])
