"""The generator behind `databases.synthetic`: hearts, their diseases, and how twelve leads record them."""
