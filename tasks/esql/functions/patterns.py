"""Patterns of LIKE, RLIKE and REPLACE go in, those of SQL and RE2 come out."""

from __future__ import annotations

import re

from tasks.esql.errors import refused
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.values import TypedSql, TypedSqls


def like(arguments: TypedSqls) -> Sql:
    r"""`*` and `?` as SQL's `%` and `_`; `\` keeps the next character as it is."""
    tests = []
    for pattern in arguments[1:]:
        text = pattern.text_constant("pattern of [LIKE]")
        likened = "".join(
            {"*": "%", "?": "_"}.get(piece) or re.sub(r"([%_\\])", r"\\\1", piece[-1])
            for piece in re.findall(r"\\.|.", text, re.DOTALL)
        )
        tests.append(sql(r"{} LIKE {} ESCAPE '\'", arguments[0].sql, bound(likened, "VARCHAR")))
    return sql("({})", joined(" OR ", tests))


_REGEX_PIECE = re.compile(r'\\.|"[^"]*"|\[(?:\\.|[^\]\\])*\]|.', re.DOTALL)


def rlike(arguments: TypedSqls) -> Sql:
    """Lucene's regular expressions as RE2's: anchored, `.` is any character, `"..."` literal."""
    tests = []
    for pattern in arguments[1:]:
        text = pattern.text_constant("pattern of [RLIKE]")
        pieces = [_re2_piece(piece, pattern) for piece in _REGEX_PIECE.findall(text)]
        tests.append(
            sql(
                "regexp_full_match({}, {}, 's')",
                arguments[0].sql,
                bound("".join(pieces), "VARCHAR"),
            )
        )
    return sql("({})", joined(" OR ", tests))


def _re2_piece(piece: str, pattern: TypedSql) -> str:
    if piece in {"^", "$"}:
        return "\\" + piece
    if piece == "@":
        return ".*"
    if len(piece) > 1 and piece[0] == '"':
        return re.escape(piece[1:-1])
    if piece in {"~", "&", "<", "#"}:
        raise refused(f"Lucene's operator [{piece}] in [RLIKE] is not supported", pattern.source)
    return re.escape(piece[1]) if piece[0] == "\\" and piece[1] not in "dDwWsS" else piece


def replace(arguments: TypedSqls) -> Sql:
    r"""Java's `$1` in the replacement is RE2's `\1`."""
    replacement = arguments[2].text_constant("replacement of [REPLACE]")
    rewritten = "".join(
        "\\" + piece[1:] if piece[0] == "$" else piece[-1].replace("\\", "\\\\")
        for piece in re.findall(r"\$\d|\\.|.", replacement, re.DOTALL)
    )
    text, pattern = arguments[0].sql, arguments[1].sql
    return sql("regexp_replace({}, {}, {}, 'g')", text, pattern, bound(rewritten, "VARCHAR"))
