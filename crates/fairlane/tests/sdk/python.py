"""Sends what a Python service would send, through Segment's own client.

Usage: python python.py <host> <write key> <number of tracks>
"""
import sys

from segment.analytics import Client

host, write_key, tracks = sys.argv[1:4]
failures = []
analytics = Client(
    write_key,
    host=host,
    gzip=True,
    upload_size=5,
    on_error=lambda error, items: failures.append((error, len(items))),
)

analytics.identify("sdk-user", {"email": "sdk@mail.example"})
analytics.page("sdk-user", None, "Home", {"path": "/"})
analytics.screen("sdk-user", None, "Start")
analytics.group("sdk-user", "g-1", {"name": "Group"})
analytics.alias("sdk-user", "sdk-alias")
for n in range(int(tracks)):
    analytics.track("sdk-user", "Python Tested", {"n": n, "text": "ünïcode ✓"})
analytics.shutdown()
if failures:
    sys.exit(f"not sent: {failures}")
