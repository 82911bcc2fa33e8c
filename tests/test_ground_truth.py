"""Which database images show the place of a query, from positions and from lists."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from patchvlad.errors import GroundTruthError
from patchvlad.places.ground_truth import GroundTruth

QUERIES = ("a.jpg", "b/c.jpg")
DATABASE = ("1.jpg", "x/2.jpg", "x/3.jpg")


def rows(truth: GroundTruth) -> list[list[int]]:
    return [found.tolist() for found in truth.positives]


def brute_force(queries: np.ndarray, database: np.ndarray, radius: float) -> list[list[int]]:
    found = []
    for query in queries:
        distances = [sum((a - b) ** 2 for a, b in zip(query, other, strict=True)) for other in database]
        found.append([row for row, distance in enumerate(distances) if distance <= radius**2])
    return found


def write_npz(path: Path, **arrays) -> Path:
    values = {"utmQ": np.zeros((2, 2)), "utmDb": np.zeros((3, 2)), "posDistThr": 25} | arrays
    np.savez(path, **{name: value for name, value in values.items() if value is not None})
    return path


def refusal(path: Path, *args, **kwargs) -> str:
    """The message of the GroundTruthError that reading the file raises."""
    with pytest.raises(GroundTruthError) as caught:
        GroundTruth.read(path, *args, **kwargs)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- positions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_positives_equal_the_loop(dim: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Whole numbers, so that many pairs are exactly `radius` apart.
    queries, database = (generator.integers(0, 12, (n, dim)).astype(float) for n in (23, 41))
    for radius in (0, 1, 5, 100):
        truth = GroundTruth.from_positions(queries, database, radius)
        assert rows(truth) == brute_force(queries, database, radius)
        assert all(found.dtype == np.int64 for found in truth.positives)
        assert truth.without_positives == sum(not found for found in rows(truth))


def test_the_border_belongs_to_the_radius() -> None:
    database = np.array([[3.0, 4.0], [3.0, np.nextafter(4, 5)], [-5.0, 0.0]])
    truth = GroundTruth.from_positions(np.zeros((1, 2)), database, 5)
    assert rows(truth) == [[0, 2]]
    assert truth.protocol == "positives within 5 m"


@pytest.mark.parametrize(("queries", "database"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_has_no_positives(queries: int, database: int) -> None:
    truth = GroundTruth.from_positions(np.zeros((queries, 2)), np.zeros((database, 2)), 1)
    assert rows(truth) == [[]] * queries
    assert (len(truth), truth.database, truth.without_positives) == (queries, database, queries)


@pytest.mark.parametrize(
    ("queries", "database", "radius", "said"),
    [
        ([[np.nan, 0]], [[0, 0]], 1, "query positions must be finite"),
        ([[0, 0]], [[0, np.inf]], 1, "database positions must be finite"),
        ([0, 0], [[0, 0]], 1, "query positions must be finite numbers in rows"),
        ([[0, 0]], [[0, 0, 0]], 1, "query positions have 2 columns, database ones 3"),
        ([[0, 0]], [[0, 0]], -1, "at least 0 m, not -1"),
        ([[0, 0]], [[0, 0]], np.nan, "at least 0 m, not nan"),
    ],
)
def test_impossible_positions_are_refused(queries: list, database: list, radius: float, said: str) -> None:
    with pytest.raises(GroundTruthError, match=said):
        GroundTruth.from_positions(np.array(queries, dtype=float), np.array(database, dtype=float), radius)


# --- the reference's .npz -------------------------------------------------------------------------------------------


def test_npz_gives_positions_and_radius(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "gt.npz", utmQ=np.array([[0, 0], [50, 0]]), utmDb=np.array([[0, 25], [49, 0], [90, 0]]))
    assert rows(GroundTruth.read(path, QUERIES, DATABASE)) == [[0], [1]]
    overridden = GroundTruth.read(path, radius=40)
    assert rows(overridden) == [[0], [1, 2]]
    assert overridden.protocol == "positives within 40 m"


def test_npz_may_hold_frame_numbers(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "gt.npz", utmQ=np.arange(2), utmDb=np.arange(3), posDistThr=1)
    assert rows(GroundTruth.read(path)) == [[0, 1], [0, 1, 2]]


@pytest.mark.parametrize("radius", [25, 25.0, np.array([25]), np.array([[25.0]])])
def test_npz_may_hold_its_radius_in_any_shape(tmp_path: Path, radius) -> None:
    assert GroundTruth.read(write_npz(tmp_path / "gt.npz", posDistThr=radius)).protocol == "positives within 25 m"


def test_npz_without_a_radius_takes_the_one_given(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "gt.npz", posDistThr=None)
    assert rows(GroundTruth.read(path, radius=0)) == [[0, 1, 2]] * 2
    assert "posDistThr" in refusal(path)


@pytest.mark.parametrize("name", ["utmQ", "utmDb"])
def test_npz_without_positions_is_refused(tmp_path: Path, name: str) -> None:
    assert name in refusal(write_npz(tmp_path / "gt.npz", **{name: None}))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"utmQ": np.full((2, 2), np.nan)}, "query positions must be finite"),
        ({"utmDb": np.zeros((3, 1))}, "query positions have 2 columns, database ones 1"),
        ({"utmDb": np.array("text")}, "not a ground truth .npz"),
        ({"posDistThr": np.array([1, 2])}, "not a ground truth .npz"),
        ({"posDistThr": -3}, "at least 0 m"),
    ],
)
def test_npz_with_impossible_numbers_is_refused(tmp_path: Path, arrays: dict, said: str) -> None:
    assert said in refusal(write_npz(tmp_path / "gt.npz", **arrays))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((QUERIES[:1], DATABASE), "positions of 2 images for the queries, but 1 were given: use the image list"),
        ((QUERIES, DATABASE + QUERIES), "positions of 3 images for the database, but 5 were given: use"),
    ],
)
def test_npz_of_other_images_is_refused(tmp_path: Path, names: tuple, said: str) -> None:
    assert said in refusal(write_npz(tmp_path / "gt.npz"), *names)


class Trap:
    """Makes a folder if it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_pickles_are_refused_unexecuted(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    path = write_npz(tmp_path / "gt.npz", utmQ=np.array([trap], dtype=object))
    assert "utmQ.npy holds Python objects instead of numbers" in refusal(path)
    assert "allow_pickle" not in refusal(path)
    path.write_bytes(pickle.dumps(trap))
    refusal(path)
    assert not trap.folder.exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gt.npz"
    for content in (b"", b"not a zip", b"PK\x03\x04 and no more"):
        path.write_bytes(content)
        assert "utmQ, utmDb and posDistThr" in refusal(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 2)))
    assert "gives rows" in refusal(path)  # it is what its first bytes say


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_anywhere_gives_a_truth_or_a_named_error(tmp_path: Path, save) -> None:
    path = tmp_path / "gt.npz"
    save(path, utmQ=np.zeros((2, 2)), utmDb=np.ones((3, 2)), posDistThr=25)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        content = whole.copy()
        content[generator.integers(0, len(content), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(content.tobytes())
        try:
            GroundTruth.read(path)
        except GroundTruthError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 50


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist: give an .npz (utmQ, utmDb, posDistThr) or a .csv" in refusal(tmp_path / "gt.npz")


# --- csv ------------------------------------------------------------------------------------------------------------


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "query,positives\na.jpg,1.jpg;x/3.jpg\nb/c.jpg,x/2.jpg\n",
        "query,positives\nb/c.jpg,x/2.jpg\na.jpg,1.jpg\na.jpg,x/3.jpg;1.jpg\n",
        "place,positives,query\n7,1.jpg;x/3.jpg,a.jpg\n8,x/2.jpg,b/c.jpg\n",
        '\ufeffquery,positives\r\n"a.jpg","x/3.jpg; 1.jpg;"\r\n b/c.jpg , x/2.jpg\r\n',
        "query,positives\nq/a.jpg,set/db/1.jpg;set/db/x/3.jpg\nq/b/c.jpg,set/db/x/2.jpg\n",
        "query,positives\n/data/q/a.jpg,db/1.jpg;db/x/3.jpg\n/data/q/b/c.jpg,db/x/2.jpg\n",
        "query,positives\na.jpg,1.jpg;x/3.jpg;x/4.jpg\nb/c.jpg,x/2.jpg\nd.jpg,1.jpg\n",
    ],
    ids=["plain", "repeated", "other columns", "from a spreadsheet", "folders", "absolute", "more than there is"],
)
def test_csv_lists_positives_by_name(tmp_path: Path, text: str) -> None:
    truth = GroundTruth.read(write_csv(tmp_path / "gt.csv", text), QUERIES, DATABASE)
    assert rows(truth) == [[0, 2], [1]]
    assert (truth.database, truth.protocol) == (3, "positives listed in gt.csv")


def test_csv_prefix_is_the_one_under_which_most_names_meet(tmp_path: Path) -> None:
    # By itself db/x/1.jpg could be 1.jpg below db/x; the other names say that the root is db.
    names = ("1.jpg", "x/1.jpg", "x/2.jpg")
    path = write_csv(tmp_path / "gt.csv", "query,positives\na.jpg,db/x/1.jpg;db/x/2.jpg;db/1.jpg\n")
    assert rows(GroundTruth.read(path, ["a.jpg"], names)) == [[0, 1, 2]]
    path = write_csv(tmp_path / "gt.csv", "query,positives\na.jpg,db/x/1.jpg;db/x/2.jpg\n")
    assert rows(GroundTruth.read(path, ["a.jpg"], names)) == [[1, 2]]


def test_csv_queries_may_have_no_positive(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "gt.csv", "query,positives\na.jpg,\nb/c.jpg\n")
    truth = GroundTruth.read(path, QUERIES, DATABASE)
    assert rows(truth) == [[], []]
    assert truth.without_positives == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query,positive\na.jpg,1.jpg\n", "no column positives; it has query, positive"),
        ("", "no column query, positives; it has none"),
        ("query,positives\n", "is empty: it needs one line per query"),
        ("a.jpg,1.jpg\n", "no column query, positives; it has a.jpg, 1.jpg"),
        (
            "query,positives\nz.jpg,1.jpg\n",
            "names no image of the queries: it has 'z.jpg', among the queries is 'a.jpg'",
        ),
        (
            "query,positives\na.jpg,z.jpg\n",
            "names no image of the database: it has 'z.jpg', among the database is '1.jpg'",
        ),
        ("positives,query\n1.jpg\n", "names no image of the queries"),
    ],
)
def test_csv_that_does_not_meet_the_images_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(GroundTruthError, match=said) as caught:
        GroundTruth.read(write_csv(tmp_path / "gt.csv", text), QUERIES, DATABASE)
    assert str(tmp_path / "gt.csv") in str(caught.value)


def test_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gt.csv"
    path.write_bytes(b"query,positives\n\xff\xfe\x00")
    assert "cannot be read as a csv" in refusal(path, QUERIES, DATABASE)


def test_csv_without_lists_names_its_own_images(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "gt.CSV", "query,positives\na.jpg,10.jpg;2.jpg\nb.jpg,\n")
    truth = GroundTruth.read(path)
    assert (truth.query_names, truth.database_names) == (("a.jpg", "b.jpg"), ("2.jpg", "10.jpg"))
    assert (rows(truth), truth.complete) == ([[0, 1], []], False)
    assert GroundTruth.read(path, ["a.jpg", "b.jpg"], ["2.jpg", "10.jpg"]).complete
    assert "a radius does not apply" in refusal(path, QUERIES, DATABASE, radius=5)


def test_csv_names_may_lack_folders_that_the_images_have(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "gt.csv", "query,positives\na.jpg,1.jpg;x/2.jpg\n")
    assert rows(GroundTruth.read(path, ["set/q/a.jpg"], ["set/db/1.jpg", "set/db/x/2.jpg"])) == [[0, 1]]


# --- VPR-Bench's .npy -----------------------------------------------------------------------------------------------


def write_npy(path: Path, *lines: tuple) -> Path:
    """An array of (query row, positive rows), as VPR-Bench saves it."""
    array = np.empty((len(lines), 2), dtype=object)
    for row, (query, positives) in enumerate(lines):
        array[row, 0], array[row, 1] = query, positives
    np.save(path, array)
    return path


def test_npy_of_vpr_bench_lists_rows(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "gt.npy", (1, np.array([2, 0])), (0, [1]))
    truth = GroundTruth.read(path, QUERIES, DATABASE)
    assert rows(truth) == [[1], [0, 2]]
    assert truth.protocol == "positives listed in gt.npy"
    numbers = write_npy(tmp_path / "n.npy", (np.int64(0), []), (np.int32(1), [np.int64(2)]))
    assert rows(GroundTruth.read(numbers, QUERIES, DATABASE)) == [[], [2]]


def test_npy_of_vpr_bench_has_ranges_and_minus_one_for_none(tmp_path: Path) -> None:
    for lines in ([(0, range(1, 3)), (1, [-1])], [(0, [2, 1]), (1, -1)], [(0, range(1, 3)), (1, np.array([-1.0]))]):
        assert rows(GroundTruth.read(write_npy(tmp_path / "gt.npy", *lines), QUERIES, DATABASE)) == [[1, 2], []]
    old = tmp_path / "gt.npy"  # of Python 2: xrange(1, 3)
    content = pickle.dumps(np.array([[0, "here"], [1, [0]]], dtype=object), protocol=0)
    with open(old, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2, 2)})
        found = content.index(b"Vhere\n")
        file.write(content[:found] + b"c__builtin__\nxrange\n(I1\nI3\nI1\ntR" + content[found + 6 :])
    assert rows(GroundTruth.read(old, QUERIES, DATABASE)) == [[1, 2], [0]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([(0, [0])], "has 1 query, rows 0 to 0, but 2 were given: use the image list"),
        ([(0, [0]), (2, [0])], "has 2 queries, rows 0 to 2, but 2 were given"),
        ([(0, [0]), (0, [0])], "has 2 queries, rows 0 to 0, but 2 were given"),
        ([(0, [3]), (1, [0])], "query 0 has the positive 3, but the database has 3 images: use the image list"),
        ([(0, [-1, 1]), (1, [0])], "query 0 has the positive -1"),
        ([(0, range(2, 5)), (1, [0])], "query 0 has the positive 4, but the database has 3 images"),
        ([(0, range(2**50)), (1, [0])], "lists more than 1e+08 positives"),
        ([(0, [np.inf]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, [2**70]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, [0.5]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, [True]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, [[0, 1]]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, ["x"]), (1, [0])], "is not a ground truth of VPR-Bench"),
        ([(0, None), (1, [0])], "is not a ground truth of VPR-Bench"),
    ],
)
def test_npy_that_cannot_be(lines: list, said: str, tmp_path: Path) -> None:
    assert said in refusal(write_npy(tmp_path / "gt.npy", *lines), QUERIES, DATABASE)


def test_npy_needs_lists_and_other_arrays_are_refused(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "gt.npy", (0, [0]))
    assert "reading it needs the image lists of queries and database" in refusal(path)
    assert "a radius does not apply" in refusal(path, QUERIES, DATABASE, radius=5)
    for array in (np.zeros((2, 3)), np.zeros(4), np.array("text")):
        np.save(path, array)
        assert "is not a ground truth of VPR-Bench" in refusal(path, QUERIES, DATABASE)
    path.write_bytes(b"\x93NUMPY\x09\x00")
    assert "is not a ground truth of VPR-Bench" in refusal(path, QUERIES, DATABASE)


def write_triple(folder: Path, *positives, names: tuple = ("gt", "qImages", "dbImages")) -> Path:
    """Positives by row, and the lists of names beside them, as GSV-Cities has them."""
    lists = np.empty(len(positives), dtype=object)
    lists[:] = positives
    np.save(folder / f"set_{names[0]}.npy", lists)
    np.save(folder / f"set_{names[1]}.npy", np.array(["query/a.jpg", "query/b.jpg", "query/c.jpg"]))
    np.save(folder / f"set_{names[2]}.npy", np.array([f"ref/{row}.jpg" for row in range(4)], dtype=object))
    return folder / f"set_{names[0]}.npy"


@pytest.mark.parametrize(
    "names", [("gt", "qImages", "dbImages"), ("ground_truth_25m", "query_image_names", "ref_image_names")]
)
def test_npy_with_lists_of_names_goes_by_name(names: tuple, tmp_path: Path) -> None:
    path = write_triple(tmp_path, np.array([0, 1]), [-1], np.array([3]), names=names)
    truth = GroundTruth.read(path)
    assert rows(truth) == [[0, 1], [], [3]]
    assert (truth.query_names, truth.complete) == (("query/a.jpg", "query/b.jpg", "query/c.jpg"), True)
    # In another order, below other folders, with other suffixes, and without some.
    again = GroundTruth.read(path, ["c.png", "a.png"], ["set/3.png", "set/1.png", "set/2.png"])
    assert rows(again) == [[0], [1]]
    assert "does not know 1 of 2 images of the queries, such as query/x.jpg" in refusal(
        path, ["query/a.jpg", "query/x.jpg"], ["ref/1.jpg"]
    )


def test_npy_of_msls_lists_the_queries_that_have_positives(tmp_path: Path) -> None:
    path = write_triple(tmp_path, np.array([0, 1]), np.array([3]), names=("pIdx", "qImages", "dbImages"))
    np.save(tmp_path / "set_qIdx.npy", np.array([2, 0]))
    assert rows(GroundTruth.read(path)) == [[3], [], [0, 1]]
    np.save(tmp_path / "set_qIdx.npy", np.array([2, 2]))
    assert "does not list the positives of each query of set_qImages.npy (2 rows for 1 query)" in refusal(path)


def test_npy_with_lists_that_do_not_fit_is_refused(tmp_path: Path) -> None:
    assert "(2 rows for 3 queries)" in refusal(write_triple(tmp_path, [0], [1]))
    assert "query 1 has the positive 4, but the database has 4 images" in refusal(write_triple(tmp_path, [0], [4], [1]))
    path = write_triple(tmp_path, [0], [1], [2])
    for names, said in (
        (["a", "a"], "names a twice"),
        ([1, 2], r"is not a list of image names \(it should be an array"),
    ):
        np.save(tmp_path / "set_dbImages.npy", np.array(names))
        with pytest.raises(GroundTruthError, match=f"set_dbImages.npy {said}"):
            GroundTruth.read(path)


def test_npy_executes_nothing(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    for hidden in (trap, [trap], np.array([trap], dtype=object)):
        path = write_npy(tmp_path / "gt.npy", (0, hidden), (1, [0]))
        assert "mkdir, which no array of numbers needs" in refusal(path, QUERIES, DATABASE)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2, 2)})
        file.write(pickle.dumps(trap))
    refusal(path, QUERIES, DATABASE)
    assert not trap.folder.exists()


def test_npy_damaged_anywhere_gives_a_truth_or_a_named_error(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "gt.npy", (0, [0, 1]), (1, [2]))
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for seed in range(200):
        generator = np.random.default_rng(seed)
        content = whole.copy()
        content[generator.integers(0, len(content), 2)] = generator.integers(0, 256, 2)
        path.write_bytes(content.tobytes()[: generator.integers(10, len(content) + 1)])
        try:
            GroundTruth.read(path, QUERIES, DATABASE)
        except GroundTruthError as error:
            assert str(path) in str(error)


# --- .mat -----------------------------------------------------------------------------------------------------------


def write_mat(path: Path, **changed) -> Path:
    """A dbStruct as NetVLAD's authors save it: names in cells, positions in columns."""
    from scipy.io import savemat

    cells = lambda *names: np.array([[name] for name in names], dtype=object)  # noqa: E731
    fields = {
        "whichSet": "test",
        "dbImageFns": cells("000/000000_pitch1_yaw1.jpg", "000/000001_pitch1_yaw1.jpg", "001/000002_pitch1_yaw1.jpg"),
        "utmDb": np.array([[585001.5, 585010.5, 585100.5], [4477000.0, 4477000.0, 4477000.0]]),
        "qImageFns": cells("q/a.jpg", "q/b.jpg"),
        "utmQ": np.array([[585000.5, 585110.5], [4477000.0, 4477000.0]]),
        "numImages": 3.0,
        "numQueries": 2.0,
        "posDistThr": 25.0,
        "posDistSqThr": 625.0,
    }
    fields |= changed
    savemat(
        path, {"dbStruct": {name: value for name, value in fields.items() if value is not None}}, do_compression=True
    )
    return path


def test_a_dbstruct_goes_by_name(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "pitts.mat")
    truth = GroundTruth.read(path)
    assert rows(truth) == [[0, 1], [2]]
    assert truth.query_names == ("q/a.jpg", "q/b.jpg")
    assert truth.database_names[0] == "000/000000_pitch1_yaw1.jpg"
    assert rows(GroundTruth.read(path, radius=5)) == [[0], []]
    # Fewer images, in another order, with another suffix (Tokyo 24/7's are .jpg in the file and .png on disk).
    some = GroundTruth.read(
        path, ["b.jpg", "a.jpg"], ["set/001/000002_pitch1_yaw1.png", "set/000/000000_pitch1_yaw1.png"]
    )
    assert rows(some) == [[0], [1]]
    assert "does not know 1 of 2 images of the queries, such as q/c.jpg" in refusal(path, ["q/a.jpg", "q/c.jpg"], None)
    (tmp_path / "renamed.npz").write_bytes(path.read_bytes())  # it is what its first bytes say
    assert rows(GroundTruth.read(tmp_path / "renamed.npz")) == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"utmQ": None}, "its dbStruct has no utmQ"),
        ({"utmDb": np.zeros((2, 5))}, "positions of shape (2, 5) for 3 images"),
        ({"utmQ": np.array([[np.nan, 1], [2, 3]])}, "positions must be finite numbers"),
        ({"utmQ": np.array([["a", "b"], ["c", "d"]])}, "for 2 images"),
        ({"qImageFns": np.array([["q/a.jpg"], ["q/a.jpg"]], dtype=object)}, "it names an image twice"),
        ({"qImageFns": np.zeros((0, 0), dtype=object)}, "it names no images"),
        ({"posDistThr": np.inf}, "the radius must be at least 0 m"),
    ],
)
def test_a_dbstruct_that_cannot_be_is_refused(changed: dict, said: str, tmp_path: Path) -> None:
    assert said in refusal(write_mat(tmp_path / "gt.mat", **changed))


def test_other_mat_files_are_refused_by_what_they_hold(tmp_path: Path) -> None:
    from scipy.io import savemat

    path = tmp_path / "gt.mat"
    savemat(path, {"GroundTruth": np.eye(3), "x": 1})
    assert "it has no dbStruct, but GroundTruth, x" in refusal(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(400))
    assert "it is of MATLAB 7.3, which is HDF5: save it with -v7" in refusal(path)
    path.write_bytes(b"")
    assert "is not a ground truth .mat" in refusal(path)


def test_mat_damaged_anywhere_gives_a_truth_or_a_named_error(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "gt.mat")
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for seed in range(100):
        generator = np.random.default_rng(seed)
        content = whole.copy()
        content[generator.integers(0, len(content), 2)] = generator.integers(0, 256, 2)
        path.write_bytes(content.tobytes()[: generator.integers(10, len(content) + 1)])
        try:
            GroundTruth.read(path)
        except GroundTruthError as error:
            assert str(path) in str(error)


def test_a_mat_that_unpacks_to_more_than_a_truth_holds_is_refused(tmp_path: Path, monkeypatch) -> None:
    from patchvlad.files import matlab

    path = write_mat(tmp_path / "gt.mat", more=np.zeros((1000, 1000)))
    monkeypatch.setattr(matlab, "UNPACKED", 1 << 20)
    assert "it holds more than 1.05 MB" in refusal(path)


# --- written and described ------------------------------------------------------------------------------------------


def test_names_in_an_npz_are_checked(tmp_path: Path) -> None:
    truth = GroundTruth.from_positions(np.zeros((2, 2)), np.zeros((3, 2)), 5).named(QUERIES, DATABASE)
    truth.write(tmp_path / "gt.npz")
    again = GroundTruth.read(tmp_path / "gt.npz")
    assert (again.query_names, again.database_names) == (QUERIES, DATABASE)
    below = GroundTruth.read(tmp_path / "gt.npz", [f"q/{name}" for name in QUERIES], DATABASE)
    assert below.query_names == ("q/a.jpg", "q/b/c.jpg")
    swapped = GroundTruth.read(tmp_path / "gt.npz", QUERIES[::-1], DATABASE)
    assert swapped.query_names == QUERIES[::-1]  # each query with its own positives: see test_row_order.py
    assert "says nothing of z.jpg" in refusal(tmp_path / "gt.npz", (QUERIES[0], "z.jpg"), DATABASE)
    assert "names no image of the database" in refusal(tmp_path / "gt.npz", QUERIES, ("x", "y", "z"))


def test_a_csv_holds_no_semicolons_and_needs_names(tmp_path: Path) -> None:
    truth = GroundTruth.from_rows([[0]], 1, "by hand")
    with pytest.raises(GroundTruthError, match=r"a .csv names its images: give their lists"):
        truth.write(tmp_path / "gt.csv")
    with pytest.raises(GroundTruthError, match=r"cannot hold names with a semicolon, such as a;b: write an .npz"):
        truth.named(["a;b"], ["c"]).write(tmp_path / "gt.csv")
    with pytest.raises(GroundTruthError, match=r"is written as .npz or .csv"):
        truth.write(tmp_path / "gt.txt")
    assert not list(tmp_path.iterdir())


def test_what_was_made_is_told() -> None:
    positives = [[], [0], [1], [0, 1, 2], list(range(30)), []]
    truth = GroundTruth.from_rows(positives, 30, "by hand").named(list("abcdef"), list(map(str, range(30))))
    assert truth.describe().splitlines() == [
        "6 queries, 30 database images, by hand",
        "          0 positives:      2 queries",
        "          1 positive :      2 queries",
        "     2 to 5 positives:      1 query",
        "21 and more positives:      1 query",
        "without any: a, f",
    ]


def test_a_csv_that_meets_in_part_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "query,positives\na.jpg,1.jpg;x/9.jpg\nz.jpg,1.jpg\n"
    assert rows(GroundTruth.read(write_csv(tmp_path / "gt.csv", text), QUERIES, DATABASE)) == [[0], []]
    assert [message.split(": ", 1)[-1] for message in caplog.messages] == [
        "1 of 2 names, such as z.jpg, are not of the queries",
        "1 of 2 names, such as x/9.jpg, are not of the database",
        f"{tmp_path / 'gt.csv'} has no line for 1 query, such as b/c.jpg",
    ]


@pytest.mark.parametrize("separator", [",", " , ", "|", " "])
def test_positives_that_are_separated_wrongly_are_refused(separator: str, tmp_path: Path) -> None:
    listed = separator.join(["1.jpg", "x/2.jpg"])
    path = write_csv(tmp_path / "gt.csv", f'query,positives\na.jpg,"{listed}"\n')
    assert "looks like several positives: they are separated by ;" in refusal(path, QUERIES, DATABASE)
    path = write_csv(tmp_path / "gt.csv", "query,positives\na.jpg,1.jpg,x/2.jpg\n")
    assert "line 2: 3 fields for 2 columns" in refusal(path, QUERIES, DATABASE)


@pytest.mark.parametrize("limit", [-1, 181, np.nan])
def test_headings_differ_by_half_a_turn_at_most(limit: float) -> None:
    with pytest.raises(GroundTruthError, match="headings differ by 0 to 180 degrees"):
        GroundTruth.from_positions(np.zeros((1, 2)), np.zeros((1, 2)), 1, heading_limit=limit)
