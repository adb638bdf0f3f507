"""How actions change the box of a search; array-API code."""

from __future__ import annotations

from visionrl import ops
from visionrl.envs.detection.boxes import bounded, sides
from visionrl.envs.detection.state import Rules, State
from visionrl.ops import Array, const, xp_of


def reports_now(rules: Rules, action: Array) -> Array:
    """(B,) bool, whether an action is the trigger."""
    return action[:, 4] > 0 if rules.continuous else action == len(rules.moves)


def moved(rules: Rules, state: State, action: Array) -> Array:
    """The box after a move, (B, 4); whether the action reports instead, ``reports_now`` says."""
    xp = xp_of(state.box)
    if rules.continuous:
        shift, growth = action[:, :2] * rules.step, action[:, 2:4] * rules.step / 2
        change = xp.astype(xp.concat([shift - growth, shift + growth], axis=-1), xp.float64)
    else:
        change = xp.take(const((*rules.moves, (0.0, 0.0, 0.0, 0.0)), state.box), action, axis=0)
    return changed(rules, state.box, change, state.view)


def every_move(rules: Rules, box: Array, view: Array) -> Array:
    """Where each discrete move leads: (..., 4), (..., 4) -> (..., n, 4)."""
    return changed(rules, box[..., None, :], const(rules.moves, box), view[..., None, :])


def changed(rules: Rules, box: Array, change: Array, view: Array) -> Array:
    """Boxes (..., 4) with their edges moved by (..., 4) sides of theirs; as they were where they would become too small."""
    xp = xp_of(box)
    after = bounded(box + change * sides(box), view)
    small = ops.size(after) < xp.minimum(ops.size(box), rules.smallest)
    return xp.where((small[..., 0] | small[..., 1])[..., None], box, after)


def aim(rules: Rules, state: State, truth: Array, hit: Array) -> Array:
    """The continuous action that brings the box nearest to another, (B, 4); it stops where ``hit`` (B,): (B, 5) float32."""
    xp = xp_of(state.box)
    size = ops.size(state.box)
    shift = (ops.center(truth) - ops.center(state.box)) / size / rules.step
    growth = (ops.size(truth) / size - 1) / rules.step
    stop = xp.where(hit, xp.ones_like(shift[:, 0]), -xp.ones_like(shift[:, 0]))
    whole = xp.concat([shift, growth, stop[:, None]], axis=-1)
    return xp.astype(xp.minimum(xp.maximum(whole, -1.0), 1.0), xp.float32)
