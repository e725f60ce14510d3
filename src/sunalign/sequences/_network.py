"""From displacements of pairs to one of every frame: sparse weighted least squares that outliers cannot bend.

The model is ``d_ij = theta_j - theta_i + (u_j - u_i) + eps_ij``. ``u`` is what a frame's own noise makes of every pair
it is in: no scheme of pairs removes it, and no closure can see it. ``eps`` belongs to the pair, adds up along a chain
and averages out over many; triangles that do not close tell how large it is. The covariance that a pair comes with
holds both, so that a part ``s2`` of it is ``eps``, and the rest is shared out among the frames as ``u``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.stats import chi2

__all__ = ["Network", "PairTable", "closure_share", "pairs_up_to", "solve_network"]

#: Up to so many unknowns the errors are read off an inverse; beyond, from so many draws of the pairs' noise.
_DENSE, _DRAWS = 1500, 300
_ROUNDS = 12
_HOPELESS = 50.0  # Triangles that are so far from closing are of noise.
_LEAST_SHARE = 0.02  # Where all triangles close perfectly nothing is an outlier.
_REJECTED = 0.05  # Weight below which a pair is out.


@dataclass(frozen=True, eq=False)
class PairTable:
    """Measured pairs of frames.

    Parameters
    ----------
    first, second : `numpy.ndarray` of `int`, shape (n,)
        Numbers of the two frames.
    shift : `numpy.ndarray`, shape (n, p)
        Parameters of the second frame's correction less those of the first's.
    covariance : `numpy.ndarray`, shape (n, p, p)
    score : `numpy.ndarray`, shape (n,)
    height : `numpy.ndarray`, shape (n,)
        Of the maximum, in units of the root mean square over all displacements; NaN where a metric has no such thing.
    found : `numpy.ndarray` of `bool`, shape (n,)
    """

    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray
    covariance: np.ndarray
    score: np.ndarray
    height: np.ndarray
    found: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lag(self) -> np.ndarray:
        """Numbers of frames between the two."""
        return self.second - self.first

    def only(self, chosen: np.ndarray) -> PairTable:
        """Some of the pairs.

        Parameters
        ----------
        chosen : `numpy.ndarray`
            Indices, or True for those that stay.
        """
        return PairTable(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Network:
    """What pairs say of all frames together.

    Parameters
    ----------
    theta : `numpy.ndarray`, shape (n, p)
        Their mean over the placed frames is 0.
    covariance : `numpy.ndarray`, shape (n, p, p)
        Of theta less that mean: the pairs' share and the frames' own.
    placed : `numpy.ndarray` of `bool`, shape (n,)
        Whether pairs tie a frame to the largest group.
    weight : `numpy.ndarray`, shape (m,)
        Of the pairs, 1 unless they disagree with the others.
    residual : `numpy.ndarray`, shape (m, p)
    share : `float`
        Part of the pairs' variance that is the pairs' own.
    local : `numpy.ndarray`, shape (n, p, p)
        Covariance without what adds up along the sequence, which anchors bound.
    """

    theta: np.ndarray
    covariance: np.ndarray
    placed: np.ndarray
    weight: np.ndarray
    residual: np.ndarray
    share: float
    local: np.ndarray


def pairs_up_to(n: int, dense: int, reach: int | None = None) -> np.ndarray:
    """Pairs of all frames up to a lag, and of ever fewer up to a longer one.

    Parameters
    ----------
    n : `int`
        Number of frames.
    dense : `int`
        Largest lag at which every pair is taken.
    reach : `int`, optional
        Largest lag of the skeleton, whose lags double and whose frames are as far apart as it takes for each lag to
        cost no more than one pair for every ``dense`` frames; no skeleton by default.

    Returns
    -------
    `numpy.ndarray` of `int`, shape (m, 2)
    """
    found = [np.stack([np.arange(n - lag), np.arange(lag, n)], axis=1) for lag in range(1, min(dense, n - 1) + 1)]
    lag = 2 * dense
    while reach is not None and lag <= min(reach, n - 1):
        start = np.arange(0, n - lag, max(1, lag // 2))
        found.append(np.stack([start, start + lag], axis=1))
        lag *= 2
    return np.concatenate(found) if found else np.zeros((0, 2), int)


def closure_share(table: PairTable) -> float:
    """Part of the pairs' variance that does not cancel around triangles; NaN where there is no triangle.

    Parameters
    ----------
    table : `PairTable`
    """
    number = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(table.first, table.second, strict=True))}
    triangles = [
        (k, number[j, other], number[i, other])
        for (i, j), k in number.items()
        for other in (j + 1, j + 2, j + 4)
        if (j, other) in number and (i, other) in number
    ]
    if len(triangles) < 3:
        return np.nan
    a, b, c = np.array(triangles).T
    gap = table.shift[a] + table.shift[b] - table.shift[c]
    total = table.covariance[a] + table.covariance[b] + table.covariance[c]
    e = _squares(gap, np.linalg.inv(total))
    p = gap.shape[1]
    return float(np.median(e) / chi2.median(p))


def solve_network(table: PairTable, n: int, share: float | None = None) -> Network:
    """Displacements of n frames.

    Parameters
    ----------
    table : `PairTable`
        Pairs that were not found are left out.
    n : `int`
    share : `float`, optional
        Part of the pairs' variance that is the pairs' own; from closures by default.
    """
    p = table.shift.shape[1]
    usable = table.found & np.isfinite(table.covariance).all(axis=(1, 2))
    theta, covariance, local = np.zeros((n, p)), np.full((n, p, p), np.nan), np.full((n, p, p), np.nan)
    weight, residual = np.zeros(len(table)), np.full((len(table), p), np.nan)
    placed = np.zeros(n, bool)
    if not usable.any():
        return Network(theta, covariance, placed, weight, residual, np.nan, local)
    if share is None or not np.isfinite(share):
        share = closure_share(table.only(usable))
    if np.isfinite(share) and share > _HOPELESS:
        return Network(theta, covariance, placed, weight, residual, share, local)
    # Without triangles nothing tells the two apart: all of it is taken to add up, which errs to the safe side.
    share = float(np.clip(share, _LEAST_SHARE, np.inf)) if np.isfinite(share) else 1.0
    kept = table.only(usable)
    precision = np.linalg.inv(kept.covariance * share)
    w = _robust_weights(kept, precision, n)
    good = w > _REJECTED
    placed = _largest_group(kept.first[good], kept.second[good], n)
    inside = good & placed[kept.first] & placed[kept.second]
    number = np.cumsum(placed) - 1
    i, j = number[kept.first[inside]], number[kept.second[inside]]
    m = int(placed.sum())
    solved = _Solved.of(i, j, kept.shift[inside], precision[inside] * w[inside, None, None], m)
    theta[placed] = solved.theta
    own = _own_noise(kept.only(inside), n, share)[placed]
    spread = own * (1 - 2 / m) + own.mean(axis=0) / m
    added = solved.covariance()
    covariance[placed] = added + spread
    local[placed] = added[np.einsum("nii->n", added).argmin()] + spread
    r = kept.shift - (theta[kept.second] - theta[kept.first])
    r[~(placed[kept.first] & placed[kept.second])] = np.nan
    w[~(placed[kept.first] & placed[kept.second])] = 0
    weight[usable], residual[usable] = w, r
    return Network(theta, covariance, placed, weight, residual, share, local)


def _squares(r: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.einsum("ni,nij,nj->n", r, precision, r)


def _robust_weights(table: PairTable, precision: np.ndarray, n: int) -> np.ndarray:
    """Weights by which the outliers among pairs lose their say: from absolute deviations to Tukey's biweight."""
    p = table.shift.shape[1]
    w = np.ones(len(table))
    # Pairs that share out a loop of their own always close: what is left over is less than what was measured.
    free = max(len(table) - (n - 1), 0) / len(table)
    if free == 0:
        return w
    cut = chi2.ppf(0.9999, p)
    e = np.zeros(len(table))
    for turn in range(_ROUNDS):
        solved = _Solved.of(table.first, table.second, table.shift, precision * w[:, None, None], n)
        e = _squares(table.shift - (solved.theta[table.second] - solved.theta[table.first]), precision)
        scale = max(float(np.median(e) / chi2.median(p)) / free, 1.0)
        if turn < 5:
            new = 1 / np.sqrt(np.maximum(e / scale, 0.5))
        else:
            new = np.clip(1 - e / (scale * 2 * cut), 0, 1) ** 2
        if turn >= 6 and np.abs(new - w).max() < 0.01:
            w = new
            break
        w = new
    # Those within the cut are as good as any other.
    scale = max(float(np.median(e) / chi2.median(p)) / free, 1.0)
    return np.where(e < scale * cut, 1.0, w)


def _largest_group(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label)
    largest = label == sizes.argmax()
    return largest if sizes.max() > 1 else np.zeros(n, bool)


def _own_noise(table: PairTable, n: int, share: float) -> np.ndarray:
    """Each frame's own covariance, from what the closures leave of its pairs'."""
    p = table.shift.shape[1]
    total = np.einsum("nii->n", table.covariance) * max(1 - share, 0.0)
    count = np.maximum(np.bincount(table.first, minlength=n) + np.bincount(table.second, minlength=n), 1)
    v = np.full(n, 0.5 * total.mean() if len(total) else 0.0)
    for _ in range(30):
        heard = np.bincount(table.first, total - v[table.second], n) + np.bincount(
            table.second, total - v[table.first], n
        )
        v = 0.5 * (v + np.maximum(heard / count, 0.0))
    mean = table.covariance.mean(axis=0) if len(table) else np.eye(p)
    return v[:, None, None] * mean / max(np.trace(mean), 1e-300)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Weighted least squares over the edges of a graph, its first frame of every group held."""

    theta: np.ndarray
    factor: object
    kept: np.ndarray
    edges: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, i: np.ndarray, j: np.ndarray, d: np.ndarray, precision: np.ndarray, n: int) -> _Solved:
        p = d.shape[1]
        matrix, right = _normal(i, j, d, precision, n)
        strong = np.einsum("nii->n", precision) > 0
        graph = sparse.coo_matrix((np.ones(strong.sum()), (i[strong], j[strong])), shape=(n, n))
        _, label = connected_components(graph, directed=False)
        held = np.zeros(n, bool)
        held[np.unique(label, return_index=True)[1]] = True
        kept = np.repeat(~held, p)
        theta = np.zeros(n * p)
        factor = None
        if kept.any():
            factor = splu(matrix[kept][:, kept].tocsc())
            theta[kept] = factor.solve(right[kept])
        places = theta.reshape(n, p)
        # Groups float freely; each has its own mean taken out, so that no held frame is special.
        sizes = np.bincount(label)
        for k in range(p):
            places[:, k] -= (np.bincount(label, places[:, k]) / sizes)[label]
        return cls(places, factor, kept, (i, j, precision))

    def covariance(self) -> np.ndarray:
        """Of theta less its mean, shape (n, p, p)."""
        n, p = self.theta.shape
        if self.factor is None:
            return np.zeros((n, p, p))
        size = int(self.kept.sum())
        if size <= _DENSE:
            inverse = np.zeros((n * p, n * p))
            inverse[np.ix_(self.kept, self.kept)] = self.factor.solve(np.eye(size))  # type: ignore[attr-defined]
            blocks = inverse.reshape(n, p, n, p)
            centred = blocks - blocks.mean(axis=0)
            centred = centred - centred.mean(axis=2, keepdims=True)
            return np.einsum("iaib->iab", centred)
        return self._by_draws(n, p)

    def _by_draws(self, n: int, p: int) -> np.ndarray:
        i, j, precision = self.edges
        rng = np.random.default_rng(0)
        root = np.linalg.cholesky(precision + 1e-300 * np.eye(p))
        pull = np.einsum("nab,nbd->nad", root, rng.standard_normal((len(i), p, _DRAWS)))
        right = np.zeros((n, p, _DRAWS))
        np.add.at(right, j, pull)
        np.add.at(right, i, -pull)
        drawn = np.zeros((n * p, _DRAWS))
        drawn[self.kept] = self.factor.solve(right.reshape(n * p, _DRAWS)[self.kept])  # type: ignore[attr-defined]
        scatter = drawn.reshape(n, p, _DRAWS)
        scatter = scatter - scatter.mean(axis=0)
        return np.einsum("nad,nbd->nab", scatter, scatter) / _DRAWS


def _normal(
    i: np.ndarray, j: np.ndarray, d: np.ndarray, precision: np.ndarray, n: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    p = d.shape[1]
    a, b = np.meshgrid(np.arange(p), np.arange(p), indexing="ij")
    rows, columns, values = [], [], []
    for first, second, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        rows.append((first[:, None, None] * p + a).ravel())
        columns.append((second[:, None, None] * p + b).ravel())
        values.append((sign * precision).ravel())
    matrix = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n * p, n * p)
    ).tocsr()
    pull = np.einsum("nab,nb->na", precision, d)
    right = np.zeros((n, p))
    for k in range(p):
        right[:, k] = np.bincount(j, pull[:, k], n) - np.bincount(i, pull[:, k], n)
    return matrix, right.ravel()
