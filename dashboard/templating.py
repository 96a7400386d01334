"""Templates: whatever they print is escaped, and its control and bidirectional characters are replaced.

Both happen to every printed value without the template's doing (`autoescape`, `finalize`), for what has to be remembered is forgotten once.
An undefined name is an error, not a blank.  Instants are microseconds UTC, and come out as <time>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from journeyman.journal.instants import instant_of
from journeyman.journal.wording import size, span, visible

_TAB: Final = "    "


def _finalized(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    return visible(str(value).replace("\r\n", "\n").replace("\t", _TAB))


def _when(us: int | None, now: int) -> Markup:
    """An instant, and how far it is from now."""
    if us is None:
        return Markup("")
    at = instant_of(us)
    text = at.strftime("%Y-%m-%d %H:%M:%S")
    away = f"in {span(us - now)}" if us > now else f"{span(now - us)} ago"
    return Markup('<time datetime="{}" title="{} UTC">{}</time> <span class="ago">{}</span>').format(
        at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), f"{text}.{us % 1_000_000:06d}", text, away
    )


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _link(root: str, path: str, *parts: Mapping[str, str] | None) -> str:
    """An address of this app, with these parameters; empty ones are left out."""
    values = {name: value for part in parts if part for name, value in part.items() if value not in (None, "")}
    return f"{root}{path}" + (f"?{urlencode(values)}" if values else "")


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("journeyman.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update({"span": span, "size": size, "count": _count})
    made.globals.update({"when": _when, "link": _link, "escape": escape})
    return made


_TEMPLATES: Final = _environment()


def render(template: str, root: str, values: Mapping[str, Any]) -> str:
    """A page.  `root`: what stands before every address of this app."""
    return _TEMPLATES.get_template(template).render({**values, "root": root})


__all__ = ["render"]
