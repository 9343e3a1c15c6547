"""Logistic regressions by the hundred: many problems on few designs, solved together to their optimum.

Each problem minimises, over weights W (K, R) and biases b (K),

    F(W, b) = C * sum_n w_n * loss(W x_n + b, y_n) + |W|^2 / 2

where the loss is the binary cross-entropy (K = 1) or that of the softmax (K > 1): what scikit-learn's
`LogisticRegression(C=C)` minimises. Biases are free.

The method is L-BFGS in the compact form of Byrd, Nocedal and Schnabel (Mathematical Programming 63, 1994, eq. 3.1), all
problems at once, each with a step of its own. Two things make it fast. Logits are linear along a step, so that a line
search costs no product with the design. And the curvature of the loss is at most a quarter (Boehning, Annals of the
Institute of Statistical Mathematics 44, 1992): where the columns of a design are orthogonal, as those of `designs` are,
the diagonal of that bound is the right scale of each coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-5
"""Of the norm of the gradient. F is 1-strongly convex in W, so W is no further than this from the optimum."""

ITERATIONS = 1000
HISTORY = 8
CURVATURE = 0.25
HALVINGS = 40
PATIENCE = 8
"""Steps without a lower loss after which rounding lets a problem get no further."""
SUFFICIENT = 1e-4
"""Of the decrease that the slope promises, how much a step must bring (Armijo)."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What was found: weights (G, Q, K, R), biases (G, Q, K), and the norm of each gradient there, (G, Q)."""

    weights: Tensor
    biases: Tensor
    gradients: Tensor
    iterations: int


def solve_logistic(
    designs: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    strengths: Tensor,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
) -> Solution:
    """Solve Q problems on each of G designs.

    Args:
        designs: Cases by coordinates, (G, N, R), float64 or float32. Shorter designs are filled up with zeros.
        targets: (G, Q, K, N), or 1 for G or Q where they are the same: from 0 to 1 for K = 1, else one-hot.
        counts: How often each case counts, (G, Q, N): 0 where it is not annotated, or filled up. Of a problem without
            any case all weights are 0.
        strengths: C of each problem, (G, Q).
        tolerance: A problem is done when the norm of its gradient is no larger, or rounding lets it get no smaller.
        iterations: At most.

    A problem with cases of one side only has no optimum (its bias is without bound): leave it out.
    """
    problems = _Problems.of(designs, targets, counts * strengths[..., None])
    found = problems.start()
    result = _Result.of(found)
    count = 0
    while True:
        done = (found.norms <= tolerance) | (found.idle >= PATIENCE)
        if bool(done.all()) or count == iterations:
            break
        problems, found = result.set_aside(problems, found, done=done)
        found = problems.step(found)
        count += 1
    result.keep(found)
    return Solution(
        weights=result.parameters[..., :-1],
        biases=result.parameters[..., -1],
        gradients=result.norms,
        iterations=count,
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Where all problems are. `past` holds steps and changes of the gradient, in scaled coordinates, by slot."""

    parameters: Tensor  # (G, Q, K, R + 1), the last column is the bias
    logits: Tensor  # (G, Q, K, N)
    losses: Tensor  # (G, Q)
    gradient: Tensor  # as parameters
    norms: Tensor  # (G, Q)
    steps: Tensor  # (G, Q, H, K * (R + 1))
    changes: Tensor  # likewise
    order: tuple[int, ...]  # slots of `steps` that are in use, the oldest first
    idle: Tensor  # (G, Q): how many steps ago the loss fell for the last time

    def chosen(self, designs: Tensor, problems: Tensor) -> _Found:
        """Some of the designs and problems."""
        tensors = ("parameters", "logits", "losses", "gradient", "norms", "steps", "changes", "idle")
        return _Found(order=self.order, **{name: getattr(self, name)[designs][:, problems] for name in tensors})


@dataclass(frozen=True, kw_only=True)
class _Problems:
    """What is minimised. `cost` is C times how often each case counts; `scale` the root of the curvature's bound."""

    designs: Tensor  # (G, N, R + 1), the last column is 1
    targets: Tensor  # (G or 1, Q or 1, K, N)
    cost: Tensor  # (G, Q, 1, N)
    scale: Tensor  # (G, Q, 1, R + 1)

    @staticmethod
    def of(designs: Tensor, targets: Tensor, cost: Tensor) -> _Problems:
        ones = designs.new_ones((*designs.shape[:-1], 1))
        designs = torch.cat([designs, ones], dim=-1)
        bound = CURVATURE * cost @ designs**2
        bound[..., :-1] += 1
        bound[..., -1].clamp_(min=torch.finfo(bound.dtype).tiny)  # of a problem without any case
        return _Problems(designs=designs, targets=targets, cost=cost[..., None, :], scale=bound.sqrt()[..., None, :])

    def chosen(self, designs: Tensor, problems: Tensor) -> _Problems:
        targets = self.targets[designs] if len(self.targets) > 1 else self.targets
        targets = targets[:, problems] if targets.shape[1] > 1 else targets
        return _Problems(
            designs=self.designs[designs],
            targets=targets,
            cost=self.cost[designs][:, problems],
            scale=self.scale[designs][:, problems],
        )

    def start(self) -> _Found:
        groups, number, _, width = self.scale.shape
        outputs = self.targets.shape[2]
        parameters = self.scale.new_zeros(groups, number, outputs, width)
        past = self.scale.new_zeros(groups, number, HISTORY, outputs * width)
        logits = self._logits(parameters)
        gradient = self._gradient(logits, parameters)
        return _Found(
            parameters=parameters,
            logits=logits,
            losses=self._losses(logits, parameters),
            gradient=gradient,
            norms=self._norms(gradient),
            steps=past,
            changes=past.clone(),
            order=(),
            idle=torch.zeros(groups, number, dtype=torch.int64, device=past.device),
        )

    def step(self, at: _Found) -> _Found:
        """One step of L-BFGS."""
        direction = self._direction(at)
        along = self._logits(direction)
        lengths, losses = self._line_search(at, direction, along)
        step = lengths[..., None, None] * direction
        parameters, logits = at.parameters + step, at.logits + lengths[..., None, None] * along
        gradient = self._gradient(logits, parameters)
        slot = len(at.order) if len(at.order) < HISTORY else at.order[0]
        order = (*at.order[1:], slot) if len(at.order) == HISTORY else (*at.order, slot)
        at.steps[:, :, slot] = (step * self.scale).flatten(2)
        at.changes[:, :, slot] = ((gradient - at.gradient) / self.scale).flatten(2)
        return _Found(
            parameters=parameters,
            logits=logits,
            losses=losses,
            gradient=gradient,
            norms=self._norms(gradient),
            steps=at.steps,
            changes=at.changes,
            order=order,
            idle=torch.where(losses < at.losses, 0, at.idle + 1),
        )

    def _direction(self, at: _Found) -> Tensor:
        """Downhill by what is known of the curvature: in scaled coordinates H = g I + [S gY] M [S gY]'."""
        gradient = at.gradient / self.scale
        if not at.order:
            return -gradient / self.scale
        slots = torch.tensor(at.order, device=gradient.device)
        flat = gradient.flatten(2)[..., None]
        steps, changes = at.steps, at.changes
        crossed = (steps @ changes.mT)[:, :, slots][..., slots]
        own = (changes @ changes.mT)[:, :, slots][..., slots]
        s_g, y_g = (steps @ flat)[:, :, slots], (changes @ flat)[:, :, slots]
        curved = torch.diagonal(crossed, dim1=-2, dim2=-1)
        is_used = curved > torch.finfo(curved.dtype).tiny
        newest, length = curved[..., -1], torch.diagonal(own, dim1=-2, dim2=-1)[..., -1]
        gamma = torch.where(is_used[..., -1], newest / length, torch.ones_like(newest))[..., None, None]
        both = (is_used[..., None, :] & is_used[..., None]).to(crossed.dtype)
        upper = torch.triu(crossed * both) + torch.diag_embed((~is_used).to(crossed.dtype))
        used = is_used[..., None].to(crossed.dtype)
        u = torch.linalg.solve_triangular(upper, s_g * used, upper=True)
        middle = gamma * (own * both) + torch.diag_embed(curved * is_used)
        v = torch.linalg.solve_triangular(upper.mT, middle @ u - gamma * y_g * used, upper=False)
        by_slot = torch.zeros_like(steps[..., :2])
        by_slot[:, :, slots] = torch.cat([v, -gamma * u], dim=-1)
        product = gamma * flat + steps.mT @ by_slot[..., :1] + changes.mT @ by_slot[..., 1:]
        return -product.reshape(gradient.shape) / self.scale

    def _line_search(self, at: _Found, direction: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """The length of each problem's step, (G, Q), and the loss there: a Newton step from 1, halved where need be."""
        slope = (at.gradient * direction).sum((-2, -1))
        weights, moves = at.parameters[..., :-1], direction[..., :-1]
        constant, linear = (weights * moves).sum((-2, -1)), (moves * moves).sum((-2, -1))
        probabilities = self._probabilities(at.logits + along)
        first = constant + linear + (self.cost * (probabilities - self.targets) * along).sum((-2, -1))
        bent = probabilities * along
        spread = bent * (along - bent) if self._is_binary else bent * along - bent * bent.sum(-2, keepdim=True)
        second = linear + (self.cost * spread).sum((-2, -1))
        lengths = torch.where(second > 0, 1 - first / second, torch.ones_like(second)).clamp(0.1, 10)
        slack = 32 * torch.finfo(slope.dtype).eps * at.losses.abs()
        for _ in range(HALVINGS):
            there = lengths[..., None, None]
            losses = self._losses(at.logits + there * along, at.parameters + there * direction)
            is_too_long = ~(losses <= at.losses + SUFFICIENT * lengths * slope + slack)
            if not bool(is_too_long.any()):
                break
            lengths = torch.where(is_too_long, lengths / 2, lengths)
        return lengths, losses

    @property
    def _is_binary(self) -> bool:
        return self.targets.shape[2] == 1

    def _logits(self, parameters: Tensor) -> Tensor:
        groups, number, outputs, width = parameters.shape
        product = parameters.reshape(groups, number * outputs, width) @ self.designs.mT
        return product.reshape(groups, number, outputs, -1)

    def _probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits) if self._is_binary else torch.softmax(logits, dim=-2)

    def _losses(self, logits: Tensor, parameters: Tensor) -> Tensor:
        all_of_it = functional.softplus(logits) if self._is_binary else torch.logsumexp(logits, dim=-2, keepdim=True)
        losses = all_of_it - (self.targets * logits).sum(-2, keepdim=True)
        return (self.cost * losses).sum((-2, -1)) + (parameters[..., :-1] ** 2).sum((-2, -1)) / 2

    def _norms(self, gradient: Tensor) -> Tensor:
        """Of gradients; that of a bias counts by how much a bias may curve the loss, where that is less than 1."""
        weights, biases = gradient[..., :-1], gradient[..., -1] / self.scale[..., -1].square().clamp(max=1)
        return (weights.square().sum((-2, -1)) + biases.square().sum(-1)).sqrt()

    def _gradient(self, logits: Tensor, parameters: Tensor) -> Tensor:
        residual = self.cost * (self._probabilities(logits) - self.targets)
        groups, number, outputs, cases = residual.shape
        product = residual.reshape(groups, number * outputs, cases) @ self.designs
        gradient = product.reshape(parameters.shape)
        gradient[..., :-1] += parameters[..., :-1]
        return gradient


@dataclass(kw_only=True)
class _Result:
    """Where problems ended, and which are still worked on: rows `designs` and columns `problems` of all."""

    parameters: Tensor
    norms: Tensor
    designs: Tensor
    problems: Tensor

    @staticmethod
    def of(found: _Found) -> _Result:
        groups, number = found.losses.shape
        return _Result(
            parameters=found.parameters.clone(),
            norms=found.norms.clone(),
            designs=torch.arange(groups, device=found.losses.device),
            problems=torch.arange(number, device=found.losses.device),
        )

    def keep(self, found: _Found) -> None:
        """Note where the problems that are worked on are."""
        place = (self.designs[:, None], self.problems[None])
        self.parameters[place] = found.parameters
        self.norms[place] = found.norms

    def set_aside(self, problems: _Problems, found: _Found, *, done: Tensor) -> tuple[_Problems, _Found]:
        """Go on without the designs and problems that are done, once that makes a fifth less work."""
        designs = torch.nonzero(~done.all(dim=1))[:, 0]
        columns = torch.nonzero(~done.all(dim=0))[:, 0]
        if 5 * len(designs) * len(columns) > 4 * done.numel():
            return problems, found
        self.keep(found)
        self.designs, self.problems = self.designs[designs], self.problems[columns]
        return problems.chosen(designs, columns), found.chosen(designs, columns)
