"""System 3, generated images: the models that ship with pixward, how they were made, and what is done with them."""
