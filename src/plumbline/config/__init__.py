"""The flags: one frozen dataclass per verb, one field per flag.

A field's name is the flag, the YAML key and, below the commands, the keyword argument; its ``option`` says
everything else, for the command line and YAML alike. Config objects stop at the commands.
"""

from plumbline.config.benchmark import BenchmarkConfig
from plumbline.config.check import CheckConfig
from plumbline.config.evaluate import EvaluateConfig
from plumbline.config.predict import PredictConfig
from plumbline.config.prepare import PrepareConfig
from plumbline.config.train import TrainConfig

__all__ = [
    "BenchmarkConfig",
    "CheckConfig",
    "EvaluateConfig",
    "PredictConfig",
    "PrepareConfig",
    "TrainConfig",
]
