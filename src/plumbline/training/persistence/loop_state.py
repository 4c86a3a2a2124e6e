"""What Lightning saves of its loop over epochs, in a checkpoint."""

from typing import Any

from plumbline.data.batches.order import BatchOrder


def loop_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The state of the loop over epochs, without that of the loops within it."""
    state: dict[str, Any] = checkpoint["loops"]["fit_loop"]["state_dict"]
    return state


def count_batches_as(checkpoint: dict[str, Any], order: BatchOrder) -> None:
    """Convert the batches that are done of an epoch to those of ``order``, which may have another size."""
    states = loop_state(checkpoint)["combined_loader"]
    if not states:
        return
    if "whole" not in states[0]:  # of an earlier program, which had one process
        whole = checkpoint["plumbline"]["config"]["batch_size"]
        states[0] |= {"whole": whole, "graphs": whole * states[0]["position"]}
    current = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    more = order.position_after(states[0]) - states[0]["position"]
    current |= {name: number + more for name, number in current.items() if isinstance(number, int)}
