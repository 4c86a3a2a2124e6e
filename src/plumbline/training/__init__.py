"""The training program: task, start-up, checkpoints, tracking, progress."""

from plumbline.training.lean import import_lightning

import_lightning()
