"""The API's page for people: the document as HTML, whole, without a script and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

from py_service.edge.openapi.curl import curl_of

Document = dict[str, Any]
_STYLE = resources.files("py_service.edge.openapi").joinpath("page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Nothing may be loaded, run or sent; the one style is named by its hash.
SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def make_page(document: Document) -> bytes:
    """HTML in UTF-8. The same document gives the same bytes."""
    return "".join(_Page(document).parts()).encode()


class _Page:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._components: Document = document["components"]

    def parts(self) -> Iterator[str]:
        info, tags = self._document["info"], [tag["name"] for tag in self._document["tags"]]
        yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>\n"
        yield f"<header><h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1><p>{_prose(info['description'])}</p>"
        yield '<p>For programs: <a href="/v1/openapi.json">the OpenAPI document</a>.</p></header>\n'
        yield "<nav><ul>"
        for name in (*tags, "Types"):
            yield f'<li><a href="#{_anchor(name)}">{escape(name)}</a></li>'
        yield "</ul></nav>\n<main>"
        for tag in tags:
            yield f'<section><h2 id="{_anchor(tag)}">{escape(tag)}</h2>\n'
            for path, methods in self._document["paths"].items():
                for method, operation in methods.items():
                    if tag in operation["tags"]:
                        yield from self._operation(method, path, operation)
            yield "</section>\n"
        yield f'<section><h2 id="{_anchor("Types")}">Types</h2>\n'
        for name, schema in self._components["schemas"].items():
            yield f'<details><summary><span class="path"><code>{escape(name)}</code></span></summary><div class="body" id="type-{name}">'
            yield from self._fields(schema)
            yield "</div></details>\n"
        yield "</section></main></body></html>\n"

    def _operation(self, method: str, path: str, operation: Document) -> Iterator[str]:
        yield f'<details><summary><span class="method {method}">{method.upper()}</span><code class="path">{escape(path)}</code>'
        yield f'<span class="what">{escape(operation["summary"])}</span></summary><div class="body" id="{operation["operationId"]}">'
        yield f"<p>{_prose(operation['description'])}</p><pre>{escape(curl_of(method, path, operation))}</pre>"
        if operation["parameters"]:
            yield "<h3>Parameters</h3><dl>"
            for parameter in operation["parameters"]:
                told = f"{self._type(parameter['schema'])}, in the {parameter['in']}"
                yield _entry(parameter["name"], told, parameter["required"], _more(parameter["schema"], parameter.get("description", "")))
            yield "</dl>"
        if "requestBody" in operation:
            yield "<h3>Body</h3>"
            yield from self._content(operation["requestBody"]["content"])
        yield "<h3>Answers</h3>"
        for status, response in operation["responses"].items():
            if int(status) < 400:
                yield f'<p><span class="status">{status}</span> {escape(response["description"])}</p>'
                yield from self._content(response.get("content", {}))
        yield "<h3>Problems</h3><dl>"
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                phrase, _, codes = self._resolved(response)["description"].partition(": ")
                yield f'<div><dt><b>{status}</b><i>{escape(phrase)}</i></dt><dd class="codes">{_prose(codes.replace(",", ""))}</dd></div>'
        yield "</dl></div></details>\n"

    def _content(self, content: Document) -> Iterator[str]:
        for kind, media in content.items():
            yield f"<p>{self._type(media['schema'])} <i>({escape(kind)})</i></p>"
            if "example" in media:
                yield f"<pre>{escape(json.dumps(media['example'], indent=2, ensure_ascii=False))}</pre>"

    def _fields(self, schema: Document) -> Iterator[str]:
        if "description" in schema:
            yield f"<p>{_prose(schema['description'])}</p>"
        yield "<dl>"
        needed = schema.get("required", [])
        for name, inner in schema.get("properties", {}).items():
            yield _entry(name, self._type(inner), name in needed, _more(inner, inner.get("description", "")))
        yield "</dl>"

    def _type(self, schema: Document) -> str:
        """In a few words, as HTML."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f'<a href="#type-{name}">{escape(name)}</a>'
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(self._type(choice) for choice in schema["anyOf"]))
        if "enum" in schema:
            return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
        if schema.get("type") == "array":
            return f"list of {self._type(schema['items'])}"
        if schema.get("format") == "date-time":
            return "moment"
        if "x-nexkey-kind" in schema:
            return f"{escape(schema['x-nexkey-kind'])} id"
        return escape(str(schema.get("type", "anything")))

    def _resolved(self, response: Document) -> Document:
        found: Document = self._components["responses"][response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        return found


def _entry(name: str, told: str, needed: bool, more: str) -> str:
    needs = '<span class="needed">needed</span>' if needed else ""
    return f"<div><dt><b>{escape(name)}</b><i>{told}</i>{needs}</dt>{f'<dd>{more}</dd>' if more else ''}</div>"


def _more(schema: Document, description: str) -> str:
    """What bounds a value, and what it means."""
    inner = next((choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"), schema)
    said = [_prose(description or inner.get("description", ""))]
    for keyword, words in (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "characters at most:"), ("maxItems", "at most")):
        if keyword in inner:
            said.append(f"{words} {inner[keyword]}{' of them' if keyword == 'maxItems' else ''}")
    if schema.get("default") is not None:
        said.append(f"else <code>{escape(json.dumps(schema['default']))}</code>")
    return "; ".join(part for part in said if part)


def _prose(text: str) -> str:
    """Text in which `this` is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _anchor(name: str) -> str:
    return "part-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
