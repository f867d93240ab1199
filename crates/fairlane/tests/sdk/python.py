"""Sends what a Python service would send, through Segment's own client.

Usage: python python.py <host> <write key> <number of tracks>
"""
import sys

import segment.analytics as analytics

host, write_key, tracks = sys.argv[1:4]
analytics.host = host
analytics.write_key = write_key
analytics.gzip = True
analytics.upload_size = 5
failures = []
analytics.on_error = lambda error, items: failures.append((error, len(items)))

analytics.identify("python-user", {"email": "python@mail.example"})
analytics.page("python-user", None, "Home", {"path": "/"})
analytics.screen("python-user", None, "Start")
analytics.group("python-user", "g-1", {"name": "Group"})
analytics.alias("python-anonymous", "python-user")
for n in range(int(tracks)):
    analytics.track("python-user", "Python Tested", {"n": n, "text": "ünïcode ✓"})
analytics.shutdown()
if failures:
    sys.exit(f"not sent: {failures}")
