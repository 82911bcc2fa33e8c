"""Poses as a truth source: where the cameras stood, by COLMAP's own reading, by time, and in arrays of poses."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny import write_photos

from patchvlad.errors import GroundTruthError
from patchvlad.images.lists import ImageList
from patchvlad.places.ground_truth import GroundTruth
from patchvlad.places.poses import format_of, read_poses
from patchvlad.places.truth_making import make_ground_truth

Run = Callable[..., tuple[int, str, str]]
COLMAP = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
1 {} {} {} {} {} {} {} 1 db/a 1.jpg
2.5 3.5 -1 4.5 5.5 7
2 1 0 0 0 -10 0 0 1 db/2.jpg

3 1 0 0 0 -11 0 0 1 q/3.jpg

"""


def images(*names: str) -> ImageList:
    return ImageList(Path("root"), names)


def write_colmap(path: Path) -> np.ndarray:
    """images.txt with an image at a known centre, turned; returns the centre."""
    turned, centre = Rotation.from_euler("xyz", (30, 40, 50), degrees=True), np.array([12.0, -3.0, 4.0])
    path.write_text(COLMAP.format(*np.roll(turned.as_quat(), 1), *-turned.apply(centre)))
    return centre


def test_colmaps_centres_are_those_of_pycolmap(tmp_path: Path) -> None:
    """Poses are camera from world: the centre is -R't, and not t."""
    pycolmap = pytest.importorskip("pycolmap")
    generator = np.random.default_rng(0)
    made = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=640, height=480, params=[500, 320, 240], camera_id=1)
    made.add_camera_with_trivial_rig(camera)
    for row in range(6):
        turn = pycolmap.Rotation3d(Rotation.random(random_state=generator).as_quat())
        image = pycolmap.Image(name=f"db/{row}.jpg", camera_id=1, image_id=row + 1)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(generator.uniform(0, 400, 2)) for _ in range(row % 3)])
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(turn, generator.normal(scale=30, size=3)))
    made.write_text(str(tmp_path))
    theirs = pycolmap.Reconstruction(str(tmp_path))
    for path in (tmp_path / "images.txt", tmp_path):
        assert format_of(path) == "colmap"
        ours = read_poses([path])
        assert len(ours.names) == 6
        for name, centre in zip(ours.names, ours.centres, strict=True):
            (image,) = [one for one in theirs.images.values() if one.name == name]
            np.testing.assert_allclose(centre, image.projection_center(), atol=1e-9)


def test_colmap_is_a_truth_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    centre = write_colmap(tmp_path / "images.txt")
    truth = make_ground_truth(images("3.jpg"), images("a 1.jpg", "2.jpg"), [tmp_path / "images.txt"], radius=2)
    assert truth.positives[0].tolist() == [1]
    np.testing.assert_allclose(truth.points[1][0], centre, atol=1e-9)
    assert truth.protocol == "positives within 2 m (images.txt, camera centres)"
    assert "the units of COLMAP's poses are taken for metres" in caplog.text
    with pytest.raises(
        GroundTruthError, match=r"images.txt has no pose of 1 of 2 images of the database, such as 9.jpg"
    ):
        make_ground_truth(images("3.jpg"), images("2.jpg", "9.jpg"), [tmp_path / "images.txt"])
    with pytest.raises(GroundTruthError, match=r"holds poses, whose headings are not read"):
        make_ground_truth(images("3.jpg"), images("2.jpg"), [tmp_path / "images.txt"], heading_limit=30)


@pytest.mark.parametrize("line", ["1 1 0 0 0 0 0 0 1", "1 5 0 0 0 0 0 0 1 a.jpg", "1 1 0 0 0 x 0 0 1 a.jpg"])
def test_colmap_that_cannot_be_is_refused_by_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text(f"# images\n{line}\n\n")
    with pytest.raises(
        GroundTruthError, match=r"images.txt, line 2: .* should read id qw qx qy qz tx ty tz camera name"
    ):
        read_poses([tmp_path / "images.txt"], "colmap")


# --- by time --------------------------------------------------------------------------------------------------------

START = 1305031102.175304


def write_trajectory(path: Path, every: float = 0.1, count: int = 100) -> Path:
    """A camera that goes a metre per second along x, and looks somewhere else."""
    turn = " ".join(f"{part:.6f}" for part in Rotation.from_euler("z", 90, degrees=True).as_quat())
    lines = [f"{START + every * row:.6f} {every * row:.6f} 0 0 {turn}" for row in range(count)]
    path.write_text("\n".join(["# timestamp tx ty tz qx qy qz qw", *lines]))
    return path


def test_a_trajectory_meets_photos_by_time(tmp_path: Path) -> None:
    path = write_trajectory(tmp_path / "groundtruth.txt")
    assert format_of(path) == "tum"
    queries, database = images(f"rgb/{START + 0.15:.6f}.png"), images(f"{START:.6f}.png", f"{START + 5:.6f}.png")
    truth = make_ground_truth(queries, database, [path], radius=2)
    np.testing.assert_allclose(truth.points[0], [[0.15, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(truth.points[1][:, 0], [0, 5], atol=1e-5)
    assert truth.protocol == "positives within 2 m (groundtruth.txt, trajectory)"


@pytest.mark.parametrize("unit", [1e3, 1e6, 1e9])
def test_times_in_names_may_be_of_smaller_units(unit: float, tmp_path: Path) -> None:
    path = write_trajectory(tmp_path / "groundtruth.txt")
    names = [f"{round((START + seconds) * unit)}.png" for seconds in (0, 3)]
    truth = make_ground_truth(images(names[0]), images(names[1]), [path], radius=4)
    np.testing.assert_allclose(np.concatenate(truth.points)[:, 0], [0, 3], atol=1e-3)


@pytest.mark.parametrize(
    "lines", ["{:.6f} rgb/a.png\n{:.6f} rgb/b.png\n", "{:.6f} rgb/a.png 0 d/a.png\n{:.6f} rgb/b.png 0 d/b.png"]
)
def test_times_may_be_listed(lines: str, tmp_path: Path) -> None:
    path = write_trajectory(tmp_path / "groundtruth.txt")
    listed = tmp_path / "rgb.txt"
    listed.write_text("# timestamp filename\n" + lines.format(START + 1, START + 2))
    truth = make_ground_truth(images("a.png"), images("b.png"), [path, listed], radius=4)
    np.testing.assert_allclose(np.concatenate(truth.points)[:, 0], [1, 2], atol=1e-5)
    with pytest.raises(GroundTruthError, match="has no time of 1 of 2 images of the queries, such as c"):
        make_ground_truth(images("a.png", "c.png"), images("b.png"), [path, listed])


def test_times_without_a_pose_are_named(tmp_path: Path) -> None:
    path = write_trajectory(tmp_path / "groundtruth.txt", every=2.0, count=5)
    inside, beside = images(f"{START + 2.01:.6f}.png"), images(f"{START + 3:.6f}.png")
    make_ground_truth(inside, inside, [path])
    with pytest.raises(GroundTruthError, match="no pose at the times of 1 of 1 images of the database, such as 1305"):
        make_ground_truth(inside, beside, [path])
    with pytest.raises(GroundTruthError, match=r"goes by time, and a.png is not a time: .* such as rgb.txt"):
        make_ground_truth(images("a.png"), beside, [path])
    with pytest.raises(GroundTruthError, match="one trajectory of times and poses goes with lists of times"):
        make_ground_truth(inside, inside, [path, write_trajectory(tmp_path / "2.txt")])
    with pytest.raises(GroundTruthError, match="a trajectory of times and poses, which names no images"):
        read_poses([path])


# --- arrays of poses ------------------------------------------------------------------------------------------------


def test_poses_in_an_npz_are_refused_or_read_as_such(run: Run, tmp_path: Path) -> None:
    """Quaternions would count as metres, and every photo that looks elsewhere would be far away."""
    write_photos(tmp_path)
    counts = [len(ImageList.read(tmp_path / side)) for side in ("queries", "database")]
    turns = Rotation.random(sum(counts), random_state=np.random.default_rng(0)).as_quat()
    poses = np.column_stack([100.0 * np.arange(sum(counts)), np.zeros((sum(counts), 2)), turns])
    np.savez(
        "poses.npz",
        utmQ=poses[: counts[0]],
        utmDb=poses[counts[0] :] - [100.0 * counts[0], 0, 0, 0, 0, 0, 0],
        posDistThr=0.5,
    )
    sides = ("--queries", "queries", "--database", "database")
    code, _, err = run("match", *sides, "--ground-truth", "poses.npz", "--out", "r")
    assert code == 1
    assert "utmQ has 7 columns, as poses have. Use 'patchvlad ground-truth --from FILE --poses'" in err
    order = ("--row-order", "natural")
    code, _, err = run("ground-truth", *sides, "--from", "poses.npz", "--poses", "--out", "gt.npz", *order)
    assert code == 0, err
    truth = GroundTruth.read("gt.npz")
    assert [rows.tolist() for rows in truth.positives] == [[row] for row in range(counts[0])]
    for words, said in (
        (("--from", "names", "--poses"), "--poses says what an .npz holds"),
        (("--from", "gt.csv", "--poses"), "is not an .npz: --poses says"),
    ):
        Path("gt.csv").write_text("query,positives\n")
        code, _, err = run("ground-truth", *sides, *words, "--out", "x.npz")
        assert code in (1, 2)
        assert said in err


@pytest.mark.parametrize("columns", [4, 6, 8])
def test_arrays_of_other_widths_are_refused(columns: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "gt.npz", utmQ=np.zeros((2, columns)), utmDb=np.zeros((2, columns)), posDistThr=5)
    with pytest.raises(GroundTruthError, match=f"utmQ has {columns} columns, not"):
        GroundTruth.read(tmp_path / "gt.npz")
