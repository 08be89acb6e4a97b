"""`GET /spend`: what answers cost and what those from cache did not. On both listeners, for administration only."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from aiohttp import web

from edgecache.account.accounts import Accounts, Report
from edgecache.account.grants import Grant
from edgecache.account.tokens import Tokens
from edgecache.core.prices import NANO, Spend, Sum
from edgecache.edge.requests import credential
from edgecache.edge.server import error_response
from edgecache.errors import BadRequest, Overloaded, RequestError, StoreUnavailable, Unauthenticated

PATH = "/spend"
MOST_ROWS = 10_000
MOST_DAYS = 400

_log = logging.getLogger("edgecache.spend")


class Asked(msgspec.Struct, frozen=True):
    """The last `days` days by route, and `limit` rows by scope: of `day`, or since ever."""

    days: int
    day: str
    limit: int


class SpendApi:
    def __init__(self, accounts: Accounts, tokens: Tokens) -> None:
        self._accounts = accounts
        self._tokens = tokens

    def owns(self, method: str, path: str) -> bool:
        """No provider's path is at the root."""
        return method == "GET" and path == PATH

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except StoreUnavailable as error:
            _log.warning("spend was asked for and cannot be told: %s", error)
            return error_response(Overloaded("The store does not answer: ask again.", retry_after=1))
        except RequestError as error:
            return error_response(error)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        secret = credential(request.headers)
        if not secret:
            raise Unauthenticated("This call needs a token: send it as `Authorization: Bearer`.")
        self._tokens.holder(secret, Grant.ADMIN)
        asked = _asked(request.query)
        report = await self._accounts.report(asked.days, asked.day)
        body = await asyncio.to_thread(_told, report, asked)  # there may be thousands of rows
        return web.Response(body=body, content_type="application/json")

    def __repr__(self) -> str:
        return f"<SpendApi {PATH} {self._accounts!r}>"


def _asked(query: Mapping[str, str]) -> Asked:
    day = query.get("day", "")
    try:
        named = day and date.fromisoformat(day).isoformat()
    except ValueError:
        raise BadRequest(f"`day` is a date such as 2026-11-20, not {day[:40]!r}.") from None
    return Asked(_number(query, "days", 30, 0, MOST_DAYS), named, _number(query, "limit", 100, 1, MOST_ROWS))


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    wanted = query.get(name, str(default))
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and least <= int(wanted) <= most):
        raise BadRequest(f"`{name}` is a number from {least} to {most}, not {wanted[:40]!r}.")
    return int(wanted)


def _told(report: Report, asked: Asked) -> bytes:
    scopes = sorted(report.scopes, key=_weight, reverse=True)
    return msgspec.json.encode(
        {
            "day": asked.day or None,
            "routes": [_row(row, "route") for row in sorted(_by_route(scopes), key=_weight, reverse=True)],
            "scopes": [_row(row, "scope", "route") for row in scopes[: asked.limit]],
            "of": len(scopes),
            "days": [_row(row, "day", "route") for row in sorted(report.days, key=lambda row: (row.day, row.route))],
            "unpriced": list(report.unpriced),
        }
    )


def _weight(row: Spend) -> tuple[int, int]:
    return row.spent.money + row.saved.money, row.spent.answers + row.saved.answers


def _by_route(rows: Sequence[Spend]) -> Sequence[Spend]:
    found: dict[tuple[str, str], Spend] = {}
    for row in rows:
        of = found.setdefault((row.route, row.currency), Spend(row.day, "", row.route, row.currency, Sum(), Sum()))
        of.spent.merge(row.spent)
        of.saved.merge(row.saved)
    return list(found.values())


def _row(row: Spend, *names: str) -> dict[str, Any]:
    """`currency` and the money are None where the models have no price."""
    told: dict[str, Any] = {name: getattr(row, name) for name in names}
    return told | {
        "currency": row.currency or None,
        "spent": _sum(row.spent, row.currency),
        "saved": _sum(row.saved, row.currency),
    }


def _sum(of: Sum, currency: str) -> dict[str, Any]:
    return {
        "answers": of.answers,
        "prompt_tokens": of.prompt,
        "completion_tokens": of.completion,
        "money": of.money / NANO if currency else None,
    }
