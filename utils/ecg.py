"""Names that every layer shares: the twelve leads."""

# PTB-XL's spelling and order (its web page lists aVL and aVR swapped; the headers do not).
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
DISPLAY_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NOT_A_DEVICE = "Not a medical device. For research and teaching; never for diagnosis or treatment."
