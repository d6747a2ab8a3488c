"""Publish from a back end with nothing but a Redis client: `python examples/redis_publisher.py REDIS_URL ROOM TEXT`."""

import json
import sys
import uuid
from datetime import UTC, datetime

import redis

url, room, text = sys.argv[1:]
message = {
    "id": str(uuid.uuid4()),
    "roomId": room,
    "author": "back end",
    "content": text,
    "createdAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
}
with redis.Redis.from_url(url) as server:
    fields = {"mutation": "createMessage", "data": json.dumps(message)}
    print(server.xadd("fanout:events", fields, maxlen=1_000_000).decode())
