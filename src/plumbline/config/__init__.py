"""The flags: one frozen dataclass per verb, one field per flag, nothing else.

A field's name is the flag, the YAML key and, below the commands, the keyword argument. Its metadata
holds the help text and the allowed range. Config objects stop at the commands; everything below takes
plain keywords. ``validate`` refuses a value outside its range with a sentence that names the flag.
"""

from typing import Literal

from plumbline.config.benchmark import BenchmarkConfig
from plumbline.config.check import CheckConfig
from plumbline.config.evaluate import EvaluateConfig
from plumbline.config.predict import PredictConfig
from plumbline.config.prepare import PrepareConfig
from plumbline.config.train import TrainConfig
from plumbline.config.validation import nearest, parse_range, validate, validate_each

__all__ = [
    "BenchmarkConfig",
    "CheckConfig",
    "Config",
    "EvaluateConfig",
    "PredictConfig",
    "PrepareConfig",
    "TrainConfig",
    "Verb",
    "nearest",
    "parse_range",
    "validate",
    "validate_each",
]

Config = TrainConfig | PrepareConfig | CheckConfig | EvaluateConfig | PredictConfig | BenchmarkConfig
Verb = Literal["prepare", "check", "train", "evaluate", "predict", "benchmark"]
