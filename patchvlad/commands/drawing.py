"""Pictures that commands draw of matches."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..features.store import FeatureStore
    from ..images.lists import ImageList
    from ..images.sides import Sides
    from ..search.plan import Plan
    from ..search.ranking import Ranking


def draw_best(
    ranking: "Ranking",
    stores: "Sides[FeatureStore]",
    photos: "Sides[ImageList]",
    plan: "Plan",
    folder: Path,
    count: int,
) -> list[Path]:
    """Draws the best match of the first `count` queries into a folder; returns the pictures' paths."""
    from ..evaluate.figures import Pictured, write_match_figure
    from ..search.searching import matcher_of, reader

    drawn, read, matcher = [], reader(plan), matcher_of(plan)
    for row in range(min(count, len(ranking.query_names))):
        best = ranking.indices[row, 0]
        if best < 0:
            continue
        match = matcher(read(stores.queries, row), read(stores.database, best))
        query, found = ranking.query_names[row], ranking.database_names[best]
        drawn.append(folder / f"{row:06d}_{Path(query).stem[:100]}.png")
        write_match_figure(
            drawn[-1],
            Pictured(photos.queries.photo(row).pixels, f"query {query}"),
            Pictured(photos.database.photo(best).pixels, f"best of {len(ranking.database_names)}: {found}"),
            match,
            stores.queries.recipe.size,
            f"score {match.weighted(plan.weights or ()):.4f}",
        )
    return drawn
