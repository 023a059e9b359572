"""Inputs to run a model on: data sources, and seeded inputs where there is no data."""

from onnxcomp.calibration.data import Data
from onnxcomp.calibration.first import First, held
from onnxcomp.calibration.inputs import InputSpec, inputs_of
from onnxcomp.calibration.opening import data_for, open_data
from onnxcomp.calibration.synthetic import random_data

__all__ = ["Data", "First", "InputSpec", "data_for", "held", "inputs_of", "open_data", "random_data"]
