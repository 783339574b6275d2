"""Import exports into a folder of events: `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import bar, err, out
from tasks.text.numbers import counted
from tasks.text.untrusted import visible

commands = typer.Typer()


@commands.command("import", epilog="Example: `beaconhunt import ~/Downloads/export --into events`")
def import_files(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER...", help="NDJSON, JSON or Parquet, also compressed."),
    ],
    into: Annotated[Path, typer.Option(help="Folder of events; it is made, or gets more files.")],
    stream: Annotated[
        str, typer.Option(metavar="NAME", help="Data stream of documents that do not say theirs.")
    ] = "",
    skip_bad_lines: Annotated[
        bool, typer.Option(help="Skip and count unreadable lines instead of stopping.")
    ] = False,
) -> None:
    """Import exports of any shape into a folder of events, as typed Parquet.

    A document goes to the data stream that its `_index`, `data_stream`, `event.dataset` or folder
    names, else to --stream. If the import fails or is interrupted, the folder stays as it was.
    Importing a file again adds its documents again.

    Then: `beaconhunt query events 'FROM logs-* | STATS COUNT(*) BY event.dataset'`
    """
    from tasks.esql.importing import import_events
    from tasks.esql.origins import is_stream_name

    if stream and not is_stream_name(stream):
        raise typer.BadParameter(
            f"{stream!r} cannot name a data stream; logs-endpoint.events.network-default can.",
            param_hint="--stream",
        )
    with bar("Importing") as progress:
        done = import_events(
            paths, into, stream=stream, skip_bad_lines=skip_bad_lines, progress=progress
        )
    for warning in done.warnings:
        err.print(f"warning: {visible(warning)}", style="yellow")
    for name, count in done.documents.items():
        out.print(f"{into / name}: {counted(count, 'document')}")
