"""An embedded cluster goes in, its folder comes out, or the reason why its URL names no folder."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import Unreachable
from tasks.settings import Cluster


def folder_of(cluster: Cluster) -> Path:
    """Give an embedded cluster's folder.

    Raises:
        Unreachable: the URL names another machine, or a folder that does not exist here.
    """
    path = cluster.folder or ""
    if path.startswith("//") or (path and path[0] != "/"):
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
            + (" A percent sign in the path is written %25." if "%" in cluster.url else ""),
        )
    return Path(path)
