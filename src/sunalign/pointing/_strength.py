"""How large a drift is: its strength by marginal likelihood, along each axis.

Amplitudes of drift have a Gaussian prior whose variance is not known beforehand. Every strength on a net is weighed by
how probable it makes the data (empirical Bayes, with the strength averaged over instead of maximised): a raster
without drift gets none, because wide priors explain it worse, and the errors contain how badly the strength is known.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

__all__ = ["Posterior", "posterior"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Mean and covariance of parameters, averaged over the strengths of a drift.

    Parameters
    ----------
    mean : `numpy.ndarray`, shape (k,)
    covariance : `numpy.ndarray`, shape (k, k)
    freedom : `float`
        Effective degrees of freedom of the drift.
    strength : `numpy.ndarray`, shape (2,)
        Rms of the drift along (+Tx, +Ty) that is expected, in arcsec: root of the mean square over the net.
    nothing : `float`
        Probability that there is no drift at all.
    evidence : `float`
        Logarithm of how probable the data are, but for what depends on nothing here.
    """

    mean: np.ndarray
    covariance: np.ndarray
    freedom: float
    strength: np.ndarray
    nothing: float
    evidence: float


def posterior(
    score: np.ndarray, information: np.ndarray, share: np.ndarray, strengths: np.ndarray, chances: np.ndarray
) -> Posterior:
    """Combine data and prior.

    Parameters
    ----------
    score : `numpy.ndarray`, shape (k,)
        Information times the parameters that fit the data best. The last ``2 q`` are amplitudes of a drift, first along
        +Tx, then along +Ty; on the others there is no prior.
    information : `numpy.ndarray`, shape (k, k)
    share : `numpy.ndarray`, shape (q,)
        Part of the drift's variance that is expected in each amplitude.
    strengths : `numpy.ndarray`, shape (s,)
        Rms of the drift, in arcsec, that are considered along each axis.
    chances : `numpy.ndarray`, shape (s,)
        What is thought of each beforehand; their sum is 1.
    """
    q = len(share)
    free = len(score) - 2 * q
    # The parameters without prior are integrated out first; what is left is about the drift alone.
    own = np.linalg.inv(information[:free, :free]) if free else np.zeros((0, 0))
    cross = information[free:, :free]
    root = np.sqrt(np.tile(share, 2))
    matrix = root[:, None] * (information[free:, free:] - cross @ own @ cross.T) * root
    vector = root * (score[free:] - cross @ own @ score[:free])
    nets = [(float(a), float(b)) for a, b in itertools.product(strengths, strengths)]
    scale = np.repeat(np.array(nets), q, axis=1)
    within = np.eye(2 * q) + scale[:, :, None] * matrix * scale[:, None, :]
    inverse = np.linalg.inv(within)
    pulled = scale * vector
    means = np.einsum("nij,nj->ni", inverse, pulled)
    evidence = 0.5 * np.einsum("ni,ni->n", pulled, means) - 0.5 * np.linalg.slogdet(within)[1]
    prior = np.array([a * b for a, b in itertools.product(chances, chances)])
    weight = np.exp(evidence - evidence.max()) * prior
    total = float(evidence.max() + np.log(weight.sum()))
    total += 0.5 * float(score[:free] @ own @ score[:free] - np.linalg.slogdet(information[:free, :free])[1])
    weight /= weight.sum()
    # Back to amplitudes.
    amplitudes = root * scale * means
    covariances = (root * scale)[:, :, None] * inverse * (root * scale)[:, None, :]
    mean = weight @ amplitudes
    apart = amplitudes - mean
    spread = np.einsum("n,nij->ij", weight, covariances) + (apart.T * weight) @ apart
    traces = 2 * q - np.einsum("nii->n", inverse)
    return Posterior(
        *_joined(score[:free], own, cross, mean, spread),
        freedom=float(weight @ traces),
        strength=np.sqrt(weight @ np.array(nets) ** 2),
        nothing=float(weight[[max(pair) == 0 for pair in nets]].sum()),
        evidence=total,
    )


def _joined(
    score: np.ndarray, own: np.ndarray, cross: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all parameters from those of the drift."""
    pull = own @ cross.T
    first = own @ score - pull @ mean
    corner = -pull @ spread
    return (
        np.concatenate([first, mean]),
        np.block([[own + pull @ spread @ pull.T, corner], [corner.T, spread]]),
    )
