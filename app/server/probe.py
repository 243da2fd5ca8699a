"""Ask the service on this machine whether its process answers: exit code 0 if it does, for the health check of a container.

python -m app.server.probe [--port PORT]
"""

import argparse
import http.client
import ssl
import sys

SECONDS = 4.0


def main() -> None:
    """Ask, and exit with 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    unverified = ssl.create_default_context()  # the certificate is for the name that others use
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    ways = (
        http.client.HTTPSConnection("127.0.0.1", given.port, timeout=SECONDS, context=unverified),
        http.client.HTTPConnection("127.0.0.1", given.port, timeout=SECONDS),
    )
    sys.exit(0 if any(answers(way) for way in ways) else 1)


def answers(connection: http.client.HTTPConnection) -> bool:
    """Whether /health answers 200."""
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
