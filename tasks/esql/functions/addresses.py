"""The functions of addresses, which are numbers of 16 bytes, so that blocks are ranges."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from tasks.esql.errors import refused
from tasks.esql.functions.entries import ScalarFunction
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.types import STRING, Type
from tasks.esql.values import TypedSql, TypedSqls

_MAPPED = 0xFFFF_0000_0000


def parse_address(text: str) -> int | None:
    """An address as the number of its 16 bytes, IPv4 as ::ffff:a.b.c.d; None if invalid."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(address) + (_MAPPED if isinstance(address, ipaddress.IPv4Address) else 0)


def block_range(block: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, int]:
    """First and last address of a block, as the numbers that columns of addresses hold."""
    offset = _MAPPED if isinstance(block, ipaddress.IPv4Network) else 0
    return int(block.network_address) + offset, int(block.broadcast_address) + offset


def _block(value: TypedSql) -> tuple[int, int]:
    text = value.text_constant("block of [CIDR_MATCH]")
    try:
        return block_range(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise refused(f"'{text}' is not an IP string literal.", value.source) from None


def _cidr_match(arguments: TypedSqls) -> Sql:
    """Blocks as ranges of numbers, neighbours joined; an IPv6 block never matches IPv4."""
    address = arguments[0].sql
    ranges: list[tuple[int, int]] = []
    for first, last in sorted(part for block in arguments[1:] for part in _without_mapped(block)):
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        else:
            ranges.append((first, last))
    tests = [
        sql("{} BETWEEN {} AND {}", address, bound(first, "UHUGEINT"), bound(last, "UHUGEINT"))
        for first, last in ranges
    ]
    return sql("({})", joined(" OR ", tests))


def _without_mapped(block: TypedSql) -> list[tuple[int, int]]:
    first, last = _block(block)
    mapped_end = _MAPPED + 2**32 - 1
    if first >= _MAPPED and last <= mapped_end:
        return [(first, last)]
    parts = [(first, min(last, _MAPPED - 1)), (max(first, mapped_end + 1), last)]
    return [part for part in parts if part[0] <= part[1]]


ADDRESS_FUNCTIONS: Mapping[str, ScalarFunction] = {
    "cidr_match": ScalarFunction(
        (frozenset({Type.IP}), STRING), Type.BOOLEAN, _cidr_match, variadic=True
    ),
}
