"""An embedded cluster goes in, its folder comes out, or the reason why it has not the events."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import QueryRefused, Unreachable
from tasks.settings import Cluster

_SHOWN = 10
"""Subfolders in an error."""


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


def no_such_subfolder(cluster: Cluster, folder: Path, reason: str) -> QueryRefused:
    """Make the error for a query whose data streams have no subfolder; it lists those there are."""
    there = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    listed = f"the subfolders {', '.join(there[:_SHOWN])}{more}" if there else "no subfolder"
    return QueryRefused(
        f"{cluster.name}: {reason}: the folder {folder} has {listed}.",
        "Files belong into a subfolder with the name of their data stream: `beaconhunt import "
        "FOLDER --into DATA` puts them there. If they are there already, correct FROM.",
    )
