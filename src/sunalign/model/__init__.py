"""What is climbed: the forward model, the score as a function of the parameters, and how sure an answer is.

Internal, but for what the contract of plugins and a result speak of, which is to be imported from here: `Objective`,
`SearchSpace` and `Parameter` for optimizers, `Reference` and `ImageReference` for reference builders, `Problem`,
`Quality` and `SearchSurface` of a result.
"""

from typing import TYPE_CHECKING

from sunalign._lazy import lazy

if TYPE_CHECKING:
    from sunalign.model.objective import Objective
    from sunalign.model.problem import Problem
    from sunalign.model.quality import Quality
    from sunalign.model.reference import ImageReference
    from sunalign.model.reference_contract import Reference
    from sunalign.model.search_space import Parameter, SearchSpace
    from sunalign.model.surface import SearchSurface

__all__ = [
    "ImageReference",
    "Objective",
    "Parameter",
    "Problem",
    "Quality",
    "Reference",
    "SearchSpace",
    "SearchSurface",
]

# A metric needs one module of this room and not the rest of it.
__getattr__, __dir__ = lazy(
    "sunalign.model",
    {
        "ImageReference": "reference",
        "Objective": "objective",
        "Parameter": "search_space",
        "Problem": "problem",
        "Quality": "quality",
        "Reference": "reference_contract",
        "SearchSpace": "search_space",
        "SearchSurface": "surface",
    },
)
