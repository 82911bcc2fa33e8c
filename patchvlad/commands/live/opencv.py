"""What OpenCV says by itself of cameras and videos: nothing."""

import os


def quiet_opencv() -> None:
    """For this process's life: what goes wrong is told in one line of ours. Call before OpenCV opens a video."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    logging = getattr(getattr(cv2, "utils", None), "logging", cv2)  # of OpenCV 5, and of 4
    logging.setLogLevel(0)
