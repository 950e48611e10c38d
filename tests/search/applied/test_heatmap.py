"""Heat maps of whole slides by a final model: what is painted where, the page, the pictures, what is refused."""

import json
import re
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from final_models import stored
from PIL import Image

from data_utils.readers.patches import read_patches
from data_utils.split.cache import write_cache
from search.applied.heatmap import heatmap
from search.applied.scorer import Scorer
from search.command.settings import parse_heatmap
from search.comparison import OUT_OF_FOLD
from search.errors import UsageError
from search.final.members import MODEL_FILE, StoredModel
from search.final.scored import scored
from studies.figures.slides import IDC, NOT_IDC, SIGNED
from studies.findings.predictions import save_predictions
from studies.records import to_json

SLIDES = ("8917", "9023", "9083")
CORNER = 700
"""Pixels of the real slides that are looked at, from the first patch of each."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "runs" / "s" / "cnn"
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_text(to_json(stored(folder, "cnn", {"depth": 1, "width": 16})))
    return folder


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three made-up patients under the public names, each a block of 4 x 6 patches with a gap."""
    folder, made = tmp_path_factory.mktemp("slides"), read_patches("synthetic:72")
    for number, pixels in enumerate(made.pixels):
        patient, (row, column) = SLIDES[number // 24], divmod(number % 24, 6)
        if (row, column) == (1, 2):
            continue
        name = f"{patient}_idx5_x{51 + 50 * column}_y{1 + 50 * row}_class{int(column > 2)}.png"
        file = folder / patient / str(int(column > 2)) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return folder


def run(model: Path, data: Path, out: Path, *more: str) -> tuple[str, dict]:
    """The page and what its script is given."""
    asked = ["--model", str(model), "--data", str(data), "--out", str(out), "--device", "cpu", *more]
    assert heatmap(parse_heatmap(asked, {})) == out / "heatmap.html"
    page = (out / "heatmap.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="slides-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    told = json.loads(found[1])
    small = re.findall(r'<img class="tissue" src="(.*?)".*?<img class="over" src="(.*?)"', page)
    for slide, (tissue, probability) in zip(told["slides"], small, strict=True):
        slide["tissue"], slide["layers"]["probability"] = tissue, probability
    return page, told


def picture(source: str) -> np.ndarray:
    import base64

    return np.asarray(Image.open(BytesIO(base64.b64decode(source.split(",")[1]))))


def colour(text: str) -> list[int]:
    return [int(text[k : k + 2], 16) for k in (1, 3, 5)]


@pytest.fixture(scope="module")
def drawn(model: Path, slides: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict]:
    out = tmp_path_factory.mktemp("drawn") / "heatmaps"
    return out, *run(model, slides, out)


def test_each_patch_is_said_what_the_model_says_of_it(drawn: tuple[Path, str, dict], model: Path, slides: Path) -> None:
    patches = read_patches(str(slides), labelled=False)
    stored_model = StoredModel(**json.loads((model / MODEL_FILE).read_text()))
    assert stored_model.threshold == 0.4
    from search.final.members import load_stored

    said = Scorer(load_stored(model), model, "cpu").columns(patches)
    mine = {name: (p, s) for name, p, s in zip(said["name"], said["probability"], said["member_spread"], strict=True)}
    told = drawn[2]["slides"]
    assert [slide["name"] for slide in told] == list(SLIDES)
    for slide in told:
        assert (slide["height"], slide["width"], len(slide["rows"])) == (4, 6, 23)
        for k, name in enumerate(slide["files"]):
            probability, spread = mine[slide["common"] + name]
            assert slide["probabilities"][k] == round(1000 * probability)
            assert slide["spreads"][k] == round(1000 * spread)
            assert slide["called"][k] == str(int(probability >= 0.4))
            assert slide["labels"][k] == str(int(slide["columns"][k] > 2))
            assert f"_x{51 + 50 * slide['columns'][k]}_y{1 + 50 * slide['rows'][k]}_" in slide["common"] + name


def test_layers_have_each_patch_in_its_place_and_nothing_where_there_is_none(drawn: tuple[Path, str, dict]) -> None:
    slide = drawn[2]["slides"][0]
    labels = picture(slide["layers"]["labels"])
    assert labels.shape == (4, 6, 4)
    assert labels[1, 2].tolist() == [0, 0, 0, 0]
    assert labels[0, 0].tolist() == [*colour(NOT_IDC), 255]
    assert labels[3, 5].tolist() == [*colour(IDC), 255]
    errors = picture(slide["layers"]["errors"])
    for k, (row, column) in enumerate(zip(slide["rows"], slide["columns"], strict=True)):
        corner = errors[row * SIGNED, column * SIGNED].tolist()
        called, label = slide["called"][k], slide["labels"][k]
        assert corner == ([0, 0, 0, 0] if called == label else [*colour(IDC if called == "1" else NOT_IDC), 255])
    outline = picture(slide["layers"]["outline"])
    assert outline[2 * SIGNED, 3 * SIGNED, 3] == 255
    assert outline[2 * SIGNED + 4, 3 * SIGNED + 4, 3] == 0


def test_the_tissue_is_the_patches_put_together(drawn: tuple[Path, str, dict], slides: Path) -> None:
    slide = drawn[2]["slides"][1]
    tissue = picture(slide["tissue"]).astype(float)
    assert tissue.shape == (200, 300, 3)
    assert tissue[60:90, 110:140].min() > 250, "there is no patch"
    first = np.asarray(Image.open(next(slides.glob("9023/*/*_x51_y1_*.png")))).astype(float)
    assert np.abs(tissue[:50, :50] - first).mean() < 12, "but for what JPEG takes"


def test_a_page_needs_nothing_else_and_a_picture_of_each_slide_lies_beside_it(drawn: tuple[Path, str, dict]) -> None:
    out, page, _ = drawn
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in page
    assert {file.name for file in out.iterdir()} == {"heatmap.html", *(f"{name}.png" for name in SLIDES)}
    for name in SLIDES:
        with Image.open(out / f"{name}.png") as found:
            assert 1000 < max(found.size) < 4000
    assert "the database of s is not at hand" in page


def test_real_slides_are_put_together(model: Path, shared: Path, tmp_path: Path) -> None:
    """A corner of each of three whole slides; together they are scored in seconds."""
    with zipfile.ZipFile(shared / "data" / "idc_whole_slides.zip") as archive:
        for patient in SLIDES:
            names = [name for name in archive.namelist() if name.startswith(f"{patient}/")]
            places = {name: tuple(map(int, re.findall(r"_[xy](\d+)", name))) for name in names}
            left, top = np.min(list(places.values()), axis=0)
            corner = [n for n, (x, y) in places.items() if x < left + 2 * CORNER and y < top + CORNER]
            archive.extractall(tmp_path / "data", corner[:60])
    page, told = run(model, tmp_path / "data", tmp_path / "out")
    assert [slide["name"] for slide in told["slides"]] == list(SLIDES)
    for slide in told["slides"]:
        assert slide["width"] <= 2 * CORNER // 50
        assert slide["height"] <= CORNER // 50
        tissue, labels = picture(slide["tissue"]), picture(slide["layers"]["labels"])
        side = tissue.shape[0] // slide["height"]
        there = np.kron(labels[:, :, 3] > 0, np.ones((side, side), dtype=bool))
        assert tissue[~there].mean() > 250 if (~there).any() else True
        red, green = tissue[there].mean(axis=0)[:2]
        assert red > green, "tissue in haematoxylin and eosin"
    assert all(name in page for name in SLIDES)


def test_development_patients_are_shown_as_they_were_scored_out_of_fold(
    model: Path, slides: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"leave it or --data out"):
        run(model, slides, tmp_path / "none", "--out-of-fold")
    folder = tmp_path / "s" / "cnn"
    folder.mkdir(parents=True)
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    asked = ["--model", str(folder), "--out", str(tmp_path / "out"), "--out-of-fold"]
    with pytest.raises(UsageError, match="holds no development patches, of which there are scores out of fold"):
        heatmap(parse_heatmap(asked, {}))
    patches = read_patches(str(slides))
    part = np.where(patches.patients == "9083", "test", "train")
    (folder.parent / "data").mkdir()
    write_cache(folder.parent / "data" / "development", patches, part, np.flatnonzero(part == "train"))
    held_out = patches.take(part == "train")
    logits = np.random.default_rng(0).normal(0, 2, len(held_out))
    found = scored(held_out, {"cnn": logits}, temperatures={}, thresholds={"cnn": 0.4}, members={})
    save_predictions(found, folder / OUT_OF_FOLD)
    page = heatmap(parse_heatmap(asked, {})).read_text(encoding="utf-8")
    found_in = re.search(r'<script type="application/json" id="slides-data">(.*?)</script>', page, re.DOTALL)
    assert found_in is not None
    told = json.loads(found_in[1])["slides"]
    assert [slide["name"] for slide in told] == ["8917", "9023"]
    expected = dict(zip(held_out.names.tolist(), 1 / (1 + np.exp(-logits)), strict=True))
    for slide in told:
        for k, name in enumerate(slide["files"]):
            assert slide["probabilities"][k] == round(1000 * expected[slide["common"] + name])
            assert slide["called"][k] == str(int(expected[slide["common"] + name] >= 0.4))
        assert "spreads" not in slide
        assert slide["remark"] == "A development patient, scored by networks that did not learn from it."
    assert "got out of fold, from networks that did not learn from its patient" in page
    save_predictions(replace(found, names=found.names[::-1].copy()), folder / OUT_OF_FOLD)
    with pytest.raises(UsageError, match="is of other patches than the development patches beside it"):
        heatmap(parse_heatmap(asked, {}))


def test_one_patient_is_picked_and_an_unknown_one_refused(model: Path, slides: Path, tmp_path: Path) -> None:
    page, told = run(model, slides, tmp_path / "one", "--patient", "9023")
    assert [slide["name"] for slide in told["slides"]] == ["9023"]
    assert (tmp_path / "one" / "9023.png").exists()
    assert "8917" not in page
    with pytest.raises(UsageError, match=r"--patient 9024: .*did you mean 9023\?; there are 8917, 9023, 9083"):
        run(model, slides, tmp_path / "none", "--patient", "9024")
    assert not (tmp_path / "none").exists()


def test_patches_without_a_place_and_on_no_grid_are_refused(model: Path, slides: Path, tmp_path: Path) -> None:
    made = read_patches("synthetic:60")
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "X.npy", made.pixels)
    np.save(tmp_path / "arrays" / "Y.npy", made.labels)
    with pytest.raises(UsageError, match="the place of no patch on its slide is known; expected names"):
        run(model, tmp_path / "arrays", tmp_path / "out")
    file = next(slides.glob("8917/0/*.png"))
    rng, rows = np.random.default_rng(0), ["path,label,patient,x,y"]
    for number, (x, y) in enumerate(rng.integers(0, 10_000_000, (20, 2))):
        copy = tmp_path / f"{number}.png"
        copy.write_bytes(file.read_bytes())
        rows.append(f"{copy.name},{number % 2},a,{x},{y}")
    (tmp_path / "astray.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match="they lie on no grid; expected positions of one grid"):
        run(model, tmp_path / "astray.csv", tmp_path / "out")


def test_patches_without_labels_have_a_map_without_errors(
    model: Path, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["path,patient,x,y"]
    for number, file in enumerate(sorted(slides.glob("8917/*/*.png"))[:6]):
        (tmp_path / f"{number}.png").write_bytes(file.read_bytes())
        rows.append(f"{number}.png,a,{50 * number},0")
    (tmp_path / "astray.png").write_bytes(file.read_bytes())
    rows.append("astray.png,a,,")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    _, told = run(model, tmp_path / "list.csv", tmp_path / "out")
    (slide,) = told["slides"]
    assert set(slide["layers"]) == {"probability", "spread"}
    assert slide["labels"] == "?" * 6
    assert "left out: 1 whose place on the slide is unknown" in " ".join(capsys.readouterr().err.split())
