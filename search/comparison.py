"""One comparison by its name: its database, its folder, its locked data, and the identity of its studies."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from rich.progress import Progress as Bar

from data_utils.colour.preprocessing import Preprocessing
from data_utils.errors import LockMismatchError
from data_utils.quality.rules import easing
from data_utils.readers.patches import Progress, where_is_data
from data_utils.split.lock import Fractions, SplitLock
from data_utils.split.prepare import Prepared, digests_by_part, prepare
from data_utils.split.split_file import PatientLists, read_lists
from models._registry import load_model, source_digest
from models._spec import Model
from models._weights import VARIABLE, Weights, vgg16_weights
from search.command.alone import alone
from search.command.settings import CommonSettings, LaunchSettings
from search.command.terminal import LOGGER, say, screen
from search.errors import UsageError
from search.training.device import layout_on
from search.training.preprocess import kind_of, text_of, write_derived
from studies.files import write_whole
from studies.ledger.ledger import Ledger
from studies.ledger.patches import are_kept, keep_patches
from studies.records import DataSummary, PartSummary, Terms, to_json
from studies.storage.definition import StudyDefinition, definition_of, own_studies
from studies.storage.results import own_trials
from studies.storage.studies import SERVER_SECONDS, open_existing, open_storage, quiet_optuna

OPENING = "opening"
OUT_OF_FOLD = "out_of_fold"
LOGS = "logs"
LOCK_FILE = "lock.json"
DATA_FILE = "data.json"
ENVIRONMENT_FILE = "environment.json"
FINALIZE_FILE = "finalize.toml"
"""Settings of the last finalization."""


@dataclass(frozen=True)
class Division:
    """What is left out, and how the patients of the rest are divided; as ``prepare`` takes it."""

    fractions: Fractions
    seed: int
    exclude: tuple[str, ...]
    lists: PatientLists | None
    positive: str = ""

    @classmethod
    def asked(cls, settings: LaunchSettings) -> "Division":
        """As a launch asks for it; lists are read from their file.

        Raises:
            DataError: the lists cannot be read.
        """
        source = settings.split_file
        lists = None if source is None else read_lists(source, settings.unlisted)
        return cls(settings.split, settings.split_seed, settings.exclude, lists, settings.positive or "")

    @classmethod
    def locked(cls, lock: SplitLock) -> "Division":
        """As it is locked."""
        return cls(lock.fractions, lock.seed, lock.exclude, lock.lists, lock.positive)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A name, its database and its folder under ``runs/``."""

    name: str
    folder: Path
    storage: RDBStorage
    ledger: Ledger

    @classmethod
    def open(cls, common: CommonSettings, *, begin: bool = False, patience: float = SERVER_SECONDS) -> "Comparison":
        """Opens database and folder; an empty study name stands for the only comparison in the database.

        ``begin`` makes the database where there is none; one that goes away is waited for ``patience`` seconds.
        """
        opened = open_storage if begin else open_existing
        storage = opened(common.storage, patience=patience)
        ledger = Ledger(storage.engine)
        name = common.study or _only_name(storage)
        return cls(name, common.runs / name, storage, ledger)

    def beside(self, name: str) -> "Comparison":
        """Another one of the same database and folder of results."""
        return Comparison(name, self.folder.parent / name, self.storage, self.ledger)

    def study_name(self, model: str) -> str:
        """Of the Optuna study of this model."""
        return f"{self.name}-{model}"

    def models(self) -> list[str]:
        """Models that have a study under this name, in order."""
        return [study.model for study in own_studies(self.storage, self.name)]

    def load_study(self, model: str) -> optuna.Study:
        """The Optuna study of this model."""
        with quiet_optuna():
            return optuna.load_study(study_name=self.study_name(model), storage=self.storage)

    def finished(self, model: str) -> int:
        """Trials of a model's study that are COMPLETE, PRUNED or FAIL; 0 where there is no study."""
        if model not in self.models():
            return 0
        trials = self.load_study(model).get_trials(deepcopy=False)
        return sum(trial.state.is_finished() for trial in own_trials(trials))

    def same_division(self, other: str) -> bool:
        """Whether another comparison of the database has the same patients, or patches, in each part."""
        locks = [self.ledger.lock(name) for name in (self.name, other)]
        ours, theirs = (None if text is None else SplitLock.from_json(text, "a stored lock") for text in locks)
        if ours is None or theirs is None:
            return False
        return (ours.fingerprint, ours.assignment) == (theirs.fingerprint, theirs.assignment)

    def terms(self) -> Terms | None:
        """What its models have in common, by the launch that was first; None before that.

        Of a comparison of an earlier version, which has them in its studies alone, as the first of these was begun.

        Raises:
            UsageError: it was begun with a preprocessing that is not known here.
        """
        kept = self.ledger.terms(self.name)
        return self._terms_of_studies() if kept is None else kept

    def _terms_of_studies(self) -> Terms | None:
        definitions = [definition_of(self.load_study(model).user_attrs) or {} for model in self.models()]
        if not definitions:
            return None
        found = {key: value for definition in reversed(definitions) for key, value in definition.items()}
        kind = kind_of(found["preprocessing"]) if "preprocessing" in found else "none"
        return Terms(found["precision"], kind, found.get("threads", 0))

    def layout(self, model: Model, device: str) -> str:
        """Of feature maps in memory, as this model's study began; that of the device where none was stored."""
        return str(self._begun(model).get("layout") or layout_on(device, model))

    def epochs(self, model: Model) -> int:
        """Of a full trial, as this model's study began; those of its file where there is none."""
        return int(self._begun(model).get("epochs", model.epochs))

    def _begun(self, model: Model) -> dict[str, Any]:
        """The identity of this model's study; nothing where there is none."""
        return (definition_of(self.load_study(model.name).user_attrs) or {}) if model.name in self.models() else {}

    def prepared(
        self,
        data: str | None,
        division: "Division",
        *,
        rehash: bool = False,
        check: Callable[[Prepared], None] = lambda _: None,
    ) -> Prepared:
        """The data behind its lock, which is made at the first call and verified at every other.

        Args:
            data: where the patches are.
            division: what is left out, and how patients are divided.
            rehash: reads the patches even where sizes and times are unchanged.
            check: raises where the lock must not be kept; nothing is locked then.

        Raises:
            DataError: see ``data_utils.split.prepare``; LockMismatchError where the lock file was edited.
        """
        with self._alone_with_data():
            return self._prepared(data, division, rehash, check)

    def transformed(self, prepared: Prepared, kind: str) -> Preprocessing:
        """Has what workers will map written; see ``search.training.preprocess.write_derived``."""
        with self._alone_with_data():
            return write_derived(prepared, kind)

    def _alone_with_data(self) -> AbstractContextManager[None]:
        return alone_with_data(self.name, self.folder)

    def finalized_alone(self) -> AbstractContextManager[None]:
        """Two that retrain would write the same members.

        Raises:
            UsageError: another command is finalizing this comparison.
        """

        def refuse() -> None:
            raise UsageError(f"another command is finalizing {self.name}: wait for its end, or end it")

        return alone(self.folder / LOGS / ".finalizing", refuse)

    def _prepared(
        self, data: str | None, division: "Division", rehash: bool, check: Callable[[Prepared], None]
    ) -> Prepared:
        lock = self.stored_lock()
        if lock is not None and self.ledger.lock(self.name) is None:
            say(screen(), f"{self.folder / LOCK_FILE} is taken over as the split lock: this database had none")
        with _reading() as progress:
            prepared = prepare(
                data_source(data), self.folder / "data", name=self.name, lock=lock, rehash=rehash,
                progress=progress, **vars(division),
            )  # fmt: skip
        check(prepared)
        text = self.ledger.keep_lock(self.name, prepared.lock.digest, prepared.lock.to_json())
        if text != prepared.lock.to_json():
            raise UsageError(f"another launch drew another split for {self.name} at the same moment; run this again")
        if not are_kept(self.ledger.engine, self.name):  # also of a lock from before they were
            parts = digests_by_part(self.folder / "data")
            keep_patches(self.ledger.engine, self.name, {part: digests.tolist() for part, digests in parts.items()})
        write_whole(self.folder / LOCK_FILE, text)
        write_whole(self.folder / DATA_FILE, to_json(summary_of(prepared)))
        return prepared

    def locked_division(self) -> "Division":
        """How patients were divided and what was left out, as it is locked.

        Raises:
            UsageError: nothing is locked under this name.
        """
        lock = self.stored_lock()
        if lock is None:
            raise UsageError(f"no split is locked for {self.name}: begin with python -m search.launch")
        return Division.locked(lock)

    def stored_lock(self) -> SplitLock | None:
        """The lock as database and file have it, which must agree where both have one."""
        file = self.folder / LOCK_FILE
        in_file = SplitLock.read(file)
        text = self.ledger.lock(self.name)
        in_database = None if text is None else SplitLock.from_json(text, f"the lock of {self.name} in the database")
        if in_file is not None and in_database is not None and in_file.digest != in_database.digest:
            raise LockMismatchError(
                f"{file} is not the split lock that the database holds for {self.name}: it was edited or belongs to "
                "another database. Put the original back, name that database by --storage (is $HISTOTUNE_STORAGE set "
                "or forgotten?), or start anew: --study NEW"
            )
        return in_database or in_file


def holds_lock(folder: Path, text: str | None) -> bool:
    """Whether the lock in a folder of results is this one, as a database has it."""
    file = folder / LOCK_FILE
    return file.is_file() and file.read_text(encoding="utf-8", errors="replace") == text


def prepared_by(lock: SplitLock, common: CommonSettings) -> Prepared:
    """The data behind a lock, for a look at them: read and verified, and nothing is written into a database.

    Raises:
        DataError: see ``data_utils.split.prepare``.
    """
    folder, division = common.runs / common.study, Division.locked(lock)
    with alone_with_data(common.study, folder), _reading() as progress:
        return prepare(
            data_source(common.data), folder / "data", name=common.study, lock=lock, progress=progress, **vars(division)
        )


def alone_with_data(name: str, folder: Path) -> AbstractContextManager[None]:
    """Waits until no other command reads, replaces or transforms the patches of a comparison."""
    words = f"waiting: another command is reading the patches of {name}"
    return alone(folder / LOGS / ".reading", lambda: say(screen(), words))


@contextmanager
def _reading() -> Iterator[Progress]:
    """A bar while files are decoded, where someone watches; every tenth part of them is logged."""
    console = screen(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading patches", total=None)
        logged = 0

        def show(done: int, of: int) -> None:
            nonlocal logged
            bar.update(task, completed=done, total=of)
            if 10 * done // of > logged:
                logged = 10 * done // of
                LOGGER.info("read %d of %d files", done, of)

        yield show


def data_source(option: str | None) -> str:
    """Where the patches are: as typed, else $HISTOTUNE_DATA, else ``data/``."""
    return where_is_data(option, os.environ)


def summary_of(prepared: Prepared) -> DataSummary:
    """What a report says of the data."""
    lock = prepared.lock
    return DataSummary(
        source=prepared.source,
        synthetic=prepared.synthetic,
        fingerprint=prepared.fingerprint,
        found=prepared.found,
        exclusions=prepared.exclusions,
        parts=tuple(PartSummary(*part) for part in prepared.parts),
        patient_ids=lock.by == "patient",
        patients=prepared.patients,
        lock_digest=lock.digest,
        fractions=lock.fractions,
        split_seed=lock.seed,
        split_file="" if lock.published is None else str(lock.lists),
        notes=prepared.notes,
        near_sealed=0 if lock.near is None else lock.near[1],
        side=lock.side,
        easing=tuple((rule.reason, rule.easier) for rule in easing(lock.exclude)),
    )


def weights_of(model: Model, option: str | None) -> Weights | None:
    """The pretrained tensors of a model; None for a model without, and for ``none``."""
    return vgg16_weights(option, os.environ) if model.pretrained else None


def weights_option(models: Iterable[Model], option: str | None) -> str | None:
    """What is said of the pretrained tensors, by flag or variable; None where models have none or the default does."""
    asked = option or os.environ.get(VARIABLE) or None
    return asked if any(model.pretrained for model in models) else option


def define(
    model: Model,
    weights: Weights | None,
    *,
    lock_digest: str,
    epochs: int,
    objective: str,
    precision: str,
    layout: str,
    threads: int,
    preprocess: str = "none",
    pruner: str = "none",
) -> StudyDefinition:
    """The identity of a model's study."""
    return StudyDefinition(
        model=model.name,
        lock_digest=lock_digest,
        space=space_of(model),
        epochs=epochs,
        objective=objective,
        preprocessing=text_of(preprocess),
        precision=precision,
        weights="random" if weights is None else weights.sha256,
        source=source_digest(model.name),
        layout=layout,
        threads=threads,
        pruner=pruner,
    )


def space_of(model: Model) -> dict[str, str]:
    """Every parameter's distribution as Optuna's JSON, by name; asked of the model, never written twice."""
    with quiet_optuna():
        trial = optuna.create_study().ask()
        model.suggest(trial)
    return {name: distribution_to_json(distribution) for name, distribution in sorted(trial.distributions.items())}


def load_models(names: tuple[str, ...]) -> list[Model]:
    """The models of these names."""
    return [load_model(name) for name in names]


def _only_name(storage: RDBStorage) -> str:
    """The one comparison of a database, for commands without --study."""
    names = sorted({study.comparison for study in own_studies(storage)})
    if not names:
        raise UsageError("the database holds no study of HistoTune yet: begin with python -m search.launch")
    if len(names) > 1:
        raise UsageError(f"the database holds these comparisons: {', '.join(names)}; name one with --study NAME")
    return names[0]
