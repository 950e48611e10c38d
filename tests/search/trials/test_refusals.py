"""What is refused leaves nothing behind, and a dry run refuses what the launch would."""

import shutil
from pathlib import Path

import pytest
from optuna.trial import create_trial

from data_utils.errors import DataError, LockMismatchError, NotFoundError
from data_utils.readers.patches import read_patches
from data_utils.split.draw import draw_lock
from models._registry import load_model
from search.command.settings import LaunchSettings, parse_explore, parse_finalize, parse_launch
from search.command.signals import Signals
from search.comparison import LOCK_FILE, OPENING, Comparison, Division, define
from search.errors import UsageError
from search.trials.dry_run import _keeps_features
from search.trials.launches import Presence
from search.trials.refusals import check_asked
from search.trials.session import search
from studies.errors import DefinitionMismatchError
from studies.records import BEST_EPOCH, TRAINED_AS
from studies.storage.results import trained_as
from studies.storage.studies import create_or_resume, make_pruner, make_sampler

PATCHES = "synthetic:120"


def asked(tmp_path: Path, *argv: str, models: str = "cnn") -> LaunchSettings:
    place = ("--runs", str(tmp_path / "runs"), "--study", "s", "--device", "cpu", "--vgg16-weights", "none")
    data = () if "--data" in argv else ("--data", PATCHES)
    return parse_launch(["--model", models, *data, *place, *argv], {})


def bad_file(tmp_path: Path) -> str:
    path = tmp_path / "bad.json"
    path.write_text('[{"kernel": 4000}]')
    return str(path)


def files(folder: Path) -> dict[str, bytes]:
    """Whatever is below a folder, with its content; an empty folder counts."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a name with a lock and a study of vgg16, none of cnn."""
    folder = tmp_path_factory.mktemp("made")
    settings = asked(folder)
    comparison = Comparison.open(settings.common, begin=True)
    lock = comparison.prepared(PATCHES, Division.asked(settings)).lock
    definition = define(
        load_model("vgg16"),
        None,
        lock_digest=lock.digest,
        epochs=12,
        objective="auc",
        precision="fp32",
        layout="contiguous",
        threads=1,
    )
    create_or_resume(
        comparison.storage, "s-vgg16", definition, sampler=make_sampler("random", 0), pruner=make_pruner("none", 3)
    )
    comparison.storage.engine.dispose()
    return folder / "runs"


@pytest.fixture
def begun(made: Path, tmp_path: Path) -> Comparison:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "runs")
    return Comparison.open(asked(tmp_path).common)


REFUSED = [
    (("--warm-start", "nope"), UsageError, "--warm-start nope: there is no database"),
    (("--enqueue", "BAD"), UsageError, "kernel = 4000 lies outside"),
    (("--data", "/nonexistent"), NotFoundError, "/nonexistent does not exist"),
    (("--data", "EMPTY"), NotFoundError, "holds neither X.npy nor pictures"),
    (("--split-file", "BAD"), DataError, "bad.json"),
    (("--ray-address", "127.0.0.1:1"), UsageError, r"no Ray answers at 127.0.0.1:1 \(.*refused"),
    (("--ray-temp-dir", f"/tmp/{'x' * 60}"), UsageError, "names of .* bytes .*; name another folder, or leave it out"),
    (("--runs", "/proc/nowhere"), UsageError, "--runs: /proc cannot be written in .*; name another folder"),
    (("--storage", "sqlite:////proc/nowhere/x.db"), UsageError, "--storage: /proc cannot be written in"),
]


@pytest.mark.parametrize(("argv", "kind", "message"), REFUSED)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["launch", "dry run"])
def test_a_refused_launch_leaves_nothing_behind(
    tmp_path: Path, argv: tuple[str, ...], kind: type[Exception], message: str, dry: tuple[str, ...]
) -> None:
    from search.trials.course import dry_run

    (tmp_path / "empty").mkdir()
    places = {"BAD": bad_file(tmp_path), "EMPTY": str(tmp_path / "empty")}
    settings = asked(tmp_path, *(places.get(word, word) for word in argv), *dry)
    with pytest.raises(kind, match=message):
        _ = dry_run(settings) if dry else search(settings, Signals(""))
    assert not (tmp_path / "runs").exists()


def test_a_name_that_the_database_does_not_hold_is_refused_before_its_own_is_begun(
    begun: Comparison, tmp_path: Path
) -> None:
    before = files(tmp_path)
    with pytest.raises(UsageError, match="--warm-start s: the database holds no study s-cnn"):
        search(asked(tmp_path, "--study", "new", "--warm-start", "s", models="vgg16,cnn"), Signals(""))
    assert files(tmp_path) == before


def test_finalize_and_explore_make_no_folder_for_a_name_or_for_patches_that_are_not_there(
    begun: Comparison, tmp_path: Path
) -> None:
    from search.final.procedure import finalize
    from search.upkeep.exploration import explore

    before = files(tmp_path)
    place = ("--runs", str(tmp_path / "runs"))
    with pytest.raises(UsageError, match="no study of new9 is in the database"):
        finalize(parse_finalize(["--study", "new9", *place], {}), Signals(""))
    with pytest.raises(NotFoundError):
        explore(parse_explore(["--data", "/nonexistent", *place], {}))
    assert files(tmp_path) == before


@pytest.mark.parametrize("known", [True, False], ids=["a database", "no database yet"])
def test_a_dry_run_refuses_the_folder_of_an_opening_that_the_database_does_not_know(
    begun: Comparison, tmp_path: Path, known: bool
) -> None:
    from search.trials.course import dry_run

    (begun.folder / OPENING).mkdir()
    if not known:
        (tmp_path / "runs" / "studies.db").unlink()
    for run in (dry_run, lambda settings: search(settings, Signals(""))):
        with pytest.raises(UsageError, match="is of an opening that this database knows nothing of"):
            run(asked(tmp_path))


def test_the_lock_of_another_database_is_not_advised_to_be_deleted(begun: Comparison, tmp_path: Path) -> None:
    other = draw_lock(read_patches(PATCHES), "s", (70, 15, 15), 1)
    (begun.folder / LOCK_FILE).write_text(other.to_json(), encoding="utf-8")
    with pytest.raises(
        LockMismatchError, match=r"belongs to another database. Put the original back, name that .*"
    ) as no:
        search(asked(tmp_path), Signals(""))
    assert "elete" not in str(no.value)


def test_a_launch_that_has_nothing_to_train_asks_for_no_ray(begun: Comparison, tmp_path: Path) -> None:
    """The cluster of a search that is done may be gone."""
    gone = asked(tmp_path, "--trials", "1", "--ray-address", "127.0.0.1:1", models="vgg16")
    with pytest.raises(UsageError, match="no Ray answers"):
        check_asked(gone)
    study = begun.load_study("vgg16")
    study.tell(study.ask(), 0.5)
    check_asked(gone)


def test_no_study_is_begun_where_another_one_of_the_launch_is_refused(begun: Comparison, tmp_path: Path) -> None:
    from search.trials.course import run_trials

    settings = asked(tmp_path, "--epochs", "3", models="cnn,vgg16")
    prepared = begun.prepared(PATCHES, Division.asked(settings))
    with pytest.raises(DefinitionMismatchError, match="epochs 12, not 3"):
        run_trials(settings, Signals(""), begun, prepared, Presence(begun.ledger, begun.name), None, tmp_path / "log")
    assert begun.models() == ["vgg16"]


@pytest.mark.parametrize("flag", [(), ("--stop-when-flat",)], ids=["without", "with"])
def test_a_launch_tells_that_trials_of_before_do_not_tell_when_it_may_end(
    begun: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: tuple[str, ...]
) -> None:
    from search.trials.course import run_trials

    begun.load_study("vgg16").add_trial(
        create_trial(value=0.5, user_attrs={BEST_EPOCH: 12, TRAINED_AS: trained_as("s-vgg16", 0)})
    )
    settings = asked(tmp_path, "--trials", "1", "--pruner", "none", *flag, models="vgg16")
    prepared = begun.prepared(PATCHES, Division.asked(settings))
    presence = Presence(begun.ledger, begun.name)
    assert run_trials(settings, Signals(""), begun, prepared, presence, None, tmp_path / "log") == 0
    told = capsys.readouterr().out
    assert ("study s-vgg16: complete trials of before --stop-when-flat" in told) == bool(flag)


@pytest.mark.parametrize(
    ("argv", "kind", "message"),
    [
        (("--split", "60/20/20"), LockMismatchError, "60/20/20"),
        (("--epochs", "3"), DefinitionMismatchError, "epochs 12, not 3"),
        (("--precision", "bf16"), UsageError, "the studies of this comparison are in fp32"),
        (("--enqueue", "BAD"), UsageError, "is no parameter of this model"),
    ],
)
def test_a_dry_run_on_a_name_that_was_begun_refuses_what_the_launch_would_and_writes_nothing(
    begun: Comparison, tmp_path: Path, argv: tuple[str, ...], kind: type[Exception], message: str
) -> None:
    from search.trials.course import dry_run

    bad = bad_file(tmp_path)
    before = files(tmp_path)
    settings = asked(tmp_path, *(bad if word == "BAD" else word for word in argv), models="vgg16")
    with pytest.raises(kind, match=message):
        dry_run(settings)
    assert files(tmp_path) == before


def test_a_dry_run_counts_the_disk_that_search_and_finalize_will_take(
    begun: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.trials.course import dry_run

    before = files(tmp_path)
    assert dry_run(asked(tmp_path, "--feature-cache-gb", "7")) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "checkpoints about" in told
    assert "members of search.finalize about" in told
    assert "outputs of frozen layers" not in told
    assert [_keeps_features(load_model(name)) for name in ("cnn", "vgg16")] == [False, True]
    assert files(tmp_path) == before
