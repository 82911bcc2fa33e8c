"""Where live pictures go: a page, a window, a video; and how fast they went."""
