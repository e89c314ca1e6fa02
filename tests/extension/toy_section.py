"""Report sections: a sentence on the page of the attribution study, and one on that of a run."""

from utils.report import register_section

register_section("attribution", "toy", lambda facts, images: "A section of a plugin, with <angle brackets>.")
register_section("run", "toy", lambda facts, images: f"{facts['records']} records, says a <plugin>.")
