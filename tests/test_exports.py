"""Rankings and recalls as others read them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.evaluate.metrics import Recall
from patchvlad.images.sides import Sides
from patchvlad.results.exports import write_hloc_pairs, write_kapture_pairs, write_msls_predictions
from patchvlad.results.folder import Making, Results, write_recalls
from patchvlad.search.ranking import Ranking

RANKING = Ranking(
    np.array([[2, 0], [1, -1], [-1, -1]]),
    np.array([[0.75, -1.5], [1.0, -np.inf], [-np.inf, -np.inf]], dtype=np.float32),
    ("q/a.jpg", "q/b c.jpg", "q/unreadable.jpg"),
    ("1.jpg", "2.jpg", "x/3.jpg"),
)
PAIRS = [("q/a.jpg", "x/3.jpg", 0.75), ("q/a.jpg", "1.jpg", -1.5), ("q/b c.jpg", "2.jpg", 1.0)]


def parse_kapture(text: str) -> list[list[str]]:
    """The rows of a kapture table: fields separated by commas and padded, comments behind #."""
    return [[field.strip() for field in line.split(",")] for line in text.splitlines() if line and line[0] != "#"]


def test_pairs_are_read_back_best_first(tmp_path: Path) -> None:
    write_kapture_pairs(tmp_path / "new" / "pairs.txt", RANKING)
    text = (tmp_path / "new" / "pairs.txt").read_text()
    assert text.startswith("# kapture format: 1.1\n# query_image, map_image, score\n")
    assert [(query, image, float(score)) for query, image, score in parse_kapture(text)] == PAIRS


def test_pairs_file_is_exact(tmp_path: Path) -> None:
    write_kapture_pairs(tmp_path / "pairs.txt", RANKING)
    assert (tmp_path / "pairs.txt").read_bytes() == (
        b"# kapture format: 1.1\n# query_image, map_image, score\n"
        b"q/a.jpg, x/3.jpg, 0.75\nq/a.jpg, 1.jpg, -1.5\nq/b c.jpg, 2.jpg, 1.0\n"
    )


def test_names_are_written_in_utf8(tmp_path: Path) -> None:
    ranking = Ranking(np.array([[0]]), np.ones((1, 1), dtype=np.float32), ("Zürich.jpg",), ("東京.jpg",))
    write_kapture_pairs(tmp_path / "pairs.txt", ranking)
    assert "Zürich.jpg, 東京.jpg, 1.0\n".encode() in (tmp_path / "pairs.txt").read_bytes()


def test_no_pair_is_a_file_of_comments(tmp_path: Path) -> None:
    write_kapture_pairs(tmp_path / "pairs.txt", Ranking(np.zeros((0, 5), int), np.zeros((0, 5)), (), ("1.jpg",)))
    assert parse_kapture((tmp_path / "pairs.txt").read_text()) == []


@pytest.mark.filterwarnings("ignore")
def test_kapture_reads_the_pairs(tmp_path: Path) -> None:
    import kapture.io.csv as tables

    write_kapture_pairs(tmp_path / "pairs.txt", RANKING)
    assert tables.get_version_from_csv_file(str(tmp_path / "pairs.txt")) == tables.current_format_version()
    with open(tmp_path / "pairs.txt") as file:
        assert [(query, image, float(score)) for query, image, score in tables.table_from_file(file)] == PAIRS


def test_recalls_file_is_the_references_with_the_protocol_below(tmp_path: Path) -> None:
    counted = Recall({1: 0.5}, 6, 1, 20, "positives within 25 m").describe() + "; recall over all queries"
    recalls = {"NetVLAD": {1: 0.5, 10: 2 / 3}, "PatchNetVLAD": {1: 0.79499, 10: 1.0}}
    stages = dict.fromkeys(recalls, RANKING)
    names = Sides(RANKING.query_names, RANKING.database_names)
    making = Making(preset="lite", model="m", fingerprint="f" * 64, image_size=(4, 5), candidates=3, retrieved_by="own")
    write_recalls(tmp_path / "recalls.txt", Results(names, stages, making, recalls, counted))
    assert (tmp_path / "recalls.txt").read_bytes() == (
        b"Recall NetVLAD@1: 0.5000\nRecall NetVLAD@10: 0.6667\n"
        b"Recall PatchNetVLAD@1: 0.7950\nRecall PatchNetVLAD@10: 1.0000\n"
        b"# 6 queries, 1 without a positive counted as missed, 20 database images, positives within 25 m; "
        b"recall over all queries\n"
        b"# preset lite, model m ffffffffffff, 4 x 5 px, 3 candidates by own, all re-ranked by None, patchvlad None\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["recalls.txt"]


def test_names_with_a_comma_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ranking = Ranking(np.array([[0]]), np.ones((1, 1), np.float32), ("q, 1.jpg",), ("d.jpg",))
    write_kapture_pairs(tmp_path / "pairs.txt", ranking)
    assert "q, 1.jpg" in caplog.text


PLAIN = replace(RANKING, query_names=("q/a.jpg", "q/b.jpg", "q/unreadable.jpg"))


def as_hloc_parses(text: str) -> dict[str, list[str]]:
    """hloc's parse_retrieval."""
    found: dict[str, list[str]] = {}
    for line in text.rstrip("\n").split("\n"):
        if line:
            query, image = line.split()
            found.setdefault(query, []).append(image)
    return found


def as_colmap_reads(text: str) -> list[tuple[str, str]]:
    """COLMAP's ReadImagePairsText: comments and empty lines are skipped, two names up to a space each."""
    pairs = []
    for line in text.splitlines():
        line = line.strip()
        if line and line[0] != "#":
            first, _, rest = line.partition(" ")
            pairs.append((first.strip(), rest.partition(" ")[0].strip()))
    return pairs


def test_hloc_and_colmap_read_the_pairs(tmp_path: Path) -> None:
    write_hloc_pairs(tmp_path / "pairs.txt", PLAIN, "query/", "db/")
    text = (tmp_path / "pairs.txt").read_text()
    assert as_hloc_parses(text) == {"query/q/a.jpg": ["db/x/3.jpg", "db/1.jpg"], "query/q/b.jpg": ["db/2.jpg"]}
    assert as_colmap_reads(text) == [
        ("query/q/a.jpg", "db/x/3.jpg"),
        ("query/q/a.jpg", "db/1.jpg"),
        ("query/q/b.jpg", "db/2.jpg"),
    ]


def test_spaces_are_refused_where_a_format_cannot_hold_them(tmp_path: Path) -> None:
    for write in (write_hloc_pairs, write_msls_predictions):
        with pytest.raises(GroundTruthError, match=r"the format knows no spaces, as in .q/b c.jpg.: rename the image"):
            write(tmp_path / "pairs.txt", RANKING)
    assert not list(tmp_path.iterdir())


def test_mapillary_sls_reads_the_predictions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ranking = replace(PLAIN, indices=np.array([[2, 0], [1, 0], [-1, -1]]), scores=np.zeros((3, 2), dtype=np.float32))
    write_msls_predictions(tmp_path / "p.txt", ranking)
    assert np.loadtxt(tmp_path / "p.txt", ndmin=2, dtype=str).tolist() == [["a", "3", "1"], ["b", "2", "1"]]
    assert "2 images per query, and 1 query without any: mapillary_sls wants 20 of every query" in caplog.text
    write_msls_predictions(tmp_path / "p.txt", PLAIN)  # rankings of different length are cut to the shortest
    assert np.loadtxt(tmp_path / "p.txt", ndmin=2, dtype=str).tolist() == [["a", "3"], ["b", "2"]]
    with pytest.raises(GroundTruthError, match="two images of the queries have the same file name"):
        write_msls_predictions(tmp_path / "p.txt", replace(PLAIN, query_names=("q/a.jpg", "r/a.jpg", "c.jpg")))
