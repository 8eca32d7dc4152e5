"""The work on files, in this process or spread over several: bytes in, bytes out."""

import gc
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import libcst

from cupola_transpiler import formats
from cupola_transpiler.convert import Change, ConvertError, Note, convert, mentions
from cupola_transpiler.deep import deep
from cupola_transpiler.journal import digest
from cupola_transpiler.layout import Layout, Local
from cupola_transpiler.link import Facts, Link
from cupola_transpiler.proof import reads_clean
from cupola_transpiler.source import SourceError, decode
from cupola_transpiler.table import load

FEW = 12  # files that mention torch: fewer are done before other processes have started
BATCH = 8


@dataclass
class FileResult:
    """What work on one file found. problem: why it is left as it is (then nothing else counts).

    after is None if nothing changes; facts_after and needs_after describe the result, resolved
    again.
    """

    path: str
    problem: str = ""
    before: str = ""
    after: bytes | None = None
    lines: int = 0
    mentions: bool = False
    parsed: bool = False
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    facts: Facts = field(default_factory=Facts)
    needs: frozenset[Local] = frozenset()
    facts_after: Facts = field(default_factory=Facts)
    needs_after: frozenset[Local] = frozenset()


def convert_file(root: Path, path: str, link: Link) -> FileResult:
    """Reads and converts one file, and resolves the result to see that nothing was missed."""
    return deep(_convert_file, root, path, link)


def _convert_file(root: Path, path: str, link: Link) -> FileResult:
    result = FileResult(path)
    try:
        data = (root / path).read_bytes()
    except OSError as error:
        result.problem = f"cannot be read: {error.strerror or error}"
        return result
    result.mentions, result.lines = mentions(data), data.count(b"\n")
    result.before = digest(data)
    kind = formats.find(path)
    if kind is not None:
        if result.mentions:
            _convert_document(result, kind, data, link)
        return result
    try:
        vendored = link.layout.vendored
        named = result.mentions or path in link.handed
        if not named and not any(name.encode() in data for name in vendored):
            if not data.isascii():
                decode(data)
            return result
        source = decode(data)
        done = convert(path, source.text, link)
        result.parsed = True
        result.facts, result.needs = done.facts, done.needs
        result.changes, result.notes = done.changes, done.notes
        result.facts_after, result.needs_after = done.facts, done.needs
        if done.text != source.text:
            _check_stable(result, path, done.text, link)
            result.after = source.encode(done.text)
    except (ConvertError, SourceError) as error:
        result.problem = str(error)
    except RecursionError:
        result.problem = "is nested too deeply to be read"
    except Exception as error:  # a fault of ours in one file must not cost the others
        result.problem = f"cupola failed on it ({type(error).__name__}: {error})"
        if os.environ.get("CUPOLA_DEBUG"):
            raise
    return result


def _convert_document(result: FileResult, kind: formats.Format, data: bytes, link: Link) -> None:
    """A notebook, a list of requirements, ...: always UTF-8."""
    try:
        text = data.decode("utf-8")
        done = kind.convert(result.path, text, Link(link.layout))
        result.changes, result.notes = done.changes, done.notes
        if done.text != text:
            result.after = done.text.encode("utf-8")
    except UnicodeDecodeError as error:
        result.problem = f"cannot be decoded: {error}"
    except ConvertError as error:
        result.problem = str(error)
    except RecursionError:
        result.problem = "is nested too deeply to be read"
    except Exception as error:  # as for Python sources
        result.problem = f"cupola failed on it ({type(error).__name__}: {error})"
        if os.environ.get("CUPOLA_DEBUG"):
            raise


def _check_stable(result: FileResult, path: str, text: str, link: Link) -> None:
    """Looks at the result as if it stood alone: whatever still leads to torch was missed."""
    if reads_clean(text, [root for root in load().roots if "." not in root]):
        result.facts_after = _without_packages(result.facts)
        return
    again = convert(path, text, Link(link.layout))
    if again.text != text:
        first = again.changes[0]
        raise ConvertError(
            f"a second run would change the result again, line {first.line}: {first.before!r}"
        )
    result.facts_after, result.needs_after = again.facts, again.needs


def _without_packages(facts: Facts) -> Facts:
    """The facts of a file in which nothing names a converted package any more."""
    names = {n: t if isinstance(t, Local) else None for n, t in facts.names.items()}
    return replace(facts, names=names, renamed={})


class Workers:
    """Converts files of one tree, in other processes if there are many of them."""

    def __init__(self, root: Path, layout: Layout, processes: int | None, files: int):
        self.root, self.layout = root, layout
        self.pool: ProcessPoolExecutor | None = None
        self.processes = processes or _cores()
        self.many = files > FEW and self.processes > 1

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)

    def convert(self, paths: Sequence[str], link: Link) -> Iterator[list[FileResult]]:
        """Converts files, a batch at a time, in no certain order."""
        if not self.many or len(paths) <= FEW:
            for path in paths:
                yield [convert_file(self.root, path, link)]
            return
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.processes,
                _context(),
                _start_worker,
                (str(self.root), self.layout, os.getpid()),
            )
        yield from self._spread(self.pool, paths, link)

    def _spread(
        self, pool: ProcessPoolExecutor, paths: Sequence[str], link: Link
    ) -> Iterator[list[FileResult]]:
        # Largest first, dealt out evenly: the last batches are then small, and no process waits
        # long.
        sizes = {path: _size(self.root / path) for path in paths}
        ordered = sorted(paths, key=lambda p: -sizes[p])
        count = max(1, -(-len(ordered) // BATCH))
        batches = [ordered[i::count] for i in range(count)]
        pending: set[Future[list[FileResult]]] = {
            pool.submit(_work, batch, link.exports, link.modules, link.handed) for batch in batches
        }
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _context() -> multiprocessing.context.BaseContext:
    # Forked workers have LibCST loaded; where fork is not safe the default is taken.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


_state: dict[str, object] = {}


def _start_worker(root: str, layout: Layout, parent: int) -> None:
    _state.update(root=Path(root), layout=layout)
    # LibCST validates each node that it builds, which is for trees made by hand; ours come from its
    # parser, and this process makes no others. It is a fifth of the time of a parse.
    libcst.CSTNode.__post_init__ = lambda self: None  # type: ignore[method-assign]
    gc.freeze()
    gc.disable()  # trees are freed by reference counts; the collector would only walk over them
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed has nobody to answer to."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(
    paths: Iterable[str], exports: dict, modules: dict, handed: frozenset[str]
) -> list[FileResult]:
    layout, root = _state["layout"], _state["root"]
    assert isinstance(layout, Layout) and isinstance(root, Path)
    link = Link(layout, exports, modules, handed)
    found = deep(lambda: [convert_file(root, path, link) for path in paths])
    gc.collect()
    return found
