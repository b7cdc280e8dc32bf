"""Adam with the decay of Keras 2, a cosine schedule, weight decay and rates per variable."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras


class DecayedAdam(keras.optimizers.Adam):
    """Adam whose rate falls as rate / (1 + decay x step), as with `decay` in Keras 2. With
    `cosine_steps` it also falls along half a cosine to 0 in so many steps (Loshchilov 2017).

    A learning-rate schedule would do the same, but its rate cannot be cut on a plateau.

    kernel_decay : decoupled weight decay of all but vectors, times the rate (Loshchilov 2019)
    factors : {id of a variable: factor of its rate} (Howard 2018)
    """

    def __init__(self, *, decay=0.0, cosine_steps=0, kernel_decay=0.0, factors=None, **adam):
        super().__init__(**adam)
        self.decay, self.cosine_steps, self.kernel_decay = decay, cosine_steps, kernel_decay
        self.factors, self.by_index = factors or {}, []

    def build(self, variables):
        super().build(variables)
        self.by_index = [self.factors.get(id(variable), 1.0) for variable in variables]

    def share(self, step):
        """Factor of the rate in a step : scalar tensor; step : its number, a scalar tensor."""
        share = 1.0 / (1.0 + self.decay * step)
        if self.cosine_steps:
            done = keras.ops.minimum(step / self.cosine_steps, 1.0)
            share = share * 0.5 * (1.0 + keras.ops.cos(math.pi * done))
        return share

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate * self.share(keras.ops.cast(self.iterations, learning_rate.dtype))
        # TensorFlow passes its own variables to a step; only their index identifies them
        rate = rate * self.by_index[self._get_variable_index(variable)]
        if self.kernel_decay and len(variable.shape) > 1:
            variable.assign(variable - variable * rate * self.kernel_decay)
        super().update_step(gradient, variable, rate)


def optimizer(
    section: Mapping, training: Mapping, steps: int = 0, factors: Mapping | None = None
) -> DecayedAdam:
    """The optimiser of a step.

    section : learning_rate, decay, schedule; training : section `training` of the settings;
    steps : of the whole training; factors : as in DecayedAdam
    """
    return DecayedAdam(
        learning_rate=section["learning_rate"],
        decay=section["decay"],
        cosine_steps=steps if section["schedule"] == "cosine" else 0,
        kernel_decay=training["weight_decay"],
        factors=factors,
        amsgrad=training["amsgrad"],
        epsilon=training["epsilon"],
    )
