"""Score files of any model: from what their columns say to numbers that hold."""
