"""The pages of the server: to drop files on, to say why there is no answer, to describe the interface.

Each is self-contained; what may run and look how is in its content security policy, by digests.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from plumbline import __version__
from plumbline.console.text import visible
from plumbline.evaluation.report_style import CSS, PALETTE
from plumbline.views.page import digest

FRAMED = {"Content-Security-Policy": "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"}
"""Headers of an answer that the front page shows in a frame; the page itself says that it loads nothing."""
_CLOSED = "default-src 'none'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
_REFUSAL = """\
body {
  margin: 0; padding: 4rem 2rem; box-sizing: border-box;
  background: var(--paper); color: var(--ink);
  font: .94rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
}
main {
  max-width: 34rem; margin: auto; border-left: 3px solid var(--pushed); padding-left: 1rem;
  overflow-wrap: anywhere;
}
h1 { margin: 0 0 .4rem; font-size: 1.15rem; } p { margin: 0; }
"""
_TABLES = """\
a { color: var(--model); }
h3 { margin: 1.6rem 0 .2rem; font-size: 1rem; }
th, td { white-space: normal; text-align: left; vertical-align: top; }
td:first-child { white-space: nowrap; width: 8.5rem; }
td.type { width: 9rem; color: var(--muted); }
"""
_EXAMPLES = """\
curl -F cloud=@scan.ply {at}/predict
curl -F depth=@depth.png -F intrinsics=@camera.json -F mask=@mask.png {at}/predict
curl --json '{{"cloud": [[x, y, z], ...], "mass": 0.4}}' {at}/predict"""


@cache
def front_page() -> tuple[str, dict[str, str]]:
    """The page to drop files on, and its headers."""
    folder = Path(__file__).parent
    style = PALETTE + (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    body = (folder / "page.html").read_text(encoding="utf-8")
    body = body.replace("{{version}}", __version__).replace("{{script}}", script)
    policy = (
        f"{_CLOSED}; style-src {digest(style)}; script-src {digest(script)}; form-action 'self'; "
        "frame-src 'self'"
    )
    return _page("plumbline: centre of mass of a scan", style, body), {"Content-Security-Policy": policy}


def refusal_page(said: str) -> str:
    """The page that says why there is no answer."""
    style = PALETTE + _REFUSAL
    policy = f"default-src 'none'; img-src data:; style-src {digest(style)}"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    body = f"<main><h1>No answer</h1><p>{escape(visible(said))}</p></main>"
    return _page("No answer", style, body, meta)


def api_page(described: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The page about the interface, from its OpenAPI description, and its headers."""
    style = CSS + _TABLES
    info = described["info"]
    parts = [
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>",
        f"<pre>{escape(_EXAMPLES.format(at='http://127.0.0.1:8000'))}</pre>",
        '<p class="note">The same for programs: <a href="openapi.json">openapi.json</a></p>',
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method, path, operation)
    parts.append("<h2>Objects of JSON</h2>")
    for name, schema in described["components"]["schemas"].items():
        parts.append(
            f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        )
        parts.append(_fields(schema))
    policy = f"{_CLOSED}; style-src {digest(style)}; form-action 'none'"
    page = _page("plumbline serve: for programs", style, f"<main>{''.join(parts)}</main>")
    return page, {"Content-Security-Policy": policy}


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3><code>{escape(kind)}</code></h3>{_fields(content['schema'])}"
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_linked(answer)}{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    yield f"<h3>Answers</h3><table><tbody>{rows}</tbody></table>"


def _fields(schema: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class='type'>{_type(field)}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _linked(answer: Mapping[str, Any]) -> str:
    schemas = [content["schema"] for content in answer.get("content", {}).values()]
    return "".join(f"{_type(schema)}: " for schema in schemas)


def _type(schema: Mapping[str, Any]) -> str:
    """A type of a JSON schema in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if schema.get("type") == "string":
        return "file" if schema.get("format") == "binary" else "text"
    if schema.get("type") == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_type(inner)}"
    return escape(schema.get("type", "any"))


def _page(title: str, style: str, body: str, meta: str = "") -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{meta}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )
