"""Places: where photos were taken, which of them show the same place, and how published benchmarks count."""
