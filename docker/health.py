"""The health check of the image: exit status 0 when the node in this container is ready, else 1 with the reason."""

import http.client
import os
import ssl
import sys

SECONDS = 4


def connection() -> http.client.HTTPConnection:
    """To the admin listener, over TLS where the node serves it. Past any proxy."""
    port = int(os.environ["EDGECACHE_LISTEN_ADMIN"].rpartition(":")[2])
    if not os.environ.get("EDGECACHE_LISTEN_TLS_CERTIFICATE"):
        return http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # safe: nothing is sent, and the address is this container's own
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)


def why_not_ready() -> str:
    """Empty when it is."""
    asked = connection()
    try:
        asked.request("GET", "/readyz")
        response = asked.getresponse()
        said = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        asked.close()
    return "" if response.status == 200 else said


if __name__ == "__main__":
    sys.exit(why_not_ready() or 0)
