"""Masking: from a command line to the same one without the secrets in it.

A table says how secrets are passed to programs. What it names is masked wherever it appears in a
text; what it does not name stays, since an analyst judges a program by its command line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

MASK = "[masked]"
"""What stands in a text instead of a secret."""

_NAME = (
    r"(?:[\w.-]*[_.-])?(?:pass|passwd|password|passphrase|pwd(?!=[/~])|secret|token"
    r"|credentials?|(?:api|access|secret|auth|account|encryption)[_-]?key)"
)
"""The name of a secret, after any prefix: `db_password`, `X-Api-Key`, `AWS_SECRET_ACCESS_KEY`."""

_VALUE = r"""(?P<value>\[masked\]|"(?:[^"\\]|\\.)*"|'[^']*'|\S+)"""
_NO_OPTION = r"(?!-)" + _VALUE
_NEAR = r"\b[^|;&]{0,200}?\s"
"""Between a program and its option: within one command, and bounded for hostile texts."""


@dataclass(frozen=True, slots=True)
class SecretPattern:
    """One way to pass a secret to a program.

    Attributes:
        expression: the group `value` is the secret.
        is_argument: the secret ends its argument, whatever spaces it holds.
    """

    expression: re.Pattern[str]
    is_argument: bool = False


def _pattern(expression: str, *, is_argument: bool = False) -> SecretPattern:
    return SecretPattern(re.compile(expression, re.IGNORECASE), is_argument)


PATTERNS = {
    "authorization header": _pattern(
        r"(?<![\w-])(?:proxy-)?authorization[\"']?\s*[:=]\s*"
        rf"(?:(?:basic|bearer|digest|negotiate|token|apikey)\s+)?{_VALUE}",
        is_argument=True,
    ),
    "bearer": _pattern(rf"\bbearer\s+{_VALUE}"),
    "address with password": _pattern(r"://[^\s/:@]*:(?P<value>[^\s/]+)@"),
    "parameter of an address": _pattern(
        rf"(?<=[?&]){_NAME}=(?P<value>[^\s&#\"']+)",
    ),
    "option": _pattern(rf"(?<!\S)-{{1,2}}(?!-|no-){_NAME}(?:=|\s+(?!-)){_VALUE}", is_argument=True),
    "assignment": _pattern(rf"(?<![\w?&.-]){_NAME}[\"']?\s*[:=]\s*{_VALUE}"),
    "curl and wget": _pattern(
        rf"\b(?:curl|wget){_NEAR}(?:-u|--user|-U|--proxy-user)[\s=]?\s*[^\s:]+:(?P<value>\S+)",
    ),
    "sshpass": _pattern(rf"\bsshpass{_NEAR}(?-i:-p)\s*{_NO_OPTION}", is_argument=True),
    "mysql": _pattern(rf"\b(?:mysql\w*|mariadb[\w-]*){_NEAR}(?-i:-p){_NO_OPTION}"),
    "security of macOS": _pattern(
        rf"\bsecurity\s+(?:\S+-keychain|import|export|add-\S+-password){_NEAR}-[pw]\s+{_NO_OPTION}",
        is_argument=True,
    ),
    "zip": _pattern(rf"\b(?:zip|unzip){_NEAR}(?-i:-P)\s+{_NO_OPTION}"),
    "redis and ldap": _pattern(
        rf"\b(?:redis-cli{_NEAR}-a|ldap\w+{_NEAR}(?-i:-w))\s+{_NO_OPTION}", is_argument=True
    ),
    "key of AWS": _pattern(r"(?<!\w)(?P<value>(?-i:(?:AKIA|ASIA)[A-Z0-9]{16}))(?!\w)"),
    "token of a service": _pattern(
        r"(?<!\w)(?P<value>(?-i:gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
        r"|xox[a-z]-[\w-]{10,}|sk-[\w-]{20,}))"
    ),
    "JSON web token": _pattern(r"(?<![\w-])(?P<value>(?-i:eyJ)[\w-]{5,}\.[\w-]+\.[\w-]*)"),
}
"""By the name of the way. Earlier ones come first: they know more about the end of the secret."""

_LONE_OPTION = re.compile(rf"-{{1,2}}(?!-|no-){_NAME}", re.IGNORECASE)
"""An argument whose value is another argument."""


def masked(text: str) -> str:
    """Mask the secrets in a text; a text without any stays as it is."""
    return _masked(text)[0]


def masked_command(
    command_line: str | None, arguments: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Mask the secrets in a command line and in its arguments.

    Args:
        command_line: the arguments in their order, joined with spaces; None if it is unknown.
        arguments: in any order. They show where a secret with spaces ends in the command line,
            and the command line shows which of them is the value of an option.
    """
    text, secrets = _masked(command_line or "", arguments)
    if command_line is None and any(map(_LONE_OPTION.fullmatch, arguments)):
        # Any other argument may be its value.
        secrets = {each for each in arguments if not each.startswith("-")}
    hidden = (MASK if each in secrets else _masked(each, [each])[0] for each in arguments)
    return None if command_line is None else text, tuple(hidden)


def _masked(text: str, arguments: Collection[str] = ()) -> tuple[str, set[str]]:
    """Mask the secrets in a text, and give them."""
    secrets: set[str] = set()
    for pattern in PATTERNS.values():
        parts: list[str] = []
        done = 0
        while match := pattern.expression.search(text, done):
            start, end = match.start("value"), match.end("value")
            if pattern.is_argument:
                starts = (match.start(), start)
                end = max(end, *(_end(text, arguments, at) for at in starts))
            secrets.add(text[start:end])
            parts += text[done:start], MASK
            done = end
        text = "".join(parts) + text[done:]
    return text, secrets - {MASK}


def _end(text: str, arguments: Collection[str], start: int) -> int:
    """Give the end of the longest argument that starts there in a command line."""
    return max((start + len(each) for each in arguments if text.startswith(each, start)), default=0)
