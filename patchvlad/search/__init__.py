"""Feature stores to rankings: candidates by global descriptor, matching, re-ranking."""
