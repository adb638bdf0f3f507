"""Memory that is carried from step to step: RecurrentPPO with an LSTM, a GRU or a plain recurrent layer."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from visionrl.core import check_choice
from visionrl.layers.recurrent import init_recurrent

Cell = Literal["lstm", "gru", "rnn"]
States = tuple[Tensor, Tensor]


class StatedGRU(nn.GRU):
    """A GRU with the call of ``nn.LSTM``: it hands on the cell state, which it does not have, as it came."""

    def forward(self, inputs: Tensor, states: States) -> tuple[Tensor, States]:  # type: ignore[override]
        """Outputs and states, from inputs (T, B, n) and states (layers, B, m) each."""
        found, hidden = super().forward(inputs, states[0])
        return found, (hidden, states[1])


class StatedRNN(nn.RNN):
    """A recurrent layer with tanh and the call of ``nn.LSTM``, see ``StatedGRU``."""

    def forward(self, inputs: Tensor, states: States) -> tuple[Tensor, States]:  # type: ignore[override]
        """Outputs and states, from inputs (T, B, n) and states (layers, B, m) each."""
        found, hidden = super().forward(inputs, states[0])
        return found, (hidden, states[1])


LAYERS: dict[str, Any] = {"gru": StatedGRU, "rnn": StatedRNN}


class RecurrentPolicy(RecurrentMultiInputActorCriticPolicy):
    """A policy for ``sb3_contrib.RecurrentPPO`` with a choice of the recurrent layer; contrib has the LSTM alone.

    Arguments and attributes are called as contrib's (``lstm_hidden_size``, ``lstm_actor``), whichever layer it is::

        RecurrentPPO(RecurrentPolicy, env, policy_kwargs={"cell": "gru", "features_extractor_class": VisionExtractor})

    Args:
        observation_space: a Dict.
        action_space: any of RecurrentPPO's.
        lr_schedule: learning rate by the share of training that is left.
        cell: "lstm", "gru" or "rnn".
        kwargs: of contrib's ``RecurrentMultiInputActorCriticPolicy``.

    Raises:
        ValueError: there is no such cell.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        cell: Cell = "lstm",
        **kwargs: Any,
    ) -> None:
        check_choice("cell", cell, get_args(Cell))
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)
        self.cell = cell
        for name in ("lstm_actor", "lstm_critic"):
            if (layer := getattr(self, name)) is None:
                continue
            if cell != "lstm":
                sizes = (layer.input_size, layer.hidden_size, layer.num_layers)
                layer = LAYERS[cell](*sizes, **self.lstm_kwargs)
                setattr(self, name, layer)
            init_recurrent(layer)
        make: Any = self.optimizer_class
        self.optimizer = make(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    @staticmethod
    def _process_sequence(features: Tensor, lstm_states: States, episode_starts: Tensor, lstm: Any) -> Any:
        """Outputs (B, n), sequence behind sequence, and the last states.

        Contrib calls the layer once for each step where any sequence begins an episode. Those of its buffer do so in
        their first step alone, so that the layer is called once for all steps.
        """
        count = lstm_states[0].shape[1]
        starts = episode_starts.reshape(count, -1)
        if not starts[:, 1:].any():
            kept = 1 - starts[:, 0].view(1, count, 1)
            lstm_states = (lstm_states[0] * kept, lstm_states[1] * kept)
            episode_starts = torch.zeros_like(episode_starts)
        base = RecurrentMultiInputActorCriticPolicy
        return base._process_sequence(features, lstm_states, episode_starts, lstm)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {
            name: getattr(self, name) for name in ("cell", "shared_lstm", "enable_critic_lstm", "lstm_kwargs")
        }
        layer = self.lstm_actor
        sizes = {"lstm_hidden_size": layer.hidden_size, "n_lstm_layers": layer.num_layers}
        return {**super()._get_constructor_parameters(), **own, **sizes}
