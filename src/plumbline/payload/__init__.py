"""What an arm must know of what it holds: mass, centre of mass, inertia; and how controllers read it."""
