"""Camera poses: what each benchmark's file means, transfer, errors, and the file that is submitted."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from patchvlad.errors import GroundTruthError
from patchvlad.evaluate.pose_errors import pose_errors, shares_within
from patchvlad.places.poses import Poses, read_poses
from patchvlad.results.exports import transfer, write_ltvl
from patchvlad.search.ranking import Ranking


def random_poses(names: list[str], seed: int = 0) -> tuple[Poses, Rotation, np.ndarray]:
    """Poses, and the same as rotations and camera centres."""
    generator = np.random.default_rng(seed)
    rotations = Rotation.random(len(names), random_state=generator)
    centres = generator.normal(scale=30, size=(len(names), 3))
    quaternions = np.roll(rotations.as_quat(), 1, axis=1)
    return Poses(tuple(names), quaternions, -rotations.apply(centres)), rotations, centres


def same(found: Poses, expected: Poses) -> None:
    assert found.names == expected.names
    np.testing.assert_allclose(found.centres, expected.centres, atol=1e-9)
    turn = (
        Rotation.from_quat(np.roll(found.rotations, -1, axis=1))
        * Rotation.from_quat(np.roll(expected.rotations, -1, axis=1)).inv()
    )
    np.testing.assert_allclose(turn.magnitude(), 0, atol=1e-7)


def lines(names, *columns) -> str:
    rows = zip(names, *columns, strict=True)
    return "".join(
        " ".join([name, *(repr(float(v)) for part in parts for v in np.ravel(part))]) + "\n" for name, *parts in rows
    )


def test_the_camera_stands_where_its_pose_says() -> None:
    poses, _, centres = random_poses(list("abc"))
    np.testing.assert_allclose(poses.centres, centres)
    # A camera at (1, 2, 3) that looks along the world's axes sees the origin at (-1, -2, -3).
    assert Poses(("a",), np.array([[1.0, 0, 0, 0]]), np.array([[-1.0, -2, -3]])).centres.tolist() == [[1, 2, 3]]


def test_the_benchmarks_files(tmp_path: Path) -> None:
    names = ["rear/1.jpg", "rear/2.jpg"]
    poses, rotations, centres = random_poses(names)
    ltvl = tmp_path / "poses.txt"
    ltvl.write_text("# comment\n" + lines(names, poses.rotations, poses.translations))
    same(read_poses([ltvl]), poses)
    cmu = tmp_path / "ground-truth-database-images-slice2.txt"  # the camera's position, not its translation
    cmu.write_text(lines(names, poses.rotations, centres))
    same(read_poses([cmu]), poses)
    same(read_poses([ltvl], "ltvl"), poses)
    robotcar = tmp_path / "robotcar_v2_train.txt"  # camera to world
    matrices = np.tile(np.eye(4), (2, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = rotations.inv().as_matrix(), centres
    robotcar.write_text(lines(names, matrices))
    same(read_poses([robotcar]), poses)
    same(
        read_poses([ltvl, robotcar]),
        Poses((*names, *names), *(np.tile(v, (2, 1)) for v in (poses.rotations, poses.translations))),
    )


@pytest.mark.filterwarnings("ignore")
def test_kapture_folders_as_kapture_writes_them(tmp_path: Path) -> None:
    import kapture
    from kapture.io.csv import kapture_to_dir

    poses, _, _ = random_poses(["cam/1.jpg", "cam/2.jpg"])
    records, trajectories = kapture.RecordsCamera(), kapture.Trajectories()
    for stamp, name in enumerate(poses.names):
        records[stamp, "cam"] = name
        trajectories[stamp, "cam"] = kapture.PoseTransform(r=poses.rotations[stamp], t=poses.translations[stamp])
    sensors = kapture.Sensors()
    sensors["cam"] = kapture.Camera(kapture.CameraType.SIMPLE_PINHOLE, [640, 480, 500, 320, 240])
    kapture_to_dir(str(tmp_path), kapture.Kapture(sensors=sensors, records_camera=records, trajectories=trajectories))
    same(read_poses([tmp_path]), poses)


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("", None, "is empty: it holds no pose"),
        ("a.jpg 1 0 0\n", None, "line 1: 3 numbers; it should read name qw qx qy qz tx ty tz"),
        ("a.jpg 1 0 0 0 x 0 0\n", None, "line 1: could not convert"),
        ("a.jpg 1 0 0 0 nan 0 0\n", None, "line 1: a number that is not finite"),
        ("a.jpg 2 0 0 0 0 0 0\n", None, "line 1: a quaternion of length 2"),
        ("a.jpg 1 0 0 0 0 0 0\n", "robotcar", "line 1: 7 numbers"),
        ("a.jpg 1 0 0 0 0 0 0\n", "nvm", "unknown format of poses 'nvm': choose from ltvl, cmu, robotcar, kapture"),
    ],
)
def test_files_that_cannot_be(text: str, form: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(GroundTruthError, match=said):
        read_poses([tmp_path / "p.txt"], form)


def test_names_meet_although_folders_and_suffixes_differ() -> None:
    poses, _, _ = random_poses(["rear/1.png", "rear/2.png", "rear/9.png"])
    found = poses.of(["night/rear/2.jpg", "night/rear/3.jpg"], "p.txt", "queries")
    assert found.known.tolist() == [True, False]
    np.testing.assert_array_equal(found.translations[0], poses.translations[1])
    with pytest.raises(GroundTruthError, match=r"p.txt names no image of the queries"):
        poses.of(["rear/7.jpg"], "p.txt", "queries")


def test_the_best_matchs_pose_is_copied_and_measured() -> None:
    still = np.array([[1.0, 0, 0, 0]])
    turned = np.roll(Rotation.from_euler("y", 4, degrees=True).as_quat(), 1)[None]
    true = Poses(("a", "b", "c", "d"), np.tile(still, (4, 1)), np.zeros((4, 3)))
    true.rotations[3] = np.nan  # has no true pose: does not count
    database = Poses(
        ("1", "2", "3"), np.concatenate([still, turned, still]), np.array([[0.2, 0, 0], [0, 0.4, 0], [0, 0, -6.0]])
    )
    indices = np.array([[0, 1], [1, 0], [-1, -1], [0, 1]])
    ranking = Ranking(indices, np.zeros((4, 2)), true.names, database.names)
    metres, degrees = pose_errors(transfer(ranking, database), true)
    np.testing.assert_allclose(metres, [0.2, 0.4, np.inf, np.nan])
    np.testing.assert_allclose(degrees, [0, 4, np.inf, np.nan], atol=1e-9)
    assert shares_within(metres, degrees) == [1 / 3, 2 / 3, 2 / 3]
    assert shares_within(np.full(2, np.nan), np.full(2, np.nan)) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_errors_equal_those_of_matrices(seed: int) -> None:
    poses, rotations, centres = random_poses(list("abcdefgh"), seed)
    others, other_rotations, other_centres = random_poses(list("abcdefgh"), seed + 10)
    metres, degrees = pose_errors(poses, others)
    for row in range(8):
        assert metres[row] == pytest.approx(np.linalg.norm(centres[row] - other_centres[row]))
        trace = np.trace(rotations[row].as_matrix().T @ other_rotations[row].as_matrix())
        assert degrees[row] == pytest.approx(np.degrees(np.arccos((trace - 1) / 2)))


def test_what_is_submitted(tmp_path: Path) -> None:
    poses, _, _ = random_poses(["night/rear/1.jpg", "night/rear/2.jpg"])
    poses.rotations[1] = np.nan
    assert write_ltvl(tmp_path / "p.txt", poses, folders=1) == 1
    (line,) = (tmp_path / "p.txt").read_text().splitlines()
    assert line.split()[0] == "rear/1.jpg"
    same(read_poses([tmp_path / "p.txt"]), Poses(("rear/1.jpg",), poses.rotations[:1], poses.translations[:1]))
    with pytest.raises(GroundTruthError, match=r"two images become 1.jpg: keep more folders"):
        write_ltvl(tmp_path / "p.txt", random_poses(["left/1.jpg", "rear/1.jpg"])[0])
    with pytest.raises(GroundTruthError, match="knows no spaces"):
        write_ltvl(tmp_path / "p.txt", random_poses(["a b.jpg"])[0])


def test_suffixes_tell_images_apart_where_they_must() -> None:
    poses, _, _ = random_poses(["f.jpg", "f.png", "g.jpg"])
    found = poses.of(["f.png", "f.jpg", "g.jpg"], "p.txt", "database")
    np.testing.assert_array_equal(found.translations, poses.translations[[1, 0, 2]])
    twice = Poses(("a", "a"), poses.rotations[:2], poses.translations[:2])
    with pytest.raises(GroundTruthError, match=r"p.txt has two poses of a that differ"):
        twice.of(["a"], "p.txt", "database")


def test_a_matrix_that_is_no_pose_is_refused(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 5
    for wrong in (matrix.T, 2 * np.eye(4)):
        (tmp_path / "p.txt").write_text(lines(["a.jpg"], [wrong]))
        with pytest.raises(GroundTruthError, match="line 1: a matrix that is not a pose: its last row must be 0 0 0 1"):
            read_poses([tmp_path / "p.txt"])


def test_images_without_a_pose_are_told_and_a_turned_sign_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    poses, _, _ = random_poses(["rear/1.jpg", "rear/2.jpg"])
    same_again = Poses(
        (*poses.names, "rear/1.jpg"), np.vstack([poses.rotations, -poses.rotations[:1]]), poses.translations[[0, 1, 0]]
    )
    found = same_again.of(["dawn/rear/1.jpg", "night/rear/2.jpg", "dawn/rear/3.jpg"], "p.txt", "queries")
    assert found.known.tolist() == [True, False, False]
    assert caplog.messages[-1] == "p.txt has no pose of 2 of 3 images of the queries, such as night/rear/2.jpg"


def test_numbers_behind_a_dot_are_no_suffix() -> None:
    poses, _, _ = random_poses(["img.1", "img.2"])
    assert poses.of(["img.1.jpg", "img.2.jpg"], "p.txt", "queries").known.all()
