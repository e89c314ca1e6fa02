"""A report section: a sentence on the page of the attribution study."""

from utils.report import register_section

register_section("attribution", "toy", lambda facts, images: "A section of a plugin, with <angle brackets>.")
