"""Start with `streamlit run explorer/run_streamlit_ecg_app.py`, `make app` or `twelvelead app`."""

import os
import sys
from pathlib import Path

# Keras models are explained on PyTorch; on the same backend no second process is needed.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
root = str(Path(__file__).resolve().parent.parent)
if root not in sys.path:  # streamlit puts the folder of this file there, not the repository's
    sys.path.insert(0, root)

from explorer.page import main  # noqa: E402

main(
    data_dir=os.environ.get("TWELVELEAD_PTBXL", "data/ptb"),
    output_dir=os.environ.get("TWELVELEAD_OUTPUT", "."),
)
