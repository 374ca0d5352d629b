"""System 4 put to work: run a pixel policy on pictures of any size, read what it did, and edit it."""
