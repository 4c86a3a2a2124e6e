"""Densities of everyday materials, and what the parts of objects are made of.

They are typical values, from which single objects differ. Sources, rounded to two or three digits: [G] Gere,
Mechanics of Materials, appendix H; [C] Callister, Materials Science and Engineering, appendix B; [W] a table
of air-dry woods (metric-bolt-torque.com/materials/wood-density); [S] a table of bulk materials
(simetric.co.uk/si_materials.htm); [P] foam makers' ranges by use. [E] marks our own estimates of what is
hollow or mixed in real objects, but a full body in the built-in solids; single objects may well be half or
twice as dense.
"""

Materials = dict[str, float]
"""Materials that a part may be made of, and how often, up to a common factor."""

DENSITY: dict[str, float] = {
    "steel": 7850,  # [G]
    "aluminium": 2700,  # [G]
    "brass": 8500,  # [G]
    "zinc alloy": 6600,  # [C], die-cast
    "glass": 2500,  # [G]
    "ceramic": 2400,  # [S], porcelain
    "oak": 680,  # [G]
    "beech": 700,  # [W]
    "pine": 500,  # [W]
    "ABS": 1050,  # [C]
    "PP": 905,  # [C]
    "PE": 950,  # [C], of high density
    "rubber": 1150,  # [G], the middle of its range
    "leather": 950,  # [S]
    "foam": 40,  # [P], of polyurethane
    "firm foam": 200,  # [P], of soles
    "paper": 700,  # [S], books and card
    "water": 1000,  # [G]
    "oil": 920,  # [S]
    "sand": 1600,  # [S], dry
    "rice": 750,  # [S], as poured
    "powder": 590,  # [S], flour as poured
    "air": 1.2,
    "steel tube": 1800,  # [E], 25 mm wide, a wall of 1.5 mm: 23 % steel
    "plastic shell": 300,  # [E], a moulding of 25 mm, a wall of 2 mm
    "leather shell": 200,  # [E], the upper of a shoe
    "upholstery": 150,  # [E], foam on a frame of wood
    "cupboard": 250,  # [E], drawers with little in them
    "bristles": 500,  # [E], PP and as much air
    "electronics": 1500,  # [E], laptops and phones: 1.3 to 2.5 kg of 1 to 1.5 litres
}
"""Kilograms per cubic metre."""


def any_of(*names: str) -> Materials:
    """These materials, each as often as the others."""
    return dict.fromkeys(names, 1.0)


WOOD = any_of("oak", "beech", "pine")
PLASTIC = any_of("ABS", "PP", "PE")
METAL = any_of("steel", "aluminium", "brass")
STEEL = any_of("steel")
CERAMIC = {"ceramic": 4.0, "glass": 1.0}

# Tools.
HAMMER_HEAD = {"steel": 8.0, "rubber": 1.0, "beech": 1.0}
HAFT = WOOD | {"ABS": 1.0, "steel tube": 1.0}
GRIP = WOOD | PLASTIC | {"rubber": 1.0}
BLADE = {"steel": 9.0, "ceramic": 1.0}
BRISTLES = any_of("bristles")

# Vessels and what is in them.
BOTTLE = any_of("glass", "PE", "PP")
CAP = any_of("PP", "PE", "aluminium")
BOWL = CERAMIC | any_of("beech", "PP", "steel")
PAN = any_of("steel", "aluminium")
PAN_HANDLE = any_of("steel", "ABS", "beech")
DRINK = any_of("water")
GOODS = {"water": 4.0} | any_of("oil", "sand", "rice", "powder")

# Furniture.
FRAME = WOOD | {"steel tube": 2.0}
SEAT = WOOD | any_of("PP", "upholstery")
TABLE_TOP = WOOD | any_of("glass")
FOOT = any_of("steel", "oak", "ceramic", "brass")
STAND = any_of("steel tube", "oak", "beech")
CUPBOARD = any_of("cupboard")
SHELVED = any_of("paper", "rice", "ceramic", "plastic shell")
SOFA = any_of("upholstery")
FOAM = any_of("foam")
SHADE = any_of("paper", "glass", "ABS", "aluminium")
FULL_SHADE = any_of("plastic shell")  # the mesh lacks the inside
WALLS = WOOD | any_of("ceramic", "paper")
ROOF = WOOD | any_of("ceramic", "paper", "ABS")

# Machine parts.
WHEEL = METAL | PLASTIC | any_of("beech")
WEIGHT = {"steel": 3.0, "rubber": 1.0}
BAR = any_of("steel", "steel tube", "beech", "ABS")

# Toys and the like.
TOY = {"plastic shell": 3.0, "ABS": 1.0} | WOOD
CAR = TOY | {"zinc alloy": 1.0}
FOAM_TOY = TOY | FOAM
TYRE = any_of("rubber", "ABS", "beech")
FITTING = any_of("ABS", "steel", "brass")
DEVICE = {"electronics": 3.0} | any_of("aluminium", "ABS", "oak")
SCREEN = {"electronics": 2.0} | any_of("glass", "ABS")
CRATE = WOOD | PLASTIC | any_of("paper", "steel")
LOAD = any_of("sand", "rice", "powder", "paper", "steel")
SOLE = {"rubber": 3.0, "firm foam": 3.0, "leather": 1.0, "steel": 1.0}  # steel: the sole of an iron
UPPER = any_of("leather shell", "plastic shell")
TRUNK = WOOD | any_of("ABS", "brass")
CROWN = any_of("foam", "plastic shell", "pine")
BASE = WOOD | any_of("ABS", "steel", "ceramic")
