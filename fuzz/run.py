"""Fuzzes one reader of files, or all in turn: every error but a named one is a find. Needs the extra `fuzz`.

    python fuzz/run.py settings -max_total_time=120
    python fuzz/run.py all 60                       # each for 60 seconds in all, again after a find

Corpora grow in fuzz/corpus/TARGET; finds are written to fuzz/finds/TARGET-crash-*, timeout-* or oom-*.
"""

import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
MOST_FINDS = 20  # of one reader, which is begun again after each
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]


def fuzz(name: str, options: list[str]) -> None:
    """Fuzzes one reader in this process, until it is told to end or finds something."""
    import atheris
    import cv2  # noqa: F401  what is imported before is not instrumented
    import h5py  # noqa: F401
    import scipy.spatial.transform  # noqa: F401
    import torch  # noqa: F401

    with atheris.instrument_imports(include=["patchvlad"]):
        import fuzz_targets

    logging.disable()
    warnings.simplefilter("ignore")
    fuzz_targets.toy_backbone()
    target, folder = fuzz_targets.TARGETS[name], fuzz_targets.scratch()
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    finds = HERE / "finds"
    finds.mkdir(exist_ok=True)
    limits = ["-timeout=10", "-rss_limit_mb=4096", "-max_len=65536", f"-artifact_prefix={finds}/{name}-"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], lambda data: fuzz_targets.feed(target, data, folder))
    atheris.Fuzz()


def main() -> None:
    """Fuzzes the reader of the first word."""
    name, *options = sys.argv[1:]
    if name != "all":
        fuzz(name, options)
        return
    import fuzz_targets

    for one in fuzz_targets.TARGETS:
        end = time.monotonic() + float(options[0])
        for seed in range(1, MOST_FINDS):
            left = int(end - time.monotonic())
            if left < 1:
                break
            print(f"=== {one}, {left} s", flush=True)
            subprocess.run([sys.executable, __file__, one, f"-max_total_time={left}", f"-seed={seed}"])


if __name__ == "__main__":
    main()
