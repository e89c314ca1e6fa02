"""Imported before the models: brings Keras in without the noise of a machine that has no GPU."""

from utils.quiet import import_keras

import_keras()
