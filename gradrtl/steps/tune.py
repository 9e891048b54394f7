"""A search of training settings by Optuna: accuracy on the training images held out. The test images have no say.

Processes on any machines may work on one study, which is a file or a database.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..cluster import Cluster, run
from ..errors import UserError, require
from ..locks import locked
from ..model.config import TrainConfig
from ..model.data import Dataset, load
from ..model.settings import settings
from .explore import made_from

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

PRUNE_FROM = 5  # trials before the median of the others ends one
STUDY = "gradrtl"  # name in the storage
BEGINNING = b'{"op_code":0,"worker_id":"'  # of every journal: Optuna makes a study first
A_STUDY = "a study of gradrtl tune, or the name of a new file"
FOLDER, HOST, MADE_FROM = "folder", "host", "made from"  # attributes of a trial, and of a study


@dataclass(frozen=True)
class Range:
    """The values to try of a setting: one of `choices`, or a number from `low` to `high`."""

    name: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    @property
    def logarithmic(self) -> bool:
        """Whether values are drawn evenly by their logarithms: those that differ by a factor of ten."""
        return self.low > 0 and self.high / self.low >= 10

    @property
    def text(self) -> str:
        return ",".join(map(str, self.choices)) if self.choices else f"{self.low:g}:{self.high:g}"

    @staticmethod
    def parse(words: str) -> Range:
        """`lr=0.001:0.01` or `hidden=0.3,0.5,1`. Raises `UserError`."""
        name, equals, values = words.partition("=")
        name = name.strip().replace("-", "_")
        known: dict[str, Callable[[str], Any]] = {
            field.name: field.kind for field in settings(TrainConfig) if field.kind in (int, float, str)
        }
        require(bool(equals and values), "vary", words, "NAME=LOW:HIGH or NAME=A,B,C")
        require(name in known, "vary", name, "a setting of gradrtl train: " + ", ".join(known))
        low, colon, high = values.partition(":")
        try:
            if not colon:
                return Range(name, choices=tuple(known[name](word.strip()) for word in values.split(",")))
            found = Range(name, known[name](low), known[name](high))
        except ValueError:
            raise UserError.of(name, values, "LOW:HIGH, or values with commas between them") from None
        require(known[name] is not str and found.low < found.high, name, values, "a lower and a higher number")
        return found

    def suggest(self, trial: Trial) -> Any:
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, int(self.high), log=self.logarithmic)
        return trial.suggest_float(self.name, self.low, self.high, log=self.logarithmic)


USUAL = (Range("lr", 1e-3, 2e-2), Range("margin", 10.0, 200.0), Range("rotation", 0.0, 15.0))


@dataclass(frozen=True)
class Search:
    """What all trials share. `trials`: how many there are to be in the whole study."""

    config: TrainConfig
    ranges: tuple[Range, ...]
    folder: Path
    out: Path
    storage: str
    trials: int
    seed: int = 0
    network: str = ""  # how it is named on the command line, if that is not in `config`

    def __post_init__(self) -> None:
        require(self.trials >= 1, "trials", self.trials, "at least 1")
        names = [one.name for one in self.ranges]
        require(len(set(names)) == len(names), "vary", ", ".join(names), "each setting once")
        for one in self.ranges:  # each end must be a setting that training accepts
            for value in one.choices or (one.low, one.high):
                replace(self.config, **{one.name: value})

    @property
    def about(self) -> str:
        """Digest of what trials of a study have in common."""
        ranges = [f"{one.name}={one.text}" for one in self.ranges]
        return sha256(f"{self.config.to_json()} {ranges} {made_from(self.folder)}".encode()).hexdigest()


class _StudyLock:
    """What Optuna takes for the lock of its journal. It ends with its process; Optuna's own stay behind after a kill.

    Whoever gets it finds whole lines: Optuna would append to what a killed process has left of one.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._held = ExitStack()

    def acquire(self) -> bool:
        held = self._held.enter_context(locked(Path(f"{self._journal}.lock")))
        try:
            _cut(self._journal)
        except BaseException:
            self.release()
            raise
        return held

    def release(self) -> None:
        self._held.close()


def _cut(journal: Path) -> None:
    """Cut off a last line without an end. `UserError` if the file does not begin as a journal; it stays as it is."""
    if not journal.exists():
        return
    require(journal.is_file(), "storage", journal, A_STUDY)
    with journal.open("r+b") as file:
        begins = file.read(len(BEGINNING))
        require(BEGINNING.startswith(begins), "storage", journal, A_STUDY)
        if begins:
            file.seek(-1, SEEK_END)
            if file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


def _require_kept(name: str) -> None:
    """`UserError` if the database is in memory: each process, and each connection, would have a study of its own."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    if make_url(name).get_backend_name() == "sqlite":
        with create_engine(name, poolclass=NullPool).connect() as connection:
            file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
        require(bool(file), "storage", name, "a database in a file, such as sqlite:///study.db")


def _first_cause(error: BaseException) -> BaseException:
    """The driver's own error, which SQLAlchemy and Optuna wrap in theirs of several lines."""
    return error if error.__cause__ is None else _first_cause(error.__cause__)


@contextmanager
def _in_one_line(name: str, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Errors of Optuna, which reads lines of a journal unchecked, and of any database driver as a `UserError`.

    `kinds`: those of the storage, for a block in which other errors occur as well.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        if "://" in name:
            reason = str(_first_cause(error)).partition("\n")[0]
            raise UserError.of("storage", name, f"a database that can be reached ({reason})") from None
        if isinstance(error, OSError):
            raise UserError(f"storage {name} cannot be written: {error.strerror}") from error
        raise UserError.of("storage", name, A_STUDY) from error


def storage_of(name: str) -> BaseStorage:
    """The storage at a URL (`sqlite:///study.db`, `postgresql://...`), or in a file, Optuna's journal."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _in_one_line(name):
        if "://" in name:
            _require_kept(name)
            return optuna.storages.get_storage(name)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        lock = _StudyLock(Path(name))
        lock.acquire()  # refuses what is no journal
        lock.release()
        return JournalStorage(JournalFileBackend(name, cast(Any, lock)))


def study_of(search: Search) -> Study:
    """The study, made if it is missing. `UserError` if it is one of other settings, data or sources."""
    import optuna

    pruner, about = optuna.pruners.MedianPruner(n_startup_trials=PRUNE_FROM), search.about
    with _in_one_line(search.storage):
        study = optuna.create_study(
            storage=storage_of(search.storage),
            pruner=pruner,
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
        )
        known = study.user_attrs.get(MADE_FROM)
        if known is None:
            study.set_user_attr(MADE_FROM, about)
        else:
            expected = "one of these settings, data and sources: delete it, or take another one"
            require(known == about, "storage", search.storage, expected)
    return study


def finished(study: Study) -> list[FrozenTrial]:
    """Trials with a result, those among them that were ended early."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def work(searches: Sequence[Search]) -> list[dict[str, Any] | None]:
    """Make a trial of each, in a worker: its number, settings, and accuracy unless it was ended early.

    None where the study has all its trials by now.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    found = []
    for search in searches:
        with _in_one_line(search.storage, (StorageInternalError, SQLAlchemyError)):
            found.append(_trial(search))
    return found


def _trial(search: Search) -> dict[str, Any] | None:
    import optuna
    from optuna.exceptions import TrialPruned
    from optuna.trial import TrialState

    study = study_of(search)
    _give_up_the_dead(study)
    trial = study.ask()
    before = study.get_trials(deepcopy=False)[: trial.number]
    rank = sum(one.state != TrialState.FAIL for one in before)
    if rank >= search.trials:
        study.tell(trial, state=TrialState.FAIL)  # other processes make all that is missing
        return None
    study.sampler = optuna.samplers.TPESampler(seed=search.seed * 100_003 + rank)
    folder = Path(trial.user_attrs.get(FOLDER, search.out / f"trial-{trial.number}"))
    with _alive(folder):
        if FOLDER not in trial.user_attrs:
            (folder / "resume.pt").unlink(missing_ok=True)  # of a study that is no longer there
        trial.set_user_attr(HOST, socket.gethostname())
        trial.set_user_attr(FOLDER, str(folder))
        found: dict[str, Any] = {"trial": trial.number}
        try:
            config = replace(search.config, **{one.name: one.suggest(trial) for one in search.ranges})
            found["accuracy"] = _accuracy(config, search.folder, folder, trial)
        except TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except UserError:  # settings that do not go together
            study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            study.tell(trial, found["accuracy"])
    return found | trial.params


def _accuracy(config: TrainConfig, data: Path, folder: Path, trial: Trial) -> float:
    """Train, and return the accuracy on the held-out images. `TrialPruned` as soon as the study's pruner says so."""
    import torch
    from optuna.exceptions import TrialPruned

    from ..model.train import train

    def report(row: dict[str, Any]) -> None:
        trial.report(row["validation"], row["epoch"])
        if row["epoch"] < config.epochs and trial.should_prune():
            raise TrialPruned

    torch.set_num_threads(1)
    made = train(config, _training(data), folder, report, progress=False)
    made.save(folder / "checkpoint.npz")
    (folder / "resume.pt").unlink(missing_ok=True)
    return float(made.figures["validation"])


def _training(folder: Path) -> Dataset:
    return load(folder)[0]


@contextmanager
def _alive(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, by which others of this machine see that the trial goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "alive.lock"):
        yield


def _give_up_the_dead(study: Study) -> None:
    """Trials whose process was killed on this machine are begun again, with their settings and what they have saved."""
    from optuna.trial import TrialState

    for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        folder = one.user_attrs.get(FOLDER)
        if folder is None or one.user_attrs.get(HOST) != socket.gethostname() or not Path(folder).is_dir():
            continue
        with locked(Path(folder) / "alive.lock", wait=False) as ours:
            if not ours:
                continue
            try:
                study.tell(one.number, state=TrialState.FAIL)
            except (ValueError, RuntimeError):  # it has ended meanwhile
                continue
            study.enqueue_trial(one.params, user_attrs={FOLDER: folder})


def tune(
    search: Search,
    cluster: Cluster,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Study:
    """Make trials until the study has `search.trials`, others' included. `on_trial` is told each that is made here."""
    study = study_of(search)
    first, missing = 0, search.trials - len(finished(study))
    while missing > 0:
        todo = dict.fromkeys(range(first, first + missing), search)
        made = 0
        for _, found in run(work, todo, cluster, code=partial(made_from, search.folder), say=say):
            if found is not None:
                made += 1
                if on_trial is not None:
                    on_trial(found)
        if not made:
            break  # other processes make what is missing
        first, missing = first + missing, search.trials - len(finished(study))
    return study


def command_of(search: Search, params: dict[str, Any]) -> str:
    """The command that trains with these settings."""
    config, usual = replace(search.config, **params), TrainConfig(network=search.config.network)
    words = ["gradrtl", "train"]
    for field in settings(TrainConfig):
        value = getattr(config, field.name)
        if field.name != "network" and value != getattr(usual, field.name) and value is not None:
            name = field.name.replace("_", "-")
            words += [f"--{name}" if value else f"--no-{name}"] if field.kind is bool else [f"--{name}", str(value)]
    named = "" if "network" in params else search.network  # a file is named by its path, a network tried by itself
    words += [
        "--network",
        named or str(config.network),
        "--data",
        str(search.folder),
        "--out",
        str(search.out / "best"),
    ]
    return shlex.join(words)
