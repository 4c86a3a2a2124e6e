"""The flags of ``plumbline serve``."""

from dataclasses import dataclass
from pathlib import Path

from plumbline.config.options import Flags, debug_option, option
from plumbline.config.parts import checkpoint_option, predictor_option
from plumbline.kinds import number, text, whole


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Flags):
    """Answer scans over HTTP, with a page where they can be dropped and the answer turned in 3D."""

    host: str = option(
        "127.0.0.1",
        "name or address to listen at; by default only programs on this machine are answered, 0.0.0.0 is all "
        "of its addresses",
        text,
        group="address",
    )
    port: int = option(8000, "port to listen at; 0 is any free one", whole(at_least=0, at_most=65535))
    checkpoint: Path | None = checkpoint_option()
    model: str | None = predictor_option()
    batch_size: int = option(
        64, "scans of concurrent requests that the model gets at a time", whole(at_least=1)
    )
    max_body_mb: float = option(
        64, "largest body of a request, megabytes", number(above=0, at_most=4000), group="limits"
    )
    max_points: int = option(
        2_000_000, "most points of a scan, or pixels of a depth image", whole(at_least=2)
    )
    max_requests: int = option(
        64, "requests that are read or answered at a time; more are told to try again", whole(at_least=1)
    )
    timeout: float = option(
        30, "seconds for a request, from its first byte to its answer", number(above=0, at_most=86400)
    )
    debug: bool = debug_option()
