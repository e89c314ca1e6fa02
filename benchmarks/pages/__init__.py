"""The result pages: functions from collected data to Markdown."""
