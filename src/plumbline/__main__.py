"""``python -m plumbline`` is the console command."""

from plumbline.cli import main

raise SystemExit(main())
