"""Pure image functions, batched: the editor's sliders and the pixel agents' actions are built from these."""
