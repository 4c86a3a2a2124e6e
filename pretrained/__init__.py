"""How the weights that plumbline ships are made: ``make pretrained MESHES=FOLDER``. Not part of the wheel."""
