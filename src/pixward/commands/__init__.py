"""The commands of ``pixward``, one file each. Importing one is cheap: torch and NumPy come in when it runs."""
