"""TwelveLead: 12-lead ECG deep learning, reproduced, compared and explained."""
