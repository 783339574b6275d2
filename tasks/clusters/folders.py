"""A `file:` URL goes in, the folder that it names comes out, or the reason why it names no folder.

People write these URLs by hand, so `#` and `?` are read as part of the path.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from tasks.errors import Unreachable
from tasks.settings import Cluster, located

SCHEME = "file://"


def folder_of(cluster: Cluster) -> Path:
    """Give an embedded cluster's folder.

    Raises:
        Unreachable: the URL names another machine, or a folder that does not exist here.
    """
    written = cluster.url.removeprefix(SCHEME)
    path = located(unquote(written))
    host, slash, rest = path.partition("/")
    if host.lower() == "localhost":
        host, path = "", slash + rest
    if host or path.startswith("//"):
        raise Unreachable(
            f"{cluster.name}: `url` must name a folder on this machine, but {cluster.url} has "
            f"{path.strip('/').partition('/')[0]!r} in the place of a host.",
            "Write three slashes and the absolute path: file:///folder. A share of another "
            "machine must be mounted first.",
        )
    if not (path and Path(path).is_dir()):
        raise Unreachable(
            f"{cluster.name}: there is no folder {path!r}.",
            "Correct `url` of the cluster: file:// and the absolute path of a folder of events."
            + (" A percent sign in the path is written %25." if "%" in written else ""),
        )
    return Path(path)
